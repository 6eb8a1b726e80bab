"""NVIDIA's compiler, which needs no device: from the wheel nvidia-cuda-nvrtc, by its C interface."""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

OF_CUPY = ("-ftz=true", "--device-as-default-execution-space")
"""Options that CuPy adds."""


@cache
def library():
    """The compiler, or None where it is not installed."""
    spec = find_spec("nvidia")
    places = [] if spec is None else [Path(place) for place in spec.submodule_search_locations]
    found = sorted(path for place in places for path in place.glob("*/lib/libnvrtc.so.*"))
    return ctypes.CDLL(str(found[-1])) if found else None


def compile_for(architecture, source, options):
    """Size in bytes of the machine code and what the compiler said; raises what it complains of."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert library().nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"csr.cu", 0, None, None) == 0
    wanted = [option.encode() for option in (*options, *OF_CUPY, f"-arch=sm_{architecture}", "--ptxas-options=-v")]
    failed = library().nvrtcCompileProgram(program, len(wanted), (ctypes.c_char_p * len(wanted))(*wanted))
    library().nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library().nvrtcGetProgramLog(program, log)
    if failed:
        raise RuntimeError(log.value.decode())
    library().nvrtcGetCUBINSize(program, ctypes.byref(size))
    library().nvrtcDestroyProgram(ctypes.byref(program))
    return size.value, log.value.decode()
