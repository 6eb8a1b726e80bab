"""Arrays of an emulated device: they compute as NumPy does, and refuse what CuPy refuses, above all arrays of the host.

As in CuPy, nothing comes to the device but by `asarray`, and nothing leaves it but by ``get``.
"""

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class DeviceArray(NDArrayOperatorsMixin):
    """An array that only this module may look into."""

    __module__ = "cupy"

    def __init__(self, held):
        self._held = np.asarray(held)

    shape = property(lambda self: self._held.shape)
    dtype = property(lambda self: self._held.dtype)
    size = property(lambda self: self._held.size)
    ndim = property(lambda self: self._held.ndim)
    nbytes = property(lambda self: self._held.nbytes)
    T = property(lambda self: DeviceArray(self._held.T))

    def get(self):
        """A copy on the host."""
        return self._held.copy()

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, **more):
        return wrapped(getattr(ufunc, method)(*unwrapped(inputs), **unwrapped(more)))

    def __array_function__(self, function, _, args, more):
        return wrapped(function(*unwrapped(args), **unwrapped(more)))

    def __getitem__(self, key):
        return DeviceArray(self._held[unwrapped(key)])

    def __setitem__(self, key, value):
        self._held[unwrapped(key)] = unwrapped(value)

    def __getattr__(self, name):
        if name not in ("astype", "sum", "any", "max", "ravel", "reshape", "copy"):
            raise AttributeError(f"arrays of the emulated device have no {name!r}")
        method = getattr(self._held, name)
        return lambda *args, **more: wrapped(method(*unwrapped(args), **unwrapped(more)))

    def __len__(self):
        return len(self._held)

    def __float__(self):
        return float(self._held)

    def __int__(self):
        return int(self._held)

    def __bool__(self):
        return bool(self._held)


def unwrapped(given):
    """What arrays of the device hold, within lists, tuples and keywords; no array of the host may be among them."""
    if isinstance(given, DeviceArray):
        return given._held
    if isinstance(given, np.ndarray):
        raise TypeError(f"Unsupported type {type(given)}: an array of the host among those of the device")
    if isinstance(given, list | tuple):
        return type(given)(map(unwrapped, given))
    return {name: unwrapped(one) for name, one in given.items()} if isinstance(given, dict) else given


def wrapped(result):
    """On the device."""
    if isinstance(result, list | tuple):
        return type(result)(map(wrapped, result))
    return DeviceArray(result) if isinstance(result, np.ndarray | np.generic) else result


def on_device(name):
    """The function of CuPy that NumPy has by this name."""
    function = getattr(np, name)
    if not callable(function) or isinstance(function, type):
        return function
    return lambda *args, **more: wrapped(function(*unwrapped(args), **unwrapped(more)))


def asarray(array):
    """As CuPy does it: the way from the host to the device."""
    return array if isinstance(array, DeviceArray) else DeviceArray(np.array(array))


class Random:
    """Numbers drawn on the device."""

    @classmethod
    def default_rng(cls, seed):
        """As CuPy has it."""
        drawing = cls()
        drawing._drawing = np.random.default_rng(seed)
        return drawing

    def random(self, size, dtype=np.float64):
        """Between 0 and 1."""
        return DeviceArray(self._drawing.random(size, dtype))

    def integers(self, low, high, size, dtype=np.int64):
        """Whole numbers."""
        return DeviceArray(self._drawing.integers(low, high, size, dtype))


class ReductionKernel:
    """What CuPy compiles for a device, compiled for this CPU."""

    def __init__(self, given, result, term, reduce, post, identity, name):
        self._given = [one.split() for one in given.split(",")]
        self._parts = result.split()[1], term, reduce, post, identity
        assert name.isidentifier()

    def __call__(self, *arrays, axis=None):
        if axis is not None:
            assert (axis, arrays[0].ndim) == (1, 2)
            return DeviceArray(np.array([float(self(*lines)) for lines in zip(*map(_lines, arrays), strict=True)]))
        held = [np.ascontiguousarray(one._held) for one in arrays]
        types = tuple({"float32": "float", "float64": "double"}[one.dtype.name] for one in held)
        names = tuple(name for _, name in self._given)
        total = ctypes.c_double()
        pointers = (ctypes.c_void_p(one.ctypes.data) for one in held)
        reduction(types, names, *self._parts)(ctypes.c_longlong(held[0].size), *pointers, ctypes.byref(total))
        return DeviceArray(np.float64(total.value))


def _lines(array):
    return [array[number] for number in range(len(array))]


@cache
def reduction(types, names, result, term, reduce, post, identity):
    """A compiled loop over arrays of these types."""
    given = ", ".join(f"const {of}* all_{name}" for of, name in zip(types, names, strict=True))
    values = " ".join(f"const auto {name} = all_{name}[i];" for name in names)
    text = f"""#include <cmath>
using std::log;
extern "C" void all(long long size, {given}, double* out) {{
    double a = {identity}, {result} = 0;
    for (long long i = 0; i < size; ++i) {{
        {values}
        const double b = {term};
        a = {reduce};
    }}
    {post};
    *out = {result};
}}
"""
    return compiled(text).all


def compiled(text, *options):
    """C++ as a library, for the length of this process."""
    folder = Path(mkdtemp(prefix="bcnmf-emulated-"))
    (folder / "all.cpp").write_text(text)
    # By default GNU's loader gives all libraries one copy of static arrays within templates: that of another size.
    command = [
        "g++",
        *options,
        "-shared",
        "-fPIC",
        "-fno-gnu-unique",
        "-w",
        "-o",
        folder / "all.so",
        folder / "all.cpp",
    ]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(folder / "all.so"))
    shutil.rmtree(folder)
    return library
