"""Some rows of a block, and their sums, wherever they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, beside, csr_of, is_sparse, parts_of, pinned, slice_rows, to_device, to_host
from bcnmf_dask.updates.device_csr import DeviceCSR, csr_to_device


def pick_rows(rows: Rows, ranges: Any) -> Rows:
    """The rows of ``ranges``, pairs of start and stop, in this order; a view where there is only one."""
    if isinstance(rows, DeviceCSR):
        return rows.pick(ranges)
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
    if isinstance(rows, DeviceCSR):
        on_device: NDArray[Any] = rows.sums(dtype)
        return on_device
    if is_sparse(rows):
        rows = csr_of(rows.data.astype(dtype, copy=False), rows.indices, rows.indptr, rows.shape[1])
    sums: NDArray[Any] = rows.astype(dtype, copy=False) @ beside(np.ones(rows.shape[1], dtype), rows)
    return sums.astype(dtype, copy=False)


def rows_nbytes(rows: Rows) -> int:
    """Bytes that rows of the host take on a device; CSR rows twice, as they are also sorted by columns."""
    return sum(part.nbytes for part in parts_of(rows)) * (2 if is_sparse(rows) else 1)


def rows_pinned(rows: Rows) -> Rows:
    """Dense or CSR rows of the host, where a device fetches them fastest."""
    if not is_sparse(rows):
        return pinned(rows)
    indptr, indices, data = map(pinned, parts_of(rows))
    return csr_of(data, indices, indptr, rows.shape[1])


def rows_to_device(rows: Rows) -> Rows:
    """Dense or CSR rows of the host, in their types, on the device of this process."""
    return csr_to_device(rows) if is_sparse(rows) else to_device(rows)


def rows_to_host(rows: Rows) -> Rows:
    """The way back."""
    return rows.host() if isinstance(rows, DeviceCSR) else to_host(rows)
