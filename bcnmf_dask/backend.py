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
    indptr = rows.indptr[start : stop + 1] - first
    return csr_of(rows.data[first:last], rows.indices[first:last], indptr, rows.shape[1])


def pick_rows(rows: Rows, ranges: Any) -> Rows:
    """The rows of ``ranges``, pairs of start and stop, in this order; a view where there is only one."""
    picked = [slice_rows(rows, int(start), int(stop)) for start, stop in ranges]
    if len(picked) == 1:
        return picked[0]
    if not is_sparse(rows):
        return np.concatenate(picked)
    lengths = np.concatenate([np.diff(one.indptr) for one in picked])
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=rows.indptr.dtype)])
    data, indices = (np.concatenate([getattr(one, name) for one in picked]) for name in ("data", "indices"))
    return csr_of(data, indices, indptr.astype(rows.indptr.dtype), rows.shape[1])


def row_sums(rows: Rows, dtype: Any) -> NDArray[Any]:
    """Of each row, (n,): of values in this dtype, so that it is the same in which type they are held."""
    if is_sparse(rows):
        rows = csr_of(rows.data.astype(dtype, copy=False), rows.indices, rows.indptr, rows.shape[1])
    return np.asarray(rows.astype(dtype, copy=False) @ np.ones(rows.shape[1], dtype), dtype=dtype)


def csr_of(data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], n_features: int) -> Rows:
    """A CSR array around these parts, none of them copied or looked at."""
    rows = sp.csr_array((len(indptr) - 1, n_features), dtype=data.dtype)
    # Set one by one: SciPy's constructor copies parts that are under half the length of their base.
    rows.data, rows.indices, rows.indptr = data, indices, indptr
    return rows


def parts_of(rows: Rows) -> tuple[NDArray[Any], ...]:
    """The arrays in memory that make up ``rows``."""
    return (rows.indptr, rows.indices, rows.data) if is_sparse(rows) else (rows,)


def is_in_order(rows: Rows) -> bool:
    """Whether all parts are aligned and in the order of C, as what is compiled wants them."""
    return all(part.flags.c_contiguous and part.flags.aligned for part in parts_of(rows))


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
