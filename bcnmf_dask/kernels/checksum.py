"""A checksum fast enough to be taken of every block that is read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.kernels.compiling import compiler

START = 0xCBF29CE484222325


@compiler()
def _fnv1a(words: NDArray[Any], state: Any) -> Any:
    """FNV-1a, 64 bits, over words instead of bytes."""
    prime = np.uint64(0x100000001B3)
    for word in words:
        state = (state ^ np.uint64(word)) * prime
        state ^= state >> np.uint64(32)  # words are wide: bring what the product has lifted back down
    return state


def checksum_of(*arrays: NDArray[Any]) -> int:
    """64 bits that change with any value, type or order of the arrays; not meant against intent."""
    state = np.uint64(START)
    for array in arrays:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        words = flat.view(np.uint32) if flat.size % 4 == 0 else flat
        shape = np.array([array.size, array.itemsize], np.uint64)
        state = np.uint64(_fnv1a(words, np.uint64(_fnv1a(shape, state))))
    return int(state)
