"""Open files, sliced when asked: what a path source holds while it is in use."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.data.matrices import sparse_dtype
from bcnmf_dask.data.sources import Cuts, dense_cuts
from bcnmf_dask.data.strips import CsrStrip, DenseStrip, Leftovers, Strip, sorted_rows
from bcnmf_dask.errors import InputError
from bcnmf_dask.failures.explaining import explained
from bcnmf_dask.kernels.checksum import checksum_of

_headers = Lock()
"""NumPy has Python parse a header, which at times fails in one of two threads that parse (CPython issue 106905)."""


@contextmanager
def reading(location: str) -> Iterator[None]:
    """Turn whatever a reader raises into an InputError that names the store, and says what is wrong with it."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # every codec and file library fails in its own way
        raise InputError(explained(location, error)) from error


def map_npy(path: str | os.PathLike[str]) -> np.memmap[Any, Any]:
    """An ``.npy`` file as an array that is read where it is looked at; safe for several threads."""
    with _headers:
        mapped: np.memmap[Any, Any] = np.load(path, mmap_mode="r")
    return mapped


@dataclass(frozen=True, eq=False)
class NpyFile:
    """A ``.npy`` file in row order, read as it is sliced: pages of a memory map count as memory of the process."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Some rows, without a step."""
        start, stop, _ = rows.indices(self.shape[0])
        width = math.prod(self.shape[1:])
        place = self.offset + start * width * self.dtype.itemsize
        wanted = max(stop - start, 0) * width
        found = np.fromfile(self.path, self.dtype, wanted, offset=place)
        if len(found) < wanted:
            raise ValueError(f"it ends within the rows {start} to {stop}, of {self.shape[0]} that it should have")
        return found.reshape(-1, *self.shape[1:])


@dataclass(frozen=True, eq=False)
class DenseRows:
    """An open dense array, sliced when asked: a file of NumPy's, HDF5 or Zarr."""

    array: Any
    _leftovers: Leftovers = field(default_factory=dict, init=False)

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
        """Rows ``start:stop``."""
        return np.asarray(self.array[start:stop])

    def chunk_bytes(self) -> int:
        """Of the rows that are decoded together."""
        return _chunk_length(self.array) * math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def proof(self) -> int:
        """Of nothing: no values are read to open it."""
        return 0

    def strip(self, start: int) -> Strip:
        """Rows from ``start`` on, to be read in blocks."""
        return DenseStrip(self.array, self._leftovers, start)


@dataclass(frozen=True, eq=False)
class CsrRows:
    """An open CSR matrix as AnnData writes it: the row pointers in memory, the rest sliced when asked."""

    data: Any
    indices: Any
    indptr: NDArray[np.int64]
    shape: tuple[int, int]
    _leftovers: tuple[Leftovers, Leftovers] = field(default_factory=lambda: ({}, {}), init=False)

    def __post_init__(self) -> None:
        sizes = (len(self.indptr) - 1, self.indptr[-1], self.indptr[-1])
        expected = (self.shape[0], self.data.shape[0], self.indices.shape[0])
        if sizes != expected or self.indptr[0] != 0 or (np.diff(self.indptr) < 0).any():
            raise ValueError("the row pointers of the CSR matrix do not fit its stored values")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values as they are read."""
        return sparse_dtype(self.data.dtype)

    @property
    def sparse(self) -> bool:
        """Yes."""
        return True

    def cuts(self) -> Cuts:
        """Every row."""
        return np.arange(self.shape[0] + 1), self.indptr

    def read(self, start: int, stop: int) -> sp.csr_array:
        """Rows ``start:stop``, their columns sorted."""
        places = slice(self.indptr[start], self.indptr[stop])
        return sorted_rows(self.data[places], self.indices[places], self.indptr, self.shape[1], start, stop)

    def chunk_bytes(self) -> int:
        """Of the values, and their columns, that are decoded together."""
        return sum(_chunk_length(part) * part.dtype.itemsize for part in (self.data, self.indices))

    @cached_property
    def proof(self) -> int:
        """Checksum of the row pointers."""
        return checksum_of(self.indptr)

    def strip(self, start: int) -> Strip:
        """Rows from ``start`` on, to be read in blocks."""
        data, indices = zip((self.data, self.indices), self._leftovers, strict=True)
        return CsrStrip(data, indices, self.indptr, self.shape[1], start)


def _chunk_length(array: Any) -> int:
    """Of the first axis; chunks may be larger than what they are filled with."""
    chunks = getattr(array, "chunks", None)
    return min(int(chunks[0]), int(array.shape[0])) if chunks else 1


StoredRows = DenseRows | CsrRows
