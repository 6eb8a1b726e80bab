"""The kernels run on this CPU: what they compute is checked where there is no device."""

import ctypes
import shutil
import subprocess
import threading
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from bcnmf_dask.kernels.cuda.specialise import source

HERE = Path(__file__).parent
KERNELS = ("step_kullback_leibler", "step_frobenius", "sum_kullback_leibler", "sum_frobenius")
ONE_AT_A_TIME = threading.Lock()
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler (g++) on this machine")


class OutOfMemoryError(RuntimeError):
    """As CuPy calls what it raises when a device is full."""


class Cupy:
    """What this package uses of CuPy beside what NumPy has, too."""

    class cuda:
        class Stream(nullcontext):
            def __init__(self, non_blocking=False):
                super().__init__(self)

            def synchronize(self):
                """Everything is over already."""

        class Device:
            def __init__(self, number):
                assert number == 0

            use = staticmethod(lambda: None)

        class runtime:
            getDevice = staticmethod(lambda: 0)
            getDeviceCount = staticmethod(lambda: 1)
            memGetInfo = staticmethod(lambda: (10**12, 10**12))
            getDeviceProperties = staticmethod(lambda _: {"name": b"emulated"})

        get_current_stream = Stream

    class _Pool:
        free_bytes = total_bytes = staticmethod(lambda: 0)
        free_all_blocks = staticmethod(lambda: None)

    get_default_memory_pool = _Pool

    def __getattr__(self, name):
        return getattr(np, name)


def launch(special, name, n_lines, *given):
    """Run a kernel for so many lines; arrays are changed in place."""
    arguments = [np.asarray(n_lines, np.int64), *given]
    kept = [part if isinstance(part, np.ndarray) and part.ndim else np.asarray(part) for part in arguments]
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
    folder = Path(mkdtemp(prefix="bcnmf-emulated-"))
    case = '    if (!std::strcmp(name, "{0}")) emulator::launch({0}, grid, threads, given);'
    cases = "\n".join(case.format(one) for one in KERNELS)
    main = f'extern "C" void launch(const char* name, unsigned grid, unsigned threads, void** given) {{\n{cases}\n}}\n'
    text = f'#include "{HERE / "emulator.hpp"}"\n{source()}\n{main}'
    (folder / "all.cpp").write_text(text)
    command = ["g++", *options, "-shared", "-fPIC", "-w", "-o", folder / "all.so", folder / "all.cpp"]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(folder / "all.so"))
    shutil.rmtree(folder)
    return library
