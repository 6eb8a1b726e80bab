"""One look at every stored value of some rows, without a temporary of their size."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_sparse
from bcnmf_dask.kernels.compiling import compiler
from bcnmf_dask.kernels.numbers import compile_sums, log

_compile = compiler(error_model="numpy")


class Seen(NamedTuple):
    """What was seen in some rows.

    Attributes
    ----------
    negative, non_finite : int
        How many values are. Where any is, the sums below mean nothing.
    fractional : int
        Finite values that are not integers.
    positive : int
        Values above zero.
    zero_rows : int
        Rows without one.
    total, squares, value_logs, row_logs, row_squares : float
        Sums of ``x``, of ``x**2``, of ``x log x``, and of ``t log t`` and ``t**2`` over the totals ``t`` of rows.
    largest : float
        The largest value; 0 if none is above.
    """

    negative: int
    non_finite: int
    fractional: int
    positive: int
    zero_rows: int
    total: float
    squares: float
    value_logs: float
    row_logs: float
    row_squares: float
    largest: float


def look_at(rows: Rows, feature_sums: NDArray[np.float64]) -> Seen:
    """Look at every stored value of ``rows``, and add each to the sum of its feature.

    Parameters
    ----------
    rows : dense or CSR rows (n_rows, n_features)
        Of any real type, no feature of a row stored twice; sums are of the values as float64.
    feature_sums : float64 array (n_features,)
        Added to.
    """
    values, ends, indices = flat(rows)
    seen: Any = _look(values, ends, indices, feature_sums)
    return Seen._make((*seen, float(values.max(initial=0))))


def first_fault(rows: Rows, negative: bool) -> int:
    """The place among the stored values of the first that is negative, or not finite; -1 if there is none."""
    return int(_first_fault(flat(rows)[0], negative))


def flat(rows: Rows) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Stored values, where each row begins and ends among them, and their features: none where rows are dense."""
    if is_sparse(rows):
        return rows.data, rows.indptr, rows.indices
    ends = np.arange(rows.shape[0] + 1, dtype=np.int64) * rows.shape[1]
    return np.ascontiguousarray(rows).reshape(-1), ends, np.empty(0, np.int32)


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
def _first_fault(values: NDArray[Any], negative: bool) -> int:
    for place in range(values.size):
        value = np.float64(values[place])
        if (value < 0.0) if negative else not math.isfinite(value):
            return place
    return -1


@_compile
def _look(values: NDArray[Any], ends: NDArray[Any], indices: NDArray[Any], feature_sums: NDArray[np.float64]) -> Any:
    negative, non_finite, fractional, positive, zero_rows = 0, 0, 0, 0, 0
    total, squares, value_logs, row_logs, row_squares = 0.0, 0.0, 0.0, 0.0, 0.0
    dense = indices.size == 0
    for row in range(ends.size - 1):
        first, last = np.uintp(ends[row]), np.uintp(ends[row + 1])
        of_row = values[first:last]
        of_total, of_squares, nothing = _sums(of_row)
        of_negative, of_positive, of_fractional = _counts(of_row)
        non_finite += 0 if nothing == 0.0 else _count_non_finite(of_row)
        negative += of_negative
        fractional += of_fractional
        positive += of_positive
        zero_rows += of_positive == 0
        total += of_total
        squares += of_squares
        row_squares += of_total * of_total
        value_logs += _value_logs(of_row)
        if of_total > 0.0:
            row_logs += of_total * math.log(of_total)
        if dense:
            for feature in range(of_row.size):
                feature_sums[feature] += np.float64(of_row[feature])
        else:
            for place in range(first, last):
                feature_sums[indices[place]] += np.float64(values[place])
    return negative, non_finite, fractional, positive, zero_rows, total, squares, value_logs, row_logs, row_squares


# Loops of their own, each of a kind that the compiler turns into vectors; a row stays in the nearest cache.


@compile_sums
def _sums(values: NDArray[Any]) -> Any:
    """Sum, sum of squares, and a zero that is none if any value is not finite."""
    total, squares, nothing = 0.0, 0.0, 0.0
    for place in range(values.size):
        value = np.float64(values[place])
        total += value
        squares += value * value
        nothing += value * 0.0
    return total, squares, nothing


@_compile
def _counts(values: NDArray[Any]) -> Any:
    """How many are negative, positive, and no integers."""
    negative, positive, fractional = 0, 0, 0
    for place in range(values.size):
        value: Any = np.float64(values[place])
        negative += value < 0.0
        positive += value > 0.0
        fractional += value != math.floor(value)
    return negative, positive, fractional


@_compile
def _count_non_finite(values: NDArray[Any]) -> int:
    count = 0
    for place in range(values.size):
        count += not math.isfinite(np.float64(values[place]))
    return count


@compile_sums
def _value_logs(values: NDArray[Any]) -> float:
    total = 0.0
    for place in range(values.size):
        value = np.float64(values[place])
        total += value * log(value)
    return total
