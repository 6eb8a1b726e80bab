"""The workers of a cluster write what the threads of one process write."""

import anndata
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client, LocalCluster

from bcnmf_dask import ingest
from bcnmf_dask.errors import ClusterError, InputError

from .conftest import untidy_csr

ROWS = untidy_csr(200, 9, 1)


@pytest.fixture(scope="module", params=[1, 2])
def client(request):
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(request.param, **options) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


def h5ad(kind):
    def write(folder):
        anndata.AnnData(kind(ROWS.toarray())).write_h5ad(folder / "a.h5ad")
        return folder / "a.h5ad"

    return write


def blocks(_):
    meta = sp.csr_array((0, 0), dtype=np.float32)
    return da.from_array(ROWS.toarray(), chunks=(30, -1)).map_blocks(sp.csr_array, dtype=np.float32, meta=meta)


SOURCES = {
    "CSR": h5ad(sp.csr_array),
    "CSC": h5ad(sp.csc_array),
    "dense": h5ad(np.asarray),
    "Dask, CSR": blocks,
    "Dask, dense": lambda _: da.from_array(ROWS.toarray(), chunks=(30, -1)),
    "in memory": lambda _: ROWS,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_same_checksums(kind, client, tmp_path):
    source = SOURCES[kind](tmp_path)
    reports = [ingest(source, tmp_path / f"{where}.zarr", client=where and client) for where in (False, True)]
    assert reports[0].checksum == reports[1].checksum
    assert reports[0].piece_checksums == reports[1].piece_checksums
    found = anndata.read_zarr(tmp_path / "True.zarr").X
    np.testing.assert_array_equal(found.toarray() if sp.issparse(found) else found, ROWS.toarray())


def test_a_persisted_array_is_written_where_it_lies(client, tmp_path):
    array = client.persist(blocks(None))
    assert ingest(array, tmp_path / "a.zarr", client=client).stored_values == np.count_nonzero(ROWS.toarray())


def test_errors_of_workers_reach_the_user_and_leave_nothing(client, tmp_path):
    meta = sp.csr_array((0, 0), dtype=np.float64)
    array = da.from_array(ROWS.toarray(), chunks=(30, -1)).map_blocks(sp.csr_array, dtype=np.float64, meta=meta)
    with pytest.raises(InputError, match="source: got a Dask array that declares values of type float64 but holds flo"):
        ingest(array, tmp_path / "a.zarr", client=client)
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_that_is_not_there(tmp_path):
    source = SOURCES["CSR"](tmp_path)
    with pytest.raises(ClusterError, match="client: no scheduler answered"):
        ingest(source, tmp_path / "a.zarr", client="tcp://127.0.0.1:1")
