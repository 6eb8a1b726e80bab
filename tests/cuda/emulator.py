"""The kernels run on this CPU: what they compute is checked where there is no device."""

import ctypes
import shutil
import threading
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import emulated_arrays
import numpy as np
import pytest

from bcnmf_dask.kernels.cuda.launch import NONE
from bcnmf_dask.kernels.cuda.specialise import source

HERE = Path(__file__).parent
KERNELS = ("step_kullback_leibler", "step_frobenius", "sum_kullback_leibler", "sum_frobenius")
ONE_AT_A_TIME = threading.Lock()
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler (g++) on this machine")


class OutOfMemoryError(RuntimeError):
    """As CuPy calls what it raises when a device is full."""

    __module__ = "cupy.cuda.memory"


class Cupy:
    """What this package uses of CuPy beside what NumPy has, too."""

    class cuda:
        class Stream(nullcontext):
            def __init__(self, non_blocking=False):
                super().__init__(self)

            def synchronize(self):
                """Everything is over already."""

        class Device(nullcontext):
            def __init__(self, number):
                super().__init__(self)
                assert number == 0

            use = staticmethod(lambda: None)

        PinnedMemory = bytearray
        PinnedMemoryPointer = staticmethod(lambda memory, offset: memory)

        class runtime:
            class CUDARuntimeError(RuntimeError):
                """What a host without pinned memory left says."""

            deviceSynchronize = staticmethod(lambda: None)
            getDevice = staticmethod(lambda: 0)
            getDeviceCount = staticmethod(lambda: 1)
            memGetInfo = staticmethod(lambda: (10**12, 10**12))
            getDeviceProperties = staticmethod(lambda _: {"name": b"emulated"})

        get_current_stream = Stream

    class _Pool:
        free_bytes = total_bytes = staticmethod(lambda: 0)
        free_all_blocks = staticmethod(lambda: None)

    get_default_memory_pool = get_default_pinned_memory_pool = _Pool
    random = emulated_arrays.Random
    asarray = staticmethod(emulated_arrays.asarray)
    ReductionKernel = emulated_arrays.ReductionKernel

    def __getattr__(self, name):
        return emulated_arrays.on_device(name)


def launch(special, name, n_lines, chosen, *given):
    """Run a kernel for so many lines; arrays of the device are changed in place."""
    arguments = emulated_arrays.unwrapped([np.int64(n_lines), NONE if chosen is None else chosen, *given])
    assert all(part.flags.c_contiguous for part in arguments if isinstance(part, np.ndarray))
    kept = list(map(np.asarray, arguments))
    pointers = [ctypes.c_void_p(part.ctypes.data) if part.ndim else None for part in kept]
    given = [
        ctypes.addressof(pointer) if pointer is not None else part.ctypes.data
        for part, pointer in zip(kept, pointers, strict=True)
    ]
    with ONE_AT_A_TIME:
        library = compiled(special.options)
        library.launch(name.encode(), special.grid(n_lines), special.threads, (ctypes.c_void_p * len(given))(*given))


@cache
def compiled(options):
    """A library with all kernels, for the length of this process."""
    case = '    if (!std::strcmp(name, "{0}")) emulator::launch({0}, grid, threads, given);'
    cases = "\n".join(case.format(one) for one in KERNELS)
    main = f'extern "C" void launch(const char* name, unsigned grid, unsigned threads, void** given) {{\n{cases}\n}}\n'
    text = f'#include "{HERE / "emulator.hpp"}"\n{source()}\n{main}'
    return emulated_arrays.compiled(text, *options)
