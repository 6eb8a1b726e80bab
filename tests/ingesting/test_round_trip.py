"""What goes in comes out: any kind of input against SciPy and AnnData."""

import tempfile
import warnings
from pathlib import Path

import anndata
import anndata.io
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bcnmf_dask import BCNMF, ingest, split
from bcnmf_dask.data.inputs import read_inputs

from .conftest import N_FEATURES, untidy_csr


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return anndata.read_zarr(path)


def blocks(counts, kind):
    meta = kind((0, 0), dtype=counts.dtype)
    return da.from_array(counts, chunks=((7, 0, 40, 13), -1)).map_blocks(kind, dtype=counts.dtype, meta=meta)


def stored_array(counts, folder):
    zarr.create_array(folder / "array.zarr", data=counts, chunks=(7, 4))
    return folder / "array.zarr"


def stored_npy(counts, folder):
    np.save(folder / "array.npy", counts)
    return folder / "array.npy"


def stored_npz(kind):
    def write(counts, folder):
        sp.save_npz(folder / "matrix.npz", kind(counts))
        return folder / "matrix.npz"

    return write


KINDS = {
    "NumPy": lambda counts, _: counts,
    "CSR array": lambda counts, _: sp.csr_array(counts),
    "CSC array": lambda counts, _: sp.csc_array(counts),
    "CSC matrix": lambda counts, _: sp.csc_matrix(counts),
    "DataArray": lambda counts, _: xr.DataArray(counts, dims=("cell", "gene")),
    "DataFrame": lambda counts, _: pd.DataFrame(counts),
    "Dask, dense": lambda counts, _: da.from_array(counts, chunks=((7, 0, 40, 13), -1)),
    "Dask, CSR": lambda counts, _: blocks(counts, sp.csr_array),
    "Dask, CSC": lambda counts, _: blocks(counts, sp.csc_array),
    "Zarr array": stored_array,
    "npy": stored_npy,
    "CSR npz": stored_npz(sp.csr_array),
    "CSC npz": stored_npz(sp.csc_array),
}
DENSE = {"NumPy", "DataArray", "DataFrame", "Dask, dense", "Zarr array", "npy"}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_without_annotation(kind, counts, tmp_path):
    report = ingest(KINDS[kind](counts, tmp_path), tmp_path / "out.zarr")
    found = read(tmp_path / "out.zarr")
    values = found.X if kind in DENSE else found.X.toarray()
    assert report.matrix == ("dense" if kind in DENSE else "csr")
    np.testing.assert_array_equal(values, counts)
    assert values.dtype == counts.dtype
    assert list(found.obs_names) == [str(row) for row in range(len(counts))]


@pytest.mark.parametrize("layer", [None, "dense", "by_column"])
@pytest.mark.parametrize("where", ["memory", "backed", "h5ad", "zarr"])
def test_an_anndata_with_its_annotation(where, layer, adata, counts, tmp_path):
    source = adata
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # announcements about coming defaults of Zarr writing
        if where in ("h5ad", "backed"):
            source = tmp_path / "a.h5ad"
            adata.write_h5ad(source)
        if where == "zarr":
            source = tmp_path / "a.zarr"
            adata.write_zarr(source)
    report = ingest(
        anndata.read_h5ad(source, backed="r") if where == "backed" else source, tmp_path / "out.zarr", layer=layer
    )
    found = read(tmp_path / "out.zarr")
    np.testing.assert_array_equal(found.X if layer == "dense" else found.X.toarray(), counts)
    pd.testing.assert_frame_equal(found.obs, adata.obs)
    pd.testing.assert_frame_equal(found.var, adata.var)
    left_out = {"X", "layers/dense", "layers/by_column", "obsm/X_pca", "uns/method"}
    assert set(report.left_out) == left_out - {"X" if layer is None else f"layers/{layer}"}
    assert found.uns["ingest"]["checksum"] == report.checksum


def test_the_layout_is_that_of_anndata(counts, tmp_path):
    ingest(sp.csr_array(counts), tmp_path / "out.zarr")
    root = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert root.metadata.zarr_format == 3
    assert dict(root["X"].attrs)["encoding-type"] == "csr_matrix"
    types = {name: str(root[f"X/{name}"].dtype) for name in ("data", "indices", "indptr")}
    assert types == {"data": "float32", "indices": "int32", "indptr": "int64"}
    assert (root["X/data"].chunks, root["X/data"].shards) == ((8,), (16,))
    lazy = anndata.io.sparse_dataset(root["X"])
    np.testing.assert_array_equal(lazy[10:20].toarray(), counts[10:20])


def test_a_fit_reads_the_store_as_it_reads_the_source(adata, tmp_path):
    ingest(adata, tmp_path / "out.zarr")
    fits = []
    for store in (adata, tmp_path / "out.zarr"):
        target, background = split(store, key="condition", target="stim", background="ctrl")
        fits.append(BCNMF(2, max_iter=3, tol=0).fit(target, background=background))
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csc_array])
def test_values_keep_their_type(kind, dtype, counts, tmp_path):
    ingest(kind(counts.astype(dtype)), tmp_path / "out.zarr")
    found = read(tmp_path / "out.zarr").X
    assert found.dtype == dtype
    np.testing.assert_array_equal(found if kind is np.asarray else found.toarray(), counts.astype(dtype))


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 12)),
    most=st.integers(1, 12),
    turned=st.booleans(),
)
def test_untidy_matrices(seed, shape, most, turned):
    rows = untidy_csr(*shape, seed, most)
    matrix = rows.T if turned else rows
    expected = sp.csr_array(matrix)
    expected.sum_duplicates()
    with tempfile.TemporaryDirectory() as folder:
        report = ingest(matrix, Path(folder, "out.zarr"))
        found = read(Path(folder, "out.zarr")).X
        source = read_inputs(Path(folder, "out.zarr"), None).stores[0].source
        np.testing.assert_array_equal(source.read(0, matrix.shape[0]).toarray(), matrix.toarray())
        again = ingest(Path(folder, "out.zarr"), Path(folder, "again.zarr"))
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
    assert report.duplicate_entries == matrix.nnz - expected.nnz
    assert report.explicit_zeros == np.count_nonzero(expected.data == 0)
    assert (report.checksum, report.piece_checksums) == (again.checksum, again.piece_checksums)


@settings(max_examples=8)
@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 50), st.just(N_FEATURES)), elements=st.integers(-3, 3)))
def test_dense_matrices(rows):
    with tempfile.TemporaryDirectory() as folder:
        report = ingest(rows, Path(folder, "out.zarr"))
        np.testing.assert_array_equal(read(Path(folder, "out.zarr")).X, rows)
    assert report.negative == np.count_nonzero(rows < 0)
    assert report.empty_cells == np.count_nonzero(~rows.any(axis=1))


def test_the_checksum_is_of_the_values_whatever_held_them(counts, tmp_path):
    sparse = {kind: KINDS[kind](counts, tmp_path) for kind in KINDS if kind not in DENSE}
    dense = {kind: KINDS[kind](counts, tmp_path) for kind in ("NumPy", "Dask, dense")}
    for sources in (sparse, dense):
        found = {ingest(source, tmp_path / f"{kind}.out").checksum for kind, source in sources.items()}
        assert len(found) == 1
    other = counts.copy()
    other[30, 3] += 1
    assert ingest(other, tmp_path / "other").checksum not in found
