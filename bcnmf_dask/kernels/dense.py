"""Products of dense rows with factors of few columns, which a library for large matrices does not do at its best.

Sums stay in registers: some rows at once, so that what is fetched of a factor is used by each of them. Values may be of
any real type.
"""

from typing import Any

from bcnmf_dask.kernels.compiling import compiler
from bcnmf_dask.kernels.lanes import add_multiple, load, store, zeros_like
from bcnmf_dask.kernels.numbers import like

_compile = compiler(error_model="numpy")


@_compile
def multiply(values: Any, factor: Any, products: Any, width: Any) -> None:
    """Set ``products`` to ``values @ factor``, each summed from the first feature to the last.

    Parameters
    ----------
    values : ndarray (n_rows, n_features)
    factor : ndarray (n_features, padded)
    products : ndarray (n_rows, padded)
    width : tuple
        See `bcnmf_dask.kernels.lanes.width_of`.
    """
    n_rows, one, nothing = values.shape[0], factor[0, 0], zeros_like(load(factor, 0, width))
    for row in range(0, n_rows - 3, 4):
        first = second = third = fourth = nothing
        for feature in range(values.shape[1]):
            line = load(factor, feature, width)
            first = add_multiple(first, like(values[row, feature], one), line)
            second = add_multiple(second, like(values[row + 1, feature], one), line)
            third = add_multiple(third, like(values[row + 2, feature], one), line)
            fourth = add_multiple(fourth, like(values[row + 3, feature], one), line)
        store(products, row, first)
        store(products, row + 1, second)
        store(products, row + 2, third)
        store(products, row + 3, fourth)
    for row in range(n_rows // 4 * 4, n_rows):
        first = nothing
        for feature in range(values.shape[1]):
            first = add_multiple(first, like(values[row, feature], one), load(factor, feature, width))
        store(products, row, first)


@_compile
def add_cross(values: Any, usages: Any, cross: Any, width: Any) -> None:
    """Add ``values.T @ usages`` to ``cross`` (n_features, padded), row after row.

    Parameters as in `multiply`; ``usages`` is (n_rows, padded).
    """
    n_rows, one = values.shape[0], usages[0, 0]
    for row in range(0, n_rows - 3, 4):
        first, second = load(usages, row, width), load(usages, row + 1, width)
        third, fourth = load(usages, row + 2, width), load(usages, row + 3, width)
        for feature in range(values.shape[1]):
            line = load(cross, feature, width)
            line = add_multiple(line, like(values[row, feature], one), first)
            line = add_multiple(line, like(values[row + 1, feature], one), second)
            line = add_multiple(line, like(values[row + 2, feature], one), third)
            line = add_multiple(line, like(values[row + 3, feature], one), fourth)
            store(cross, feature, line)
    for row in range(n_rows // 4 * 4, n_rows):
        first = load(usages, row, width)
        for feature in range(values.shape[1]):
            line = add_multiple(load(cross, feature, width), like(values[row, feature], one), first)
            store(cross, feature, line)
