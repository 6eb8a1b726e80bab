"""Two devices for every test: the CUDA device of this machine, and an emulation of one, which is slow and exact."""

import emulator
import pytest

from bcnmf_dask import backend
from bcnmf_dask.engine import hardware
from bcnmf_dask.kernels.cuda import launch
from bcnmf_dask.updates import dense, device_csr


@pytest.fixture(
    params=[pytest.param("emulated", marks=emulator.needs_compiler), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def device(request, monkeypatch):
    """Computing with ``device="cuda"``."""
    if request.param == "cuda":
        if (missing := backend.no_device()) is not None:
            pytest.skip(missing)
        return "cuda"
    for module in (backend, dense, device_csr, launch):
        monkeypatch.setattr(module, "cupy", emulator.Cupy)
    for kernel in (dense._squares, dense._logarithms):
        kernel.cache_clear()
    monkeypatch.setattr(hardware, "no_device", lambda: None)
    monkeypatch.setattr(device_csr, "launch", emulator.launch)
    return "cuda"
