"""Array kinds the mathematics works on. Only this module may know about an optional GPU library."""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.errors import InputError

Rows: TypeAlias = Any
"""Rows x features: a dense array or a SciPy CSR array (SciPy's have no static types)."""

OUT_OF_MEMORY = ("out of memory", "memoryallocation", "out_of_memory", "alloc_failed", "not_initialized")
"""What errors of CuPy say, of which there are several kinds."""


def is_sparse(rows: Rows) -> bool:
    """Whether ``rows`` is stored as CSR."""
    return isinstance(rows, sp.csr_array)


def slice_rows(rows: Rows, start: int, stop: int) -> Rows:
    """Rows ``start:stop`` as a view: no stored value is copied (SciPy's own CSR slice copies)."""
    if not is_sparse(rows):
        return rows[start:stop]
    first, last = int(rows.indptr[start]), int(rows.indptr[stop])
    indptr = rows.indptr[start : stop + 1] - first
    return csr_of(rows.data[first:last], rows.indices[first:last], indptr, rows.shape[1])


def csr_of(data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], n_features: int) -> Rows:
    """A CSR array around these parts, none of them copied or looked at."""
    rows = sp.csr_array((len(indptr) - 1, n_features), dtype=data.dtype)
    # Set one by one: SciPy's constructor copies parts that are under half the length of their base.
    rows.data, rows.indices, rows.indptr = data, indices, indptr
    return rows


def parts_of(rows: Rows) -> tuple[NDArray[Any], ...]:
    """The arrays in memory that make up ``rows``."""
    return (rows.indptr, rows.indices, rows.data) if is_sparse(rows) else (rows,)


def is_in_order(rows: Rows) -> bool:
    """Whether all parts are aligned and in the order of C, as what is compiled wants them."""
    return all(part.flags.c_contiguous and part.flags.aligned for part in parts_of(rows))


def stored_values(rows: Rows) -> NDArray[Any]:
    """The values in memory: all of a dense array, the stored ones of a CSR array."""
    values: NDArray[Any] = rows.data if is_sparse(rows) else rows
    return values


