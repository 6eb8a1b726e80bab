"""One visit of the stored values of CSR rows: sequential, without the GIL, no temporary of size nnz x k.

A reconstruction is evaluated at stored values only; the dense product of usages and basis is never formed. What is
indexed by feature or component comes padded (`bcnmf_dask.kernels.lanes`), usages do not. Indices may be of any integer
type and in any order, values of any real one.
"""

import math
from typing import Any

import numpy as np

from bcnmf_dask.kernels.compiling import compiler
from bcnmf_dask.kernels.lanes import add_multiple, dot, load, store, zeros_like
from bcnmf_dask.kernels.numbers import like, sum_of_logarithms

_compile = compiler(error_model="numpy")
_inline = compiler(error_model="numpy", forceinline=True)
"""For what is called per row: with so many arguments, a call would cost as much as some ten values."""


@_compile
def step_kullback_leibler(
    rows: Any, usages: Any, basis: Any, sums: Any, floor: Any, step: Any, new: Any, width: Any
) -> None:
    """Set ``new`` to the usages after some multiplicative steps.

    Parameters
    ----------
    rows : tuple of arrays
        Pointers, indices and values.
    usages : ndarray (n_rows, n_components)
    basis : ndarray (n_features, padded)
    sums : ndarray (n_components,)
        Of the columns of the basis.
    floor : ndarray (n_features,)
        What the reconstruction is never below; see `bcnmf_dask.updates.basis.Basis`.
    step : (eps, exponent, times)
        The first in the type of the usages; of the last, see `bcnmf_dask.updates.multiplicative.Steps`.
    new : ndarray (n_rows, n_components)
    width : tuple
        See `bcnmf_dask.kernels.lanes.width_of`.
    """
    scratch = np.zeros((2, basis.shape[1]), basis.dtype)
    for row in range(usages.shape[0]):
        _step_quotients(rows, row, usages, basis, sums, floor, step, new, scratch, width)
        for _ in range(1, step[2]):
            _step_quotients(rows, row, new, basis, sums, floor, step, new, scratch, width)


@_compile
def sum_kullback_leibler(rows: Any, usages: Any, basis: Any, floor: Any, cross: Any, width: Any) -> float:
    """Add ``(rows / reconstruction).T @ usages`` to ``cross``; return the sum of ``x log(x / reconstruction) - x``.

    Parameters as in `step_kullback_leibler`; ``cross`` is of the shape of the basis.
    """
    scratch = np.zeros((1, basis.shape[1]), basis.dtype)
    quotients = np.empty(_longest(rows[0]), basis.dtype)
    data_term = 0.0
    for row in range(usages.shape[0]):
        data_term += _sum_quotients(rows, row, usages, basis, floor, cross, quotients, scratch, width)
    return data_term


@_compile
def sweep_kullback_leibler(
    rows: Any, usages: Any, basis: Any, sums: Any, floor: Any, step: Any, new: Any, cross: Any, width: Any
) -> float:
    """Both of the above, row by row: the second finds in the nearest cache what the first has fetched."""
    scratch = np.zeros((2, basis.shape[1]), basis.dtype)
    quotients = np.empty(_longest(rows[0]), basis.dtype)
    data_term = 0.0
    for row in range(usages.shape[0]):
        _step_quotients(rows, row, usages, basis, sums, floor, step, new, scratch, width)
        for _ in range(1, step[2]):
            _step_quotients(rows, row, new, basis, sums, floor, step, new, scratch, width)
        data_term += _sum_quotients(rows, row, new, basis, floor, cross, quotients, scratch, width)
    return data_term


@_compile
def step_frobenius(rows: Any, usages: Any, basis: Any, gram: Any, step: Any, new: Any, width: Any) -> None:
    """Set ``new`` to the usages after some multiplicative steps.

    Parameters as in `step_kullback_leibler`; ``gram`` (n_components, padded) is that of the basis.
    """
    scratch = np.zeros((3, basis.shape[1]), basis.dtype)
    for row in range(usages.shape[0]):
        _step_products(rows, row, usages, basis, gram, step, new, scratch, width)


@_compile
def sum_frobenius(rows: Any, usages: Any, cross: Any, width: Any) -> None:
    """Add ``rows.T @ usages`` to ``cross`` (n_features, padded)."""
    scratch = np.zeros((1, cross.shape[1]), cross.dtype)
    for row in range(usages.shape[0]):
        _sum_products(rows, row, usages, cross, scratch, width)


@_compile
def sweep_frobenius(rows: Any, usages: Any, basis: Any, gram: Any, step: Any, new: Any, cross: Any, width: Any) -> None:
    """Both of the above, row by row."""
    scratch = np.zeros((3, basis.shape[1]), basis.dtype)
    for row in range(usages.shape[0]):
        _step_products(rows, row, usages, basis, gram, step, new, scratch, width)
        _sum_products(rows, row, new, cross, scratch, width)


