"""What a finished fit explains of CSR rows, and where they have values: sums in float64, in the order of the rows."""

from typing import Any

import numpy as np

from bcnmf_dask.kernels.compiling import compiler

_compile = compiler(error_model="numpy")


@_compile
def sum_overlap(rows: Any, usages: Any, basis: Any) -> float:
    """The sum over stored values of the smaller of value and reconstruction; negative ones count as none.

    Parameters
    ----------
    rows : tuple of arrays
        Pointers, indices and values.
    usages : float64 array (n_rows, n_components)
    basis : float64 array (n_features, n_components)
    """
    indptr, indices, values = rows
    overlap = 0.0
    for row in range(usages.shape[0]):
        for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
            feature = indices[place]
            reconstruction = 0.0
            for component in range(usages.shape[1]):
                reconstruction += usages[row, component] * basis[feature, component]
            overlap += min(np.float64(values[place]), reconstruction)
    return overlap


@_compile
def count_features(rows: Any, sums: Any, positive: Any) -> None:
    """Add to ``sums`` (n_features,) the values of each feature, and to ``positive`` its rows with one above zero."""
    indptr, indices, values = rows
    for place in range(np.uintp(indptr[0]), np.uintp(indptr[indptr.size - 1])):
        value = np.float64(values[place])
        sums[indices[place]] += value
        if value > 0.0:
            positive[indices[place]] += 1.0
