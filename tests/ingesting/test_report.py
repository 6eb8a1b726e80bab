"""What is said of the values is so."""

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask import ingest
from bcnmf_dask.ingesting.report import Tally

VALUES = np.array(
    [
        [0, 2.5, -1, 0],
        [0, np.nan, 0, 0],
        [0, 0, 0, 0],
        [0, np.inf, 0, 7],
        [0, -np.inf, -3, 0],
    ]
)


def with_zeros(kind):
    """As a sparse matrix with two explicit zeros, in the row and the feature that have nothing else."""
    rows, columns = np.nonzero(VALUES)
    entries = (np.append(VALUES[rows, columns], [0, 0]), (np.append(rows, [2, 2]), np.append(columns, [0, 3])))
    return kind(sp.coo_array(entries, shape=VALUES.shape))


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_array, None])
def test_what_was_seen(kind, tmp_path):
    report = ingest(VALUES if kind is None else with_zeros(kind), tmp_path / "out.zarr")
    assert (report.n_cells, report.n_features) == VALUES.shape
    assert report.stored_values == (20 if kind is None else 9)
    assert report.explicit_zeros == (0 if kind is None else 2)
    assert (report.negative, report.nan, report.infinite) == (3, 1, 2)
    assert (report.largest, report.integers) == (7, False)
    assert (report.empty_cells, report.empty_features) == (1, 1)
    assert report.density == 7 / 20
    assert report.duplicate_entries == 0


def test_it_is_kept_in_the_store(adata, tmp_path):
    report = ingest(adata, tmp_path / "out.zarr")
    kept = anndata.read_zarr(tmp_path / "out.zarr").uns["ingest"]
    for name, value in report.plain().items():
        np.testing.assert_array_equal(kept[name], value)


def test_names_that_come_again_are_counted(adata, tmp_path):
    adata.obs_names = ["a", "b"] * (adata.n_obs // 2)
    adata.var_names = ["x", "x", *adata.var_names[2:]]
    report = ingest(adata, tmp_path / "out.zarr")
    assert (report.duplicate_cell_names, report.duplicate_feature_names) == (adata.n_obs - 2, 1)
    words = dict(report.sentences())
    assert words["names twice"].startswith(f"{adata.n_obs - 2} cells, 1 features")


def test_it_is_told_in_words(tmp_path):
    words = dict(ingest(with_zeros(sp.csr_array), tmp_path / "out.zarr").sentences())
    assert words["size"] == "5 cells x 4 features, sparse (CSR), float64"
    assert words["values"] == "9 stored (35.00% of all are not zero), not all whole numbers, the largest 7"
    assert words["noted"] == "2 explicit zeros, kept, 1 cells without any value, 1 features without any value"
    assert words["bad values"].startswith("3 negative, 1 not a number (NaN), 2 infinite. A fit refuses them")


def test_a_matrix_of_nothing(tmp_path):
    report = ingest(sp.csr_array((5, 3)), tmp_path / "out.zarr")
    assert (report.stored_values, report.largest, report.empty_cells, report.empty_features) == (0, 0, 5, 3)
    assert anndata.read_zarr(tmp_path / "out.zarr").X.nnz == 0


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_tallies_of_parts_add_up(kind):
    whole = Tally.of(kind(VALUES))
    parts = Tally.none(4).merge(Tally.of(kind(VALUES[:2]))).merge(Tally.of(kind(VALUES[2:])))
    assert Tally.from_json(whole.to_json(), 4).to_json() == parts.to_json() == whole.to_json()