def owned(array: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """A fresh, aligned, C-ordered copy.

    Arrays unpickled from a message can be misaligned; BLAS then takes another path and the last bits of a
    product change from run to run.
    """
    return np.array(array, dtype=dtype, order="C", copy=True)


@cache
def no_device() -> str | None:
    """Why this process cannot compute on a CUDA device, in words; None if it can."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed (pip install 'bcnmf-dask[gpu-cu13]', or gpu-cu12 for a driver of CUDA 12)"
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no CUDA driver or device ({error})"
    if not found:
        return "this process sees no CUDA device (CUDA_VISIBLE_DEVICES?)"
    try:  # CuPy alone brings neither a compiler nor cuBLAS
        cupy.RawModule(code='extern "C" __global__ void nothing() {}').get_function("nothing")
        cupy.ones((2, 2)) @ cupy.ones((2, 2))
    except Exception as error:
        return (
            f"CuPy cannot compile or multiply there ({type(error).__name__}: {error}); install it with the libraries "
            "that it needs (pip install 'bcnmf-dask[gpu-cu13]', or gpu-cu12 for a driver of CUDA 12)"
        )
    return None


def cupy() -> Any:
    """CuPy.

    Raises
    ------
    InputError
        If this process cannot compute on a CUDA device.
    """
    missing = no_device()
    if missing is not None:
        raise InputError(f"device: got 'cuda', but {missing}. Expected a CUDA device; device='cpu' needs none.")
    import cupy

    return cupy


def n_devices() -> int:
    """CUDA devices that this process sees; see `cupy`."""
    return int(cupy().cuda.runtime.getDeviceCount())


def is_on_device(array: Any) -> bool:
    """Whether an array is one of CuPy's, dense or CSR; knows without loading CuPy."""
    return type(array).__module__.partition(".")[0] in ("cupy", "cupyx")


def holds_stored_values(array: Any) -> bool:
    """Whether an array of SciPy, CuPy or NumPy is sparse, in any format."""
    return bool(sp.issparse(array)) or type(array).__module__.startswith("cupyx.")


def column_sums(array: Any, dtype: Any = None) -> Any:
    """Of each column (k,), summed in a dtype; on a device with many threads, in an order that its shape fixes."""
    if not is_on_device(array):
        return array.sum(axis=0, dtype=dtype)
    n_rows, width = array.shape
    group = max(math.isqrt(n_rows), 1)
    whole = n_rows // group * group
    # What CuPy sums over rows, a few blocks of threads sum: of as many rows side by side it sums more columns at once.
    sums = array[:whole].reshape(-1, group * width).sum(axis=0, dtype=dtype).reshape(group, width)
    return sums.sum(axis=0, dtype=dtype) + array[whole:].sum(axis=0, dtype=dtype)


def to_device(array: Any) -> Any:
    """On the device of this process, in the order of C."""
    return cupy().ascontiguousarray(cupy().asarray(array))


def to_host(array: Any) -> Any:
    """As NumPy or SciPy have it, whatever it was."""
    return array.get() if is_on_device(array) else array


def beside(array: NDArray[Any], other: Any) -> Any:
    """An array of the host where another one is."""
    return to_device(array) if is_on_device(other) else array


def free_device_memory(number: int | None = None) -> int:
    """Bytes that this process may still take on a device: on its own, or on that of a number."""
    with cupy().cuda.Device(_device() if number is None else number):
        free, _ = cupy().cuda.runtime.memGetInfo()
        return int(free + cupy().get_default_memory_pool().free_bytes() + _free_in_pool_of_rmm())


def _free_in_pool_of_rmm() -> int:
    """Of a pool that dask-cuda has put in the place of CuPy's; nothing where its allocations are not tracked."""
    resource = sys.modules["rmm"].mr.get_current_device_resource() if "rmm" in sys.modules else None
    used = None
    while resource is not None:
        if hasattr(resource, "get_allocated_bytes"):
            used = resource.get_allocated_bytes()
        if hasattr(resource, "pool_size") and used is not None:
            return max(int(resource.pool_size()) - int(used), 0)
        resource = resource.get_upstream() if hasattr(resource, "get_upstream") else None
    return 0


def uses_tf32() -> bool:
    """Whether CuPy multiplies dense float32 arrays in 19 bits, as its own environment variable asks it to."""
    return os.environ.get("CUPY_TF32", "0") not in ("", "0")


def pinned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy from which devices fetch at full speed and beside their kernels, as its pages stay where they are.

    The array itself where the host has no such memory to give.
    """
    xp = cupy()
    try:  # not from the pool of CuPy, which takes powers of two
        memory = xp.cuda.PinnedMemoryPointer(xp.cuda.PinnedMemory(max(array.nbytes, 1)), 0)
    except xp.cuda.runtime.CUDARuntimeError:
        return array
    copy: NDArray[Any] = np.ndarray(array.shape, array.dtype, memory)
    copy[...] = array
    return copy


@contextmanager
def copying_to_device() -> Iterator[None]:
    """Copies within it run beside kernels that are at work, and are complete behind it."""
    stay_on_device()
    with _copies() as stream:
        yield
        stream.synchronize()


def stay_on_device() -> None:
    """Let this thread compute on the device that the first of this process computed on."""
    cupy().cuda.Device(_device()).use()


@cache
def _device() -> int:
    return int(cupy().cuda.runtime.getDevice())


@cache
def _copies() -> Any:
    """One stream for all copies: each has memory of its own, which others do not use again."""
    return cupy().cuda.Stream(non_blocking=True)


def finish_on_device() -> None:
    """Wait for the kernels that this thread has launched."""
    cupy().cuda.get_current_stream().synchronize()


def wait_for_device() -> None:
    """Wait for all that any thread has launched."""
    cupy().cuda.runtime.deviceSynchronize()


@contextmanager
def device_memory_in_words() -> Iterator[None]:
    """Whatever runs out of device memory within it says so in words.

    Raises
    ------
    InputError
    """
    try:
        yield
    except Exception as error:
        if type(error) is MemoryError or not ran_out_of_device_memory(error):
            raise
        raise InputError(
            f"device: its memory ran out beside the rows ({error}). Expected room for bases and sums: take fewer "
            "components, a lower bcnmf-dask.device-memory-limit in the Dask configuration, or device='cpu'."
        ) from error


def ran_out_of_device_memory(error: BaseException) -> bool:
    """Whether that is what an error says; free memory is then given back to the device."""
    of_cupy, said = type(error).__module__.startswith("cupy"), str(error).lower()
    # The first product of a thread takes memory, too: cuBLAS, or the driver, then says it in words of its own.
    ran_out = type(error) is MemoryError or (of_cupy and any(words in said for words in OUT_OF_MEMORY))
    if ran_out:
        give_back_device_memory()
    return ran_out


def give_back_device_memory() -> None:
    """Let others have what CuPy keeps for later: of devices, and of pinned memory."""
    cupy().get_default_memory_pool().free_all_blocks()
    cupy().get_default_pinned_memory_pool().free_all_blocks()
