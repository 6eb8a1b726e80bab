"""A number for the content of each row, by which equal rows are found without comparing all pairs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows
from bcnmf_dask.kernels.compiling import compiler
from bcnmf_dask.kernels.inspection import flat
from bcnmf_dask.kernels.numbers import bits_of

_compile = compiler(error_model="numpy")

GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""Of SplitMix64 (Steele, Lea and Flood 2014), whose last step makes any two numbers look unrelated."""


def hash_rows(rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hash the content of each row.

    Parameters
    ----------
    rows : dense or CSR rows (n_rows, n_features)
        Of any real type, no feature of a row stored twice.

    Returns
    -------
    hashes : uint64 array (n_rows,)
        Of the features that are not zero and their values as float64: the same for any order and form of storage.
    counts : int64 array (n_rows,)
        Values that are not zero.
    """
    hashes, counts = np.empty(rows.shape[0], np.uint64), np.empty(rows.shape[0], np.int64)
    _hash(*flat(rows), hashes, counts)
    return hashes, counts


@_compile
def _hash(values: Any, ends: Any, indices: Any, hashes: Any, counts: Any) -> None:
    dense = indices.size == 0
    for row in range(ends.size - 1):
        first, last = np.uintp(ends[row]), np.uintp(ends[row + 1])
        mixed, count = np.uint64(0), 0
        for place in range(first, last):
            value = np.float64(values[place])
            if value != 0.0:
                feature = np.uint64(place - first) if dense else np.uint64(indices[place])
                mixed += _mix(bits_of(value) + (feature + np.uint64(1)) * GOLDEN)
                count += 1
        hashes[row], counts[row] = _mix(mixed), count


@_compile
def _mix(number: Any) -> Any:
    number = (number ^ (number >> np.uint64(30))) * FIRST
    number = (number ^ (number >> np.uint64(27))) * SECOND
    return number ^ (number >> np.uint64(31))
