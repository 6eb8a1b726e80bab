"""One small matrix, and the AnnData around it."""

import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

N_ROWS, N_FEATURES = 23, 7
CONDITIONS = ["stim"] * 9 + ["ctrl"] * 8 + ["both"] * 3 + [None] * 3
VARIABLE = [True, False, True, True, False, True, True]


@pytest.fixture
def matrix() -> NDArray[np.float32]:
    """Counts with many zeros and an empty row."""
    rows = np.random.default_rng(0).poisson(0.8, (N_ROWS, N_FEATURES)).astype(np.float32)
    rows[4] = 0
    return rows


@pytest.fixture
def adata(matrix: NDArray[np.float32]) -> anndata.AnnData:
    """The matrix as CSR, with labels, names, and layers of every kind: dense, CSR and CSC."""
    return anndata.AnnData(
        sp.csr_array(matrix),
        obs=pd.DataFrame(
            {"condition": pd.Categorical(CONDITIONS), "batch": np.arange(N_ROWS) % 2},
            index=[f"cell{row}" for row in range(N_ROWS)],
        ),
        var=pd.DataFrame({"variable": VARIABLE}, index=[f"gene{column}" for column in range(N_FEATURES)]),
        layers={"dense": matrix, "counts": sp.csr_array(2 * matrix), "by_column": sp.csc_array(matrix)},
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write an AnnData as ``.h5ad``, or as ``.zarr`` in either Zarr format."""

    def written(adata: anndata.AnnData, name: str, zarr_format: int = 3) -> Path:
        path = tmp_path / name
        with warnings.catch_warnings(), anndata.settings.override(zarr_write_format=zarr_format):
            warnings.simplefilter("ignore")  # announcements about coming defaults of Zarr writing
            adata.write_zarr(path) if path.suffix == ".zarr" else adata.write_h5ad(path)
        return path

    return written
