"""CSR rows in their one canonical form: columns rise within each row, none is stored twice."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from bcnmf_dask.backend import csr_of
from bcnmf_dask.data.matrices import csr_from
from bcnmf_dask.errors import InputError

INDEX = np.dtype(np.int32)
"""Of stored column numbers: there are never 2^31 features."""


def canonical(data: Any, indices: Any, indptr: Any, n_features: int) -> tuple[sp.csr_array, int]:
    """Rows from their parts, sorted and summed where they are not, and how many entries were summed away.

    Parameters
    ----------
    data, indices, indptr : ndarray
        As they are stored; not changed.
    n_features : int

    Raises
    ------
    InputError
        If the parts contradict each other, or a sum of integers does not fit their type.
    """
    rows = csr_from(data, indices, indptr, (len(indptr) - 1, n_features))
    if not rows.has_sorted_indices:
        rows = rows.copy()
        rows.sort_indices()
    summed = 0
    if not rows.has_canonical_format:
        entries = rows.nnz
        rows = _summed(rows)
        summed = entries - rows.nnz
    return csr_of(rows.data, rows.indices.astype(INDEX, copy=False), rows.indptr, n_features), summed


def _summed(rows: sp.csr_array) -> sp.csr_array:
    """Without duplicates; sums of small integers are taken in wide ones, where they cannot wrap around."""
    kind, size = rows.dtype.kind, rows.dtype.itemsize
    wide = rows.astype(np.int64) if kind in "iu" and size < 8 else rows.copy()
    wide.sum_duplicates()
    narrow = wide.astype(rows.dtype)
    if (narrow.data != wide.data).any() and not np.isnan(wide.data).any():
        raise InputError(
            f"an entry that is stored several times adds up to {wide.data.max()}, which does not fit its type "
            f"{rows.dtype}. Write the matrix again with .sum_duplicates(), or in a larger type."
        )
    return narrow
