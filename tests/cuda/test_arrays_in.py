"""Arrays of CuPy go in and come out."""

import anndata
import dask.array as da
import emulated_arrays
import numpy as np
import pytest
import scipy.sparse as sp
from cases import K, counts

from bcnmf_dask import BCNMF, backend
from bcnmf_dask.errors import InputError


class OnDevice:
    """An array that says it is of CuPy, and can only be had by ``get``."""

    __module__ = "cupy"

    def __init__(self, host):
        self._host = host
        self.shape, self.dtype = host.shape, host.dtype

    def get(self):
        return self._host

    def __getitem__(self, key):
        return OnDevice(self._host[key])


@pytest.fixture
def arrays(device, request, monkeypatch):
    """From NumPy or SciPy to what lies on the device."""
    if "emulated" not in request.node.name:
        from cupyx.scipy.sparse import csr_matrix

        return lambda host: csr_matrix(sp.csr_matrix(host)) if sp.issparse(host) else backend.to_device(host)
    monkeypatch.setattr("bcnmf_dask.data.tables.to_device", OnDevice)
    return OnDevice


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_usages_come_back_as_the_kind_that_went_in(form, arrays, device, tmp_path):
    x, y = (form(rows.astype(np.float32)) for rows in counts())
    model = BCNMF(K, 0.5, max_iter=3, tol=0)
    expected = BCNMF(K, 0.5, max_iter=3, tol=0).fit(x, background=y, client=False, device="cpu")
    model.fit(arrays(x), background=arrays(y), client=False, device="cpu")
    for name in ("target_usages_", "background_usages_"):
        found = getattr(model, name)
        assert backend.is_on_device(found)
        np.testing.assert_array_equal(backend.to_host(found), getattr(expected, name))
    assert isinstance(model.components_, np.ndarray)
    model.save(tmp_path / "fit.zarr")
    np.testing.assert_array_equal(BCNMF.load(tmp_path / "fit.zarr").target_usages_, expected.target_usages_)
    assert backend.is_on_device(model.transform(arrays(x), client=False, device="cpu"))


@pytest.fixture
def dense(device, request, monkeypatch):
    """From NumPy to a dense array of the device."""
    if "emulated" not in request.node.name:
        return backend.to_device
    kind = type("ndarray", (emulated_arrays.DeviceArray, anndata.compat.CupyArray), {"__module__": "cupy"})
    return lambda host: kind(host.copy())


def test_within_an_anndata(dense):
    """As rapids-singlecell leaves them; usages come back as of any AnnData in memory."""
    x, y = (rows.astype(np.float32) for rows in counts())
    expected = BCNMF(K, 0.5, max_iter=3, tol=0).fit(x, background=y, client=False, device="cpu")
    cells = [anndata.AnnData(dense(rows)) for rows in (x, y)]
    found = BCNMF(K, 0.5, max_iter=3, tol=0).fit(cells[0], background=cells[1], client=False, device="cpu")
    assert isinstance(found.target_usages_, np.ndarray)
    np.testing.assert_array_equal(found.target_usages_, expected.target_usages_)


def test_as_chunks_of_a_dask_array(dense):
    x, _ = (rows.astype(np.float32) for rows in counts())
    expected = BCNMF(K, 0, max_iter=3, tol=0).fit(x, client=False, device="cpu")
    chunks = da.from_array(x, chunks=(100, -1)).map_blocks(dense, dtype=np.float32, meta=np.empty((0, 0), np.float32))
    found = BCNMF(K, 0, max_iter=3, tol=0).fit(chunks, client=False, device="cpu")
    np.testing.assert_allclose(found.components_, expected.components_, rtol=1e-5, atol=1e-7)


def test_columns_are_refused_as_on_the_host(arrays):
    columns = sp.csc_matrix(counts()[0])
    with pytest.raises(InputError, match="CSC"):
        BCNMF(K, 0).fit(OnDevice(columns), client=False)
