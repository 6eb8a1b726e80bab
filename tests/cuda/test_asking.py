"""Asking for a device: what is said where there is none, and what is no device."""

import sys

import numpy as np
import pytest

from bcnmf_dask import BCNMF, backend
from bcnmf_dask.errors import InputError

X = np.random.default_rng(0).poisson(1.0, (30, 8)).astype(np.float32)


@pytest.fixture
def fresh():
    """What this process knows of devices, looked up anew."""
    backend.no_device.cache_clear()
    yield
    backend.no_device.cache_clear()


class _Runtime:
    class CUDARuntimeError(RuntimeError):
        pass

    def __init__(self, count):
        self._count = count

    def getDeviceCount(self):
        if self._count is None:
            raise self.CUDARuntimeError("cudaErrorInsufficientDriver")
        return self._count


def install(monkeypatch, count):
    """A CuPy that sees so many devices; None: no driver."""
    cupy = type(sys)("cupy")
    cupy.cuda = type("cuda", (), {"runtime": _Runtime(count)})
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def fit(device):
    return BCNMF(2, alpha=0, max_iter=2, tol=0).fit(X, device=device, client=False)


def error_of_cupy(name, words):
    return type(name, (RuntimeError,), {"__module__": "cupy_backends.cuda.libs.cublas"})(words)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (error_of_cupy("OutOfMemoryError", "Out of memory allocating 12 bytes"), True),
        (error_of_cupy("CUBLASError", "CUBLAS_STATUS_ALLOC_FAILED"), True),
        (error_of_cupy("CUBLASError", "CUBLAS_STATUS_NOT_INITIALIZED"), True),
        (error_of_cupy("CUDADriverError", "CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (error_of_cupy("CUDARuntimeError", "cudaErrorMemoryAllocation"), True),
        (MemoryError(), True),
        (error_of_cupy("CUDARuntimeError", "cudaErrorIllegalAddress"), False),
        (RuntimeError("out of memory"), False),
        (InputError("out of memory"), False),
    ],
)
def test_what_says_that_a_device_is_full(error, expected, monkeypatch):
    given_back = []
    monkeypatch.setattr(backend, "give_back_device_memory", lambda: given_back.append(error))
    assert backend.ran_out_of_device_memory(error) == expected
    assert bool(given_back) == expected


def test_without_cupy_it_says_what_to_install(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InputError, match=r"device: got 'cuda', but CuPy is not installed \(pip install 'bcnmf-dask"):
        fit("cuda")


@pytest.mark.parametrize(
    ("count", "words"), [(None, "no CUDA driver or device .cudaErrorInsuff"), (0, "sees no CUDA device")]
)
def test_without_a_device_it_says_so(count, words, fresh, monkeypatch):
    install(monkeypatch, count)
    with pytest.raises(InputError, match=f"device: got 'cuda', but .*{words}.*device='cpu'"):
        fit("cuda")


@pytest.mark.parametrize("count", [None, 0])
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_everything_else_works(device, count, fresh, monkeypatch):
    install(monkeypatch, count)
    assert fit(device).run_["device"] == "cpu"


@pytest.mark.parametrize("device", ["gpu", None, 0, "cuda:1"])
def test_what_is_no_device_is_refused(device):
    with pytest.raises(InputError, match=r"device: got .* Expected one of 'auto', 'cpu', 'cuda'"):
        fit(device)
    with pytest.raises(InputError, match=r"device: got .* Expected one of 'auto', 'cpu', 'cuda'"):
        fit("cpu").transform(X, device=device)
