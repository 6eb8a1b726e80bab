"""Stores of small pieces, so that small data is cut into many."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bcnmf_dask.ingesting import chunks, writing

N_ROWS, N_FEATURES = 60, 9


def untidy_csr(n_rows: int, n_features: int, seed: int, most: int = 12) -> sp.csr_array:
    """Whole numbers with empty rows, unsorted columns, duplicates and explicit zeros."""
    draw = np.random.default_rng(seed)
    indptr = np.append(0, np.cumsum(draw.integers(0, most, n_rows)))
    data = draw.integers(0, 4, indptr[-1]).astype(np.float32)
    return sp.csr_array((data, draw.integers(0, n_features, indptr[-1]), indptr), shape=(n_rows, n_features))


@pytest.fixture(scope="package", autouse=True)
def small_pieces():
    """Chunks of 8 values, files of 16, pieces of 32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_VALUES", 8)
        patch.setattr(chunks, "SHARD_VALUES", 16)
        patch.setattr(writing, "PIECE_VALUES", 32)
        patch.setattr(chunks, "DENSE_CHUNK_BYTES", 4 * N_FEATURES * 8)
        patch.setattr(chunks, "DENSE_UNIT_BYTES", 4 * N_FEATURES * 16)
        yield


@pytest.fixture
def counts() -> np.ndarray:
    return untidy_csr(N_ROWS, N_FEATURES, 0).toarray()


@pytest.fixture
def adata(counts) -> anndata.AnnData:
    """The counts as CSR, with layers of every kind, and what is not copied."""
    obs = pd.DataFrame(
        {"condition": pd.Categorical(["stim", "ctrl"] * (N_ROWS // 2)), "depth": counts.sum(axis=1)},
        index=pd.Index([f"cell{row}" for row in range(N_ROWS)], name="barcode"),
    )
    var = pd.DataFrame({"variable": [True, False, True] * 3}, index=[f"gene{column}" for column in range(N_FEATURES)])
    layers = {"dense": counts, "by_column": sp.csc_array(counts)}
    beside = {"uns": {"method": "drawn"}, "obsm": {"X_pca": counts[:, :2]}}
    return anndata.AnnData(sp.csr_array(counts), obs=obs, var=var, layers=layers, **beside)
