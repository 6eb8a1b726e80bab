"""Array kinds the mathematics works on. Only this module may know about an optional GPU library."""

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Rows: TypeAlias = Any
"""Rows x features: a dense array or a SciPy CSR array (SciPy's have no static types)."""


def is_sparse(rows: Rows) -> bool:
    """Whether ``rows`` is stored as CSR."""
    return isinstance(rows, sp.csr_array)


def slice_rows(rows: Rows, start: int, stop: int) -> Rows:
    """Rows ``start:stop`` as a view: no stored value is copied (SciPy's own CSR slice copies)."""
    if not is_sparse(rows):
        return rows[start:stop]
    first, last = int(rows.indptr[start]), int(rows.indptr[stop])
    view = sp.csr_array((stop - start, rows.shape[1]), dtype=rows.dtype)
    # Set one by one: given these parts, SciPy's constructor copies those under half the length of their base.
    view.data, view.indices = rows.data[first:last], rows.indices[first:last]
    view.indptr = rows.indptr[start : stop + 1] - first
    return view


def stored_values(rows: Rows) -> NDArray[Any]:
    """The values in memory: all of a dense array, the stored ones of a CSR array."""
    values: NDArray[Any] = rows.data if is_sparse(rows) else rows
    return values


def owned(array: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """A fresh, aligned, C-ordered copy.

    Arrays unpickled from a message can be misaligned; BLAS then takes another path and the last bits of a
    product change from run to run.
    """
    return np.array(array, dtype=dtype, order="C", copy=True)
