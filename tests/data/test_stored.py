"""Sources on disk: shared handles, other processes, other threads, and damage of every sort."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from bcnmf_dask.data.handles import DenseRows, NpyFile
from bcnmf_dask.data.stored import AnnDataSource, NpySource, ZarrArraySource
from bcnmf_dask.errors import InputError


@pytest.fixture(params=["a.h5ad", "a.zarr"])
def store(request, adata, write):
    return write(adata, request.param)


def test_a_process_holds_one_handle_however_many_sources(store):
    first = AnnDataSource(store, "X")
    copies = [pickle.loads(pickle.dumps(first)) for _ in range(3)]
    assert len({id(source._rows()) for source in [first, *copies]}) == 1
    assert AnnDataSource(store, "layers/counts")._rows() is not first._rows()


def test_the_pickle_is_a_description(store):
    source = AnnDataSource(store, "X")
    source.read(0, 5)
    assert len(pickle.dumps(source)) < 1000
    assert pickle.loads(pickle.dumps(source))._held is None


def test_a_file_can_be_written_again_once_its_sources_are_gone(adata, write):
    source = AnnDataSource(write(adata, "a.h5ad"), "X")
    source.read(0, 5)
    del source
    adata.X = adata.X * 3
    again = AnnDataSource(write(adata, "a.h5ad"), "X")
    np.testing.assert_array_equal(again.read(0, 5).toarray(), adata.X[:5].toarray())


def test_a_closed_source_opens_anew_although_another_holds_the_old_handle(store):
    first, other = AnnDataSource(store, "X"), AnnDataSource(store, "X")
    old = first.open_rows()
    assert other.open_rows() is old
    first.close()
    assert first.open_rows() is not old
    assert other.open_rows() is old


def test_a_rewritten_store_is_not_read_through_an_old_handle(adata, write):
    old = AnnDataSource(write(adata, "a.zarr"), "X")
    new = AnnDataSource(write(adata[3:].copy(), "a.zarr"), "X")
    assert (old.shape[0], new.shape[0]) == (23, 20)
    np.testing.assert_array_equal(new.read(0, 5).toarray(), adata.X[3:8].toarray())


def test_a_store_that_changed_on_the_way_is_refused(adata, write):
    description = pickle.dumps(AnnDataSource(write(adata, "a.zarr"), "X"))
    write(adata[3:].copy(), "a.zarr")
    with pytest.raises(InputError, match=r"a\.zarr' holds \(20, 7\) .* but held \(23, 7\) .* in use"):
        pickle.loads(description).read(0, 5)


def test_a_store_that_vanished_on_the_way_is_refused(matrix, tmp_path):
    np.save(tmp_path / "m.npy", matrix)
    description = pickle.dumps(NpySource(tmp_path / "m.npy"))
    (tmp_path / "m.npy").unlink()
    with pytest.raises(InputError, match=r"m\.npy' could not be read \(FileNotFoundError"):
        pickle.loads(description).read(0, 5)


def test_threads_may_read_at_once(store, matrix):
    source = pickle.loads(pickle.dumps(AnnDataSource(store, "X")))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda start: source.read(start, start + 3).toarray(), list(range(20)) * 5))
    np.testing.assert_array_equal(np.stack(read[:20]), np.stack([matrix[row : row + 3] for row in range(20)]))
    assert all((read[i] == read[i % 20]).all() for i in range(100))


def test_another_process_with_another_working_directory_reads_the_same(store, matrix, monkeypatch, tmp_path):
    monkeypatch.chdir(store.parent)
    source = AnnDataSource(store.name, "X")
    assert source.location == store.name
    (tmp_path / "source.pickle").write_bytes(pickle.dumps(source))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).read(2, 9).sum())"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "source.pickle"],
        cwd="/",
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == matrix[2:9].sum()


def test_unsorted_rows_are_sorted_as_they_are_read(matrix, adata, write):
    csr = sp.csr_array(matrix)
    for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):
        csr.indices[start:stop] = csr.indices[start:stop][::-1].copy()
        csr.data[start:stop] = csr.data[start:stop][::-1].copy()
    adata.X = sp.csr_array((csr.data, csr.indices, csr.indptr), shape=csr.shape)
    rows = AnnDataSource(write(adata, "a.h5ad"), "X").read(0, 23)
    assert rows.has_canonical_format
    np.testing.assert_array_equal(rows.toarray(), matrix)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_truncated_files_are_refused_when_opened(matrix, adata, write, tmp_path):
    np.save(tmp_path / "m.npy", matrix)
    anndata_path = write(adata, "a.h5ad")
    for path, kind in [(tmp_path / "m.npy", NpySource), (anndata_path, lambda p: AnnDataSource(p, "X"))]:
        truncate(path)
        with pytest.raises(InputError, match=rf"{path.name}' could not be read .* truncated") as error:
            kind(path)
        assert error.value.__cause__ is not None


def test_a_truncated_chunk_is_refused_when_read(matrix, tmp_path):
    zarr.create_array(tmp_path / "m.zarr", data=matrix, chunks=(5, 7))
    truncate(tmp_path / "m.zarr" / "c" / "1" / "0")
    source = ZarrArraySource(tmp_path / "m.zarr")
    np.testing.assert_array_equal(source.read(0, 5), matrix[:5])
    with pytest.raises(InputError, match=r"m\.zarr' could not be read"):
        source.read(3, 8)


def test_row_pointers_that_do_not_fit_are_refused(adata, write):
    path = write(adata, "a.h5ad")
    with h5py.File(path, "r+") as file:
        file["X/indptr"][5] = 10_000
    with pytest.raises(InputError, match=r"a\.h5ad' could not be read .*row pointers"):
        AnnDataSource(path, "X")


def test_columns_beyond_the_last_feature_are_refused(adata, write):
    path = write(adata, "a.h5ad")
    with h5py.File(path, "r+") as file:
        file["X/indices"][3] = 7
    with pytest.raises(InputError, match=r"a\.h5ad' could not be read"):
        AnnDataSource(path, "X").read(0, 23)


def lose_chunk(path, element):
    chunks = [chunk for chunk in (path / element / "c").rglob("*") if chunk.is_file()]
    chunks[0].unlink()


@pytest.mark.parametrize("part", ["data", "indices"])
def test_a_store_that_lost_chunks_is_refused_when_opened(adata, write, part):
    path = write(adata, "a.zarr")
    lose_chunk(path, f"layers/counts/{part}")
    AnnDataSource(path, "X")
    with pytest.raises(InputError, match=rf"a\.zarr' is truncated: 1 chunk\(s\) of 'layers/counts/{part}' are missing"):
        AnnDataSource(path, "layers/counts")


def test_row_pointers_that_were_lost_are_refused(adata, write):
    path = write(adata, "a.zarr")
    lose_chunk(path, "X/indptr")
    with pytest.raises(InputError, match=r"a\.zarr' could not be read .*row pointers"):
        AnnDataSource(path, "X")


def test_column_numbers_that_were_lost_meanwhile_are_refused(adata, write):
    path = write(adata, "a.zarr")
    source = pickle.loads(pickle.dumps(AnnDataSource(path, "X")))
    lose_chunk(path, "X/indices")
    with pytest.raises(InputError, match="stores the same feature more than once"):
        source.read(0, 23)


@pytest.mark.parametrize("rows", [np.eye(4, 3)[:1], np.zeros((3, 2)), np.ones((5, 1)), np.diag([0, 0, 2.0])])
def test_chunks_that_are_zeros_by_right_need_not_be_there(write, rows):
    path = write(anndata.AnnData(sp.csr_array(rows)), "a.zarr")
    np.testing.assert_array_equal(AnnDataSource(path, "X").read(0, len(rows)).toarray(), rows)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("sharding", [None, (40,)])
def test_whole_chunked_stores_are_opened(adata, matrix, write, sharding):
    path = write(adata, "a.zarr")
    stored = sp.csr_array(matrix)
    for part in ("data", "indices"):
        values = getattr(stored, part)
        zarr.create_array(path / "X" / part, data=values, chunks=(10,), shards=sharding, overwrite=True)
    zarr.consolidate_metadata(path)
    np.testing.assert_array_equal(AnnDataSource(path, "X").read(0, 23).toarray(), matrix)


def test_a_file_that_is_cut_after_it_was_opened_is_refused(matrix, tmp_path):
    np.save(tmp_path / "m.npy", matrix)
    source = NpySource(tmp_path / "m.npy")
    os.truncate(tmp_path / "m.npy", (tmp_path / "m.npy").stat().st_size - 40)
    source.close()
    source._held = _stale(matrix, tmp_path / "m.npy")
    with pytest.raises(InputError, match=r"m\.npy' could not be read .*it ends within the rows 20 to 23, of 23"):
        source.read(20, 23)


def _stale(matrix, path):
    """The handle of a process that opened the file before."""
    return DenseRows(NpyFile(str(path), 128, matrix.shape, matrix.dtype))
