import pickle
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from bcnmf_dask.results.factors import StoredNames, create_usages, read_usages, writable_usages


@pytest.fixture
def location(tmp_path):
    return str(tmp_path / "fit.zarr")


def test_parallel_writers_fill_the_array(location):
    usages = np.random.default_rng(0).random((1000, 3), dtype=np.float32)
    create_usages(location, "target", 1000, 3, 64, np.float32)
    array = writable_usages(location, "target")

    def write(start):
        array[start : start + 64] = usages[start : start + 64]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(0, 1000, 64)))
    np.testing.assert_array_equal(read_usages(location, "target").compute(), usages)


def test_array_is_described_as_the_design_says(location):
    create_usages(location, "background", 10, 3, 4, np.float64)
    array = zarr.open_array(location, path="background_usages", mode="r")
    assert (array.shape, array.chunks, array.dtype) == ((10, 3), (4, 3), np.float64)
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("background_cell", "component")


def test_a_chunk_is_never_larger_than_the_array(location):
    create_usages(location, "target", 10, 3, 64, np.float32)
    assert zarr.open_array(location, path="target_usages", mode="r").chunks == (10, 3)


def test_zeros_are_written_so_that_a_lost_chunk_shows(location):
    create_usages(location, "target", 8, 2, 4, np.float32)
    writable_usages(location, "target")[:4] = 0
    assert zarr.open_array(location, path="target_usages", mode="r").nchunks_initialized == 1


def test_usages_are_read_lazily_and_chunked_as_stored(location):
    create_usages(location, "target", 10, 3, 4, np.float32)
    lazy = read_usages(location, "target")
    writable_usages(location, "target")[:] = 1
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == ((4, 4, 2), (3,))
    with dask.config.set(scheduler="sync"):
        assert pickle.loads(pickle.dumps(lazy)).sum().compute() == 30


def test_stored_names_are_read_in_pieces_and_pickle(location):
    group = zarr.open_group(location, mode="a")
    array = group.create_array("target_cell", shape=(5,), chunks=(2,), dtype="string")
    array[:] = np.array(list("abcdé"), dtype=object)
    names = pickle.loads(pickle.dumps(StoredNames(location, "target_cell")))
    assert len(names) == 5
    assert names.read(1, 5).tolist() == ["b", "c", "d", "é"]
    assert names.read(1, 5).dtype == object
    assert all(type(name) is str for name in names.read(0, 5))
