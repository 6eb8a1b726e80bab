"""Products of CSR rows with many columns, and their transpose, for several fits that visit the same rows.

The columns of the factors of all fits stand side by side: a value is loaded once for all of them, and what is fetched
from a cache holds little that is not needed. Every column has the bits that the kernels for one fit give it
(`bcnmf_dask.kernels.csr`).
"""

from typing import Any

import numpy as np

from bcnmf_dask.kernels.compiling import compiler
from bcnmf_dask.kernels.lanes import add_multiple, load, store, zeros_like
from bcnmf_dask.kernels.numbers import like

_compile = compiler(error_model="numpy")


@_compile
def transpose(rows: Any, turned: Any) -> None:
    """Fill the parts of a transpose; each of its rows has its values in the order of the rows that they come from.

    Parameters
    ----------
    rows, turned : tuple of arrays
        Pointers, indices and values; the pointers of ``turned`` must be zeros. Values are converted.
    """
    indptr, indices, values = rows
    ends, numbers, copies = turned
    for place in range(indices.size):
        ends[np.uintp(indices[place]) + 1] += 1
    first = 0
    for line in range(1, ends.size):
        ends[line], first = first, first + ends[line]
    for row in range(indptr.size - 1):
        for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
            behind = np.uintp(indices[place]) + 1
            to = np.uintp(ends[behind])
            numbers[to] = row
            copies[to] = like(values[place], copies[0])
            ends[behind] += 1


@_compile
def multiply(rows: Any, factor: Any, products: Any, width: Any) -> None:
    """Set ``products`` to ``rows @ factor``, summed from the first stored value to the last.

    Parameters
    ----------
    rows : tuple of arrays
        Pointers, indices and values.
    factor : ndarray (n_features, padded)
    products : ndarray (n_rows, padded)
    width : tuple
        See `bcnmf_dask.kernels.lanes.width_of`.
    """
    indptr, nothing = rows[0], zeros_like(load(factor, 0, width))
    for row in range(products.shape[0]):
        store(products, row, _add(rows, indptr[row], indptr[row + 1], factor, nothing, width))


@_compile
def multiply_halves(rows: Any, factor: Any, products: Any, width: Any) -> None:
    """As `multiply`, each row as the sum of its two halves, an odd value last: as a fit alone sums it."""
    indptr, nothing = rows[0], zeros_like(load(factor, 0, width))
    for row in range(products.shape[0]):
        first, last = indptr[row], indptr[row + 1]
        pairs = (last - first) // 2
        other = _add(rows, first + pairs, first + 2 * pairs, factor, nothing, width)
        half = _add(rows, first, first + pairs, factor, nothing, width)
        half = _add(rows, first + 2 * pairs, last, factor, half, width)
        store(products, row, add_multiple(half, like(1.0, products[0, 0]), other))


@_compile
def _add(rows: Any, first: int, last: int, factor: Any, total: Any, width: Any) -> Any:
    indices, values = rows[1], rows[2]
    for place in range(np.uintp(first), np.uintp(last)):
        total = add_multiple(total, like(values[place], factor[0, 0]), load(factor, indices[place], width))
    return total
