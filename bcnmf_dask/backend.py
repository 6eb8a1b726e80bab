"""Array kinds the mathematics works on. Only this module may know about an optional GPU library."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Rows = NDArray[Any] | sp.csr_array
"""Rows x features: a dense array or a CSR array."""


def is_sparse(rows: Rows) -> bool:
    """Whether ``rows`` is stored as CSR."""
    return isinstance(rows, sp.csr_array)


def slice_rows(rows: Rows, start: int, stop: int) -> Rows:
    """Rows ``start:stop`` as a view: no stored value is copied (SciPy's own CSR slice copies)."""
    if not is_sparse(rows):
        return rows[start:stop]
    first, last = int(rows.indptr[start]), int(rows.indptr[stop])
    parts = (rows.data[first:last], rows.indices[first:last], rows.indptr[start : stop + 1] - first)
    return sp.csr_array(parts, shape=(stop - start, rows.shape[1]), copy=False)


def stored_values(rows: Rows) -> NDArray[Any]:
    """The values in memory: all of a dense array, the stored ones of a CSR array."""
    return rows.data if is_sparse(rows) else rows


def owned(array: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """A fresh, aligned, C-ordered copy.

    Arrays unpickled from a message can be misaligned; BLAS then takes another path and the last bits of a
    product change from run to run.
    """
    return np.array(array, dtype=dtype, order="C", copy=True)
