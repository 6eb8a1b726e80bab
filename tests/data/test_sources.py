"""Every kind of source keeps the same contract."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcnmf_dask.data.kinds import open_table
from bcnmf_dask.data.sources import DaskSource, MemorySource, Source
from bcnmf_dask.data.stored import AnnDataSource, NpySource, ZarrArraySource

N_ROWS = 23


def saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def zarr_array(path: Path, array: Any, **layout: Any) -> Path:
    zarr.create_array(path, data=array, **layout)
    return path


def npz(path: Path, matrix: Any) -> Path:
    sp.save_npz(path, sp.csr_array(matrix))
    return path


def csr_blocks(matrix: Any, chunks: tuple[int, ...]) -> da.Array:
    """CSR *matrices*, as AnnData's lazy reader gives them."""
    dense = da.from_array(matrix, chunks=(chunks, -1))
    return dense.map_blocks(sp.csr_matrix, dtype=matrix.dtype, meta=sp.csr_matrix((0, 0), dtype=matrix.dtype))


MAKERS: dict[str, Callable[..., Source]] = {
    "memory": lambda m, *_: MemorySource(m),
    "memory, column order": lambda m, *_: MemorySource(np.asfortranarray(m)),
    "memory CSR": lambda m, *_: MemorySource(sp.csr_array(m)),
    "npz": lambda m, path, *_: open_table(npz(path / "m.npz", m), None).source,
    "npy": lambda m, path, *_: NpySource(saved(path / "m.npy", m)),
    "npy, column order": lambda m, path, *_: NpySource(saved(path / "m.npy", np.asfortranarray(m))),
    "zarr array": lambda m, path, *_: ZarrArraySource(zarr_array(path / "m.zarr", m, chunks=(5, 3))),
    "zarr 2 array": lambda m, path, *_: ZarrArraySource(zarr_array(path / "m.zarr", m, chunks=(5, 3), zarr_format=2)),
    "zarr array in shards": lambda m, path, *_: ZarrArraySource(
        zarr_array(path / "m.zarr", m, chunks=(5, 7), shards=(10, 7))
    ),
    "AnnData zarr": lambda m, path, adata, write: AnnDataSource(write(adata, "a.zarr"), "X"),
    "AnnData zarr 2": lambda m, path, adata, write: AnnDataSource(write(adata, "a.zarr", 2), "X"),
    "AnnData zarr, dense": lambda m, path, adata, write: AnnDataSource(write(adata, "a.zarr"), "layers/dense"),
    "h5ad": lambda m, path, adata, write: AnnDataSource(write(adata, "a.h5ad"), "X"),
    "h5ad, dense": lambda m, path, adata, write: AnnDataSource(write(adata, "a.h5ad"), "layers/dense"),
    "dask": lambda m, *_: DaskSource(da.from_array(m, chunks=((10, 4, 0, 9), -1))),
    "dask CSR": lambda m, *_: DaskSource(csr_blocks(m, (0, 10, 4, 9))),
    "dask, empty last chunk": lambda m, *_: DaskSource(da.from_array(m, chunks=((12, 11, 0), -1))),
}
SPARSE = {"memory CSR", "npz", "AnnData zarr", "AnnData zarr 2", "h5ad", "dask CSR"}
ON_DISK = [kind for kind in MAKERS if not kind.startswith(("memory", "dask"))]


@pytest.fixture(params=MAKERS)
def kind(request):
    return request.param


@pytest.fixture
def source(kind, matrix, tmp_path, adata, write):
    return MAKERS[kind](matrix, tmp_path, adata, write)


def dense(rows):
    return rows.toarray() if sp.issparse(rows) else rows


def test_describes_its_matrix(source, kind, matrix):
    assert source.shape == matrix.shape
    assert source.dtype == matrix.dtype
    assert source.sparse == (kind in SPARSE)
    assert (source.location is None) == (kind not in ON_DISK)


@given(ends=st.tuples(st.integers(0, N_ROWS), st.integers(0, N_ROWS)))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reads_any_rows(source, kind, matrix, ends):
    start, stop = sorted(ends)
    rows = source.read(start, stop)
    assert isinstance(rows, sp.csr_array if kind in SPARSE else np.ndarray)
    assert rows.dtype == matrix.dtype
    np.testing.assert_array_equal(dense(rows), matrix[start:stop])


def test_cuts_rise_from_the_first_row_to_the_last(source, kind, matrix):
    rows, values = source.cuts()
    assert rows.dtype == values.dtype == np.int64
    assert (rows[0], rows[-1], values[0]) == (0, N_ROWS, 0)
    assert (np.diff(rows) > 0).all()
    counted = matrix != 0 if kind in SPARSE - {"dask CSR"} else np.ones_like(matrix, dtype=bool)
    stored = np.count_nonzero(counted, axis=1)
    np.testing.assert_array_equal(values, np.cumsum([0, *stored])[rows])


def test_travels(source, matrix):
    copy = pickle.loads(pickle.dumps(source))
    assert (copy.location, copy.shape, copy.dtype, copy.sparse) == (
        source.location,
        source.shape,
        source.dtype,
        source.sparse,
    )
    np.testing.assert_array_equal(dense(copy.read(3, 17)), matrix[3:17])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("memory", range(N_ROWS + 1)),
        ("npy", range(N_ROWS + 1)),
        ("h5ad", range(N_ROWS + 1)),
        ("zarr array", [0, 5, 10, 15, 20, N_ROWS]),
        ("zarr array in shards", [0, 5, 10, 15, 20, N_ROWS]),
        ("dask", [0, 10, 14, N_ROWS]),
        ("dask CSR", [0, 10, 14, N_ROWS]),
    ],
)
def test_cuts_are_where_storage_allows(source, expected):
    assert source.cuts()[0].tolist() == list(expected)


def test_rows_in_memory_are_read_without_copying_values(matrix):
    assert np.shares_memory(MemorySource(matrix).read(3, 9), matrix)
    csr = sp.csr_matrix(matrix)
    rows = open_table(csr, None).source.read(0, N_ROWS)
    assert np.shares_memory(rows.data, csr.data)
    assert np.shares_memory(rows.indices, csr.indices)


@pytest.mark.parametrize(
    ("start", "stop", "sizes"), [(0, 23, [10, 4, 9]), (10, 14, [4]), (0, 14, [10, 4]), (14, 14, [])]
)
@pytest.mark.parametrize("block_type", [np.ndarray, sp.csr_matrix])
def test_dask_blocks_cover_exactly_the_rows(matrix, start, stop, sizes, block_type):
    chunks = (10, 4, 9)
    array = da.from_array(matrix, chunks=(chunks, -1)) if block_type is np.ndarray else csr_blocks(matrix, chunks)
    blocks = dask.compute(*DaskSource(array).blocks(start, stop), scheduler="sync")
    assert [block.shape[0] for block in blocks] == sizes
    assert all(isinstance(block, block_type) for block in blocks)
    np.testing.assert_array_equal(np.vstack([np.empty((0, 7)), *map(dense, blocks)]), matrix[start:stop])


def test_dask_reads_only_the_chunks_it_needs(matrix):
    def load(block, block_info=None):
        assert block_info[0]["chunk-location"][0] == 1, "a chunk that was not asked for"
        return block

    chunked = da.from_array(matrix, chunks=((10, 4, 9), -1))
    array = chunked.map_blocks(load, dtype=matrix.dtype, meta=matrix[:0])
    np.testing.assert_array_equal(DaskSource(array).read(11, 13), matrix[11:13])
