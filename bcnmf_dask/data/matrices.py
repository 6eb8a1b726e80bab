"""Which arrays can be rows: what is refused, in words, before anything is read."""

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp

from bcnmf_dask.backend import Rows
from bcnmf_dask.errors import InputError


def as_rows(block: Any) -> Rows:
    """``block`` as a plain NumPy array or a CSR array (from a matrix too), its values not copied.

    Raises
    ------
    InputError
        For masked arrays, sparse formats other than CSR, damaged CSR, and anything that is no array.
    """
    if np.ma.isMaskedArray(block):
        raise InputError("got a masked array; expected a value everywhere. Fill it first, for example with .filled(0).")
    refuse_other_sparse(block)
    if sp.issparse(block):
        return csr_from(block.data, block.indices, block.indptr, block.shape)
    if not isinstance(block, np.ndarray):
        raise InputError(f"got values held as {type(block).__name__}; expected NumPy arrays or SciPy CSR matrices.")
    return np.asarray(block)


def csr_from(data: Any, indices: Any, indptr: Any, shape: Sequence[int]) -> sp.csr_array:
    """A CSR array over these parts.

    Raises
    ------
    InputError
        If they contradict each other.
    """
    try:
        rows = sp.csr_array((data, indices, indptr), shape=tuple(shape), copy=False)
        rows.check_format(full_check=True)
    except ValueError as error:
        raise InputError(
            f"got a damaged CSR matrix ({error}). Build or write it again from its rows, columns and values."
        ) from error
    return rows


def check_matrix(shape: Sequence[int], dtype: Any) -> None:
    """Refuse what is not a non-empty matrix of real numbers (or of True and False).

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
            "row. Convert it with .tocsr()."
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
