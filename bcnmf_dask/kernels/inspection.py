"""One look at every stored value of some rows, without a temporary of their size."""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_sparse

_compile = numba.njit(nogil=True, cache=True, error_model="numpy")


class Seen(NamedTuple):
    """What was seen in some rows.

    Attributes
    ----------
    negative, first_negative : int
        How many, and the place of the first among the stored values; -1 if there is none.
    non_finite, first_non_finite : int
    fractional : int
        Finite values that are not integers.
    zero_rows : int
        Rows without a positive value.
    largest, squares : float
        The largest value (0 if none is above), and the float64 sum of squares.
    """

    negative: int
    first_negative: int
    non_finite: int
    first_non_finite: int
    fractional: int
    zero_rows: int
    largest: float
    squares: float


def look_at(rows: Rows, features: NDArray[np.bool_]) -> Seen:
    """Look at every stored value of ``rows``, and note in ``features`` those that have a positive one."""
    if is_sparse(rows):
        return Seen(*_look(rows.data, rows.indptr, rows.indices, features))
    ends = np.arange(rows.shape[0] + 1, dtype=np.int64) * rows.shape[1]
    return Seen(*_look(np.ascontiguousarray(rows).reshape(-1), ends, np.empty(0, np.int32), features))


@_compile
def has_repeated(indptr: NDArray[Any], indices: NDArray[Any], n_features: int) -> bool:
    """Whether any row of a CSR matrix, whose indices may be in any order, stores a feature more than once."""
    last_row = np.full(n_features, -1)
    for row in range(indptr.size - 1):
        for place in range(indptr[row], indptr[row + 1]):
            if last_row[indices[place]] == row:
                return True
            last_row[indices[place]] = row
    return False


@_compile
def _look(values: NDArray[Any], ends: NDArray[Any], indices: NDArray[Any], features: NDArray[np.bool_]) -> Any:
    negative, non_finite, fractional, zero_rows = 0, 0, 0, 0
    first_negative, first_non_finite = -1, -1
    largest, squares = 0.0, 0.0
    dense = indices.size == 0
    for row in range(ends.size - 1):
        filled = False
        for place in range(ends[row], ends[row + 1]):
            value = np.float64(values[place])
            squares += value * value
            if not math.isfinite(value):
                non_finite += 1
                if first_non_finite < 0:
                    first_non_finite = place
            elif value != math.floor(value):
                fractional += 1
            if value > 0.0:
                filled = True
                largest = max(largest, value)
                features[place - ends[row] if dense else indices[place]] = True
            elif value < 0.0:
                negative += 1
                if first_negative < 0:
                    first_negative = place
        zero_rows += not filled
    return negative, first_negative, non_finite, first_non_finite, fractional, zero_rows, largest, squares
