"""Open files, sliced when asked: what a path source holds while it is in use."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.data.sources import Cuts, dense_cuts
from bcnmf_dask.errors import InputError


@contextmanager
def reading(location: str) -> Iterator[None]:
    """Turn whatever a reader raises on a damaged or vanished store into an InputError that names it."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # every codec and file library fails in its own way
        raise InputError(
            f"{location!r} could not be read ({type(error).__name__}: {error}). It may be truncated, damaged "
            "or not what its name says: copy or write it again, and try to open it with the library that "
            "wrote it."
        ) from error


@dataclass(frozen=True, eq=False)
class DenseRows:
    """An open dense array, sliced when asked: memory-mapped NumPy, HDF5 or Zarr."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array, not necessarily of two dimensions."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def sparse(self) -> bool:
        """No."""
        return False

    def cuts(self) -> Cuts:
        """The stored chunk rows; every row where the file is not chunked."""
        chunks = getattr(self.array, "chunks", None)
        return dense_cuts((self.shape[0], self.shape[1]), every=chunks[0] if chunks else 1)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop``; of a memory-mapped file, a view."""
        return np.asarray(self.array[start:stop])


@dataclass(frozen=True, eq=False)
class CsrRows:
    """An open CSR matrix as AnnData writes it: the row pointers in memory, the rest sliced when asked."""

    data: Any
    indices: Any
    indptr: NDArray[np.int64]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        sizes = (len(self.indptr) - 1, self.indptr[-1], self.indptr[-1])
        expected = (self.shape[0], self.data.shape[0], self.indices.shape[0])
        if sizes != expected or self.indptr[0] != 0 or (np.diff(self.indptr) < 0).any():
            raise ValueError("the row pointers of the CSR matrix do not fit its stored values")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values."""
        dtype: np.dtype[Any] = self.data.dtype
        return dtype

    @property
    def sparse(self) -> bool:
        """Yes."""
        return True

    def cuts(self) -> Cuts:
        """Every row."""
        return np.arange(self.shape[0] + 1), self.indptr

    def read(self, start: int, stop: int) -> sp.csr_array:
        """Rows ``start:stop``, their columns sorted."""
        first, last = self.indptr[start], self.indptr[stop]
        parts = (self.data[first:last], self.indices[first:last], self.indptr[start : stop + 1] - first)
        rows = sp.csr_array(parts, shape=(stop - start, self.shape[1]))
        rows.check_format(full_check=True)
        rows.sort_indices()
        # A lost chunk of a Zarr array reads as zeros, so lost column numbers show as repeated ones.
        if not rows.has_canonical_format:
            raise ValueError(f"a row among {start} to {stop} stores the same feature more than once")
        return rows


StoredRows = DenseRows | CsrRows
