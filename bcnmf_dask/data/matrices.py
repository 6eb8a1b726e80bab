"""Which arrays can be rows: what is refused, in words, before anything is read."""

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, csr_of, is_sparse, to_host
from bcnmf_dask.errors import InputError


def as_rows(block: Any) -> Rows:
    """``block`` as a plain NumPy array or a CSR array (from a matrix too), its values not copied.

    What lies on a device is brought to the host: where it is computed is decided later.

    Raises
    ------
    InputError
        For masked arrays, sparse formats other than CSR, damaged CSR, and anything that is no array.
    """
    block = to_host(block)
    if np.ma.isMaskedArray(block):
        raise InputError("got a masked array; expected a value everywhere. Fill it first, for example with .filled(0).")
    refuse_other_sparse(block)
    if sp.issparse(block):
        checked = csr_from(block.data, block.indices, block.indptr, block.shape)
        # SciPy has copied parts that are under half of their base: keep those that came, in the types it chose.
        values = block.data.astype(checked.dtype, copy=False)
        indices = block.indices.astype(checked.indices.dtype, copy=False)
        return csr_of(values, indices, block.indptr.astype(checked.indptr.dtype, copy=False), block.shape[1])
    if not isinstance(block, np.ndarray):
        raise InputError(f"got values held as {type(block).__name__}; expected NumPy arrays or SciPy CSR matrices.")
    return np.asarray(block)


def as_declared(chunks: Sequence[Any], shape: tuple[int, int]) -> list[Rows]:
    """Chunks as they were computed, now as rows, if together they are of the ``shape`` that was declared.

    Only a Dask array can declare what its chunks then do not hold.

    Raises
    ------
    InputError
        For chunks that are no rows (see `as_rows`), of several kinds, or of other sizes.
    """
    blocks = [as_rows(chunk) for chunk in chunks]
    for block in blocks:
        check_kind(block.shape, block.dtype)
    if len({is_sparse(block) for block in blocks}) > 1:
        raise InputError(
            "got a Dask array with both dense and sparse chunks; expected one kind. Convert them all, for example "
            "with .map_blocks(scipy.sparse.csr_array)."
        )
    widths = sorted({block.shape[1] for block in blocks})
    n_rows = sum(block.shape[0] for block in blocks)
    if (n_rows, widths) != (shape[0], [shape[1]]):
        raise InputError(
            f"got a Dask array whose chunks hold {n_rows} rows of {' and '.join(map(str, widths))} features where it "
            f"declares {shape[0]} rows of {shape[1]}; expected chunks of the declared sizes. Call "
            ".compute_chunk_sizes() on it, or give the right chunks= where it is made (map_blocks, from_delayed)."
        )
    return blocks


def csr_from(data: Any, indices: Any, indptr: Any, shape: Sequence[int]) -> sp.csr_array:
    """A CSR array over these parts.

    Raises
    ------
    InputError
        If they contradict each other.
    """
    data = np.asarray(data).astype(sparse_dtype(data.dtype), copy=False)
    try:
        rows = sp.csr_array((data, indices, indptr), shape=tuple(shape), copy=False)
        rows.check_format(full_check=True)
    except ValueError as error:
        raise InputError(
            f"got a damaged CSR matrix ({error}). Build or write it again from its rows, columns and values."
        ) from error
    return rows


def sparse_dtype(stored: Any) -> np.dtype[Any]:
    """The type in which SciPy can hold stored values: of this machine's byte order, and not of half precision."""
    dtype: np.dtype[Any] = np.dtype(stored).newbyteorder("=")
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def whole_numbers(indices: NDArray[Any]) -> NDArray[Any]:
    """Stored column or row numbers, of whatever type, as signed ones of this machine.

    Raises
    ------
    ValueError
        If there is one that is not whole, or too large.
    """
    if indices.dtype in (np.int32, np.int64):
        return indices
    whole = indices.astype(np.int64)
    if (whole != indices).any():
        raise ValueError("the matrix has row or column numbers that are no whole numbers")
    return whole


def check_kind(shape: Sequence[int], dtype: Any) -> None:
    """Refuse what is not a matrix of real numbers (or of True and False).

    Raises
    ------
    InputError
    """
    if len(shape) != 2:
        raise InputError(
            f"got an array with {len(shape)} dimension(s), shape {tuple(shape)}; expected 2: rows (cells) x "
            "features (genes). A single row is written array.reshape(1, -1)."
        )
    if np.dtype(dtype).kind not in "biuf":
        raise InputError(
            f"got values of type {dtype}; expected numbers (integers, real numbers, or True/False). "
            "Leave out columns that hold text, and convert the rest, for example with .astype('float32')."
        )


def check_matrix(shape: Sequence[int], dtype: Any) -> None:
    """Refuse what is not a non-empty matrix of real numbers (or of True and False).

    Raises
    ------
    InputError
    """
    check_kind(shape, dtype)
    if 0 in shape:
        raise InputError(
            f"got an empty matrix with {shape[0]} row(s) and {shape[1]} feature(s); expected at least one of "
            "each. Check the selection that made it."
        )


def refuse_other_sparse(block: Any) -> None:
    """Refuse SciPy matrices that cannot be sliced by row.

    Raises
    ------
    InputError
    """
    if sp.issparse(block) and block.format != "csr":
        raise InputError(
            f"got a sparse matrix in {block.format.upper()} format; expected CSR, which can be read row by "
            "row. Convert it with .tocsr(), or write a CSC matrix as a store with `bcnmf-dask ingest`."
        )


def check_chunks(array: da.Array) -> None:
    """Refuse Dask arrays whose chunks are of unknown size or hold parts of rows.

    Raises
    ------
    InputError
    """
    if array.ndim != 2:
        check_matrix(array.shape, array.dtype)
    if np.isnan(array.shape).any():
        raise InputError(
            "got a Dask array with chunks of unknown size; expected known sizes. Call .compute_chunk_sizes() on it."
        )
    if len(array.chunks[1]) > 1:
        raise InputError(
            f"got a Dask array with chunks that split features ({len(array.chunks[1])} chunks across "
            f"{array.shape[1]} features); expected whole rows in each chunk. Call .rechunk({{1: -1}}) on it."
        )
