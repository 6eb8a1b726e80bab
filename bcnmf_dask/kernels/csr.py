"""Loops over the stored values of a CSR block: sequential, without the GIL, no temporary of size nnz x k.

A reconstruction is evaluated at stored values only; the dense product of usages and basis is never formed.
"""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_compile = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compile
def quotient_times_basis(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    values: NDArray[Any],
    usages: NDArray[Any],
    basis: NDArray[Any],
    eps: Any,
    out: NDArray[Any],
) -> None:
    """Add ``(rows / reconstruction) @ basis`` to ``out`` (n_rows, n_components)."""
    for row in range(usages.shape[0]):
        for position in range(indptr[row], indptr[row + 1]):
            feature = indices[position]
            reconstruction = eps
            for component in range(basis.shape[1]):
                reconstruction += usages[row, component] * basis[feature, component]
            quotient = values[position] / reconstruction
            for component in range(basis.shape[1]):
                out[row, component] += quotient * basis[feature, component]


@_compile
def quotient_statistics(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    values: NDArray[Any],
    usages: NDArray[Any],
    basis: NDArray[Any],
    eps: Any,
    cross: NDArray[Any],
) -> float:
    """Add ``(rows / reconstruction).T @ usages`` to ``cross``; return the sum of ``x log(x / reconstruction) - x``."""
    data_term = 0.0
    for row in range(usages.shape[0]):
        for position in range(indptr[row], indptr[row + 1]):
            feature = indices[position]
            reconstruction = eps
            for component in range(basis.shape[1]):
                reconstruction += usages[row, component] * basis[feature, component]
            quotient = values[position] / reconstruction
            for component in range(basis.shape[1]):
                cross[feature, component] += quotient * usages[row, component]
            if values[position] > 0:  # an explicit zero has no logarithm and adds nothing
                data_term += values[position] * (math.log(quotient) - 1.0)
    return data_term


@_compile
def sum_of_squares(values: NDArray[Any]) -> float:
    """The float64 sum of squares of a flat array of any float type."""
    total = 0.0
    for value in values:
        total += np.float64(value) * np.float64(value)
    return total