@_compile
def step_frobenius_at(numerators: Any, usages: Any, gram: Any, step: Any, new: Any, width: Any) -> None:
    """As `step_frobenius` with ``numerators``, the products of rows and basis (n_rows, n_components or more)."""
    scratch = np.empty((3, gram.shape[1]), gram.dtype)
    for row in range(usages.shape[0]):
        _steps_at(numerators, row, usages, row, gram, step, new, scratch, width)


@_inline
def _step_quotients(
    rows: Any, row: int, usages: Any, basis: Any, sums: Any, floor: Any, step: Any, new: Any, scratch: Any, width: Any
) -> None:
    indptr, indices, values = rows
    eps, exponent, _ = step
    old = _usages_of(usages, row, scratch, width)
    numerator = zeros_like(old)
    for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):  # unsigned: never counted from the end
        feature = np.uintp(indices[place])
        features = load(basis, feature, width)
        quotient = like(values[place], eps) / (dot(old, features) + floor[feature])
        numerator = add_multiple(numerator, quotient, features)
    store(scratch, 1, numerator)
    _multiply(usages, row, scratch[1], sums, eps, exponent, new)


@_inline
def _sum_quotients(
    rows: Any, row: int, usages: Any, basis: Any, floor: Any, cross: Any, quotients: Any, scratch: Any, width: Any
) -> float:
    indptr, indices, values = rows
    first, last = np.uintp(indptr[row]), np.uintp(indptr[row + 1])
    now = _usages_of(usages, row, scratch, width)
    for place in range(first, last):
        feature = np.uintp(indices[place])
        least = floor[feature]
        quotient = like(values[place], least) / (dot(now, load(basis, feature, width)) + least)
        store(cross, feature, add_multiple(load(cross, feature, width), quotient, now))
        quotients[place - first] = quotient
    return sum_of_logarithms(values[first:last], quotients)


@_inline
def _step_products(
    rows: Any, row: int, usages: Any, basis: Any, gram: Any, step: Any, new: Any, scratch: Any, width: Any
) -> None:
    indptr, indices, values = rows
    eps = step[0]
    numerator = other = zeros_like(load(basis, 0, width))
    first, pairs = np.uintp(indptr[row]), np.uintp((indptr[row + 1] - indptr[row]) // 2)
    middle = first + pairs
    for place in range(first, middle):  # two sums, as one would wait for itself
        numerator = add_multiple(numerator, like(values[place], eps), load(basis, indices[place], width))
        far = place + pairs
        other = add_multiple(other, like(values[far], eps), load(basis, indices[far], width))
    for place in range(middle + pairs, np.uintp(indptr[row + 1])):
        numerator = add_multiple(numerator, like(values[place], eps), load(basis, indices[place], width))
    store(scratch, 1, add_multiple(numerator, like(1.0, eps), other))
    _steps_at(scratch, 1, usages, row, gram, step, new, scratch, width)


@_inline
def _steps_at(
    numerators: Any, at: int, usages: Any, row: int, gram: Any, step: Any, new: Any, scratch: Any, width: Any
) -> None:
    """All steps of a row, none of which changes the numerator."""
    _step_at(numerators, at, usages, row, gram, step, new, scratch, width)
    for _ in range(1, step[2]):
        _step_at(numerators, at, new, row, gram, step, new, scratch, width)


@_inline
def _step_at(
    numerators: Any, at: int, usages: Any, row: int, gram: Any, step: Any, new: Any, scratch: Any, width: Any
) -> None:
    denominator = zeros_like(load(gram, 0, width))
    for component in range(usages.shape[1]):
        denominator = add_multiple(denominator, usages[row, component], load(gram, component, width))
    store(scratch, 2, denominator)
    _multiply(usages, row, numerators[at], scratch[2], step[0], step[1], new)


@_inline
def _sum_products(rows: Any, row: int, usages: Any, cross: Any, scratch: Any, width: Any) -> None:
    indptr, indices, values = rows
    now = _usages_of(usages, row, scratch, width)
    for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
        feature = indices[place]
        factor = like(values[place], cross[0, 0])
        store(cross, feature, add_multiple(load(cross, feature, width), factor, now))


@_inline
def _multiply(usages: Any, row: int, numerator: Any, denominator: Any, eps: Any, exponent: float, new: Any) -> None:
    """The published step of one row, see `bcnmf_dask.updates.multiplicative.multiply`."""
    for component in range(usages.shape[1]):
        ratio = numerator[component] / (denominator[component] + eps)
        if exponent == 0.5:
            ratio = math.sqrt(ratio)
        elif exponent == 1.25:
            ratio = ratio * math.sqrt(math.sqrt(ratio))
        elif exponent != 1.0:
            ratio = like(ratio**exponent, ratio)
        new[row, component] = usages[row, component] * ratio


@_inline
def _usages_of(usages: Any, row: int, scratch: Any, width: Any) -> Any:
    """One row as lanes; the first row of ``scratch``, whose padding is zero, holds them too."""
    for component in range(usages.shape[1]):
        scratch[0, component] = usages[row, component]
    return load(scratch, 0, width)


@_compile
def _longest(indptr: Any) -> int:
    longest = 0
    for row in range(indptr.size - 1):
        longest = max(longest, indptr[row + 1] - indptr[row])
    return longest
