"""Sources that read their rows from a file or a Zarr store, wherever they are used.

Such a source pickles to its description (path, element, shape, dtype, checksum); whoever reads from it opens the
store on the first read. All sources of one process over the same store share one handle, which is let go when a
run is over, so that neither rows that were chosen nor a finished fit keep a user from writing the file again.
"""

import math
from abc import ABC, abstractmethod
from threading import Lock
from typing import Any, cast
from weakref import WeakValueDictionary

import numpy as np
import zarr

from bcnmf_dask.backend import Rows
from bcnmf_dask.data.cf import decoded
from bcnmf_dask.data.elements import open_element, rows_of
from bcnmf_dask.data.handles import CsrRows, DenseRows, NpyFile, StoredRows, map_npy, reading
from bcnmf_dask.data.locations import Location, absolute, shown, stamp_of
from bcnmf_dask.data.matrices import check_matrix
from bcnmf_dask.data.passes import Passes
from bcnmf_dask.data.sources import Cuts
from bcnmf_dask.errors import InputError

_shared: WeakValueDictionary[tuple[Any, ...], StoredRows] = WeakValueDictionary()
_shared_lock = Lock()


class PathSource(ABC):
    """Rows in a file or a Zarr store: everything but how it is opened. See :class:`~.sources.Source`.

    Parameters
    ----------
    location : str or os.PathLike
        The path or URL as the user gave it; workers open what it stands for here.
    element : str
        What to read inside the store, where it holds several matrices.

    Attributes
    ----------
    chunk_bytes : int
        That are decoded together, whatever part of them is wanted.
    proof : int
        Of what is read of a store when it is opened: it tells a store from another that takes its place.

    Raises
    ------
    InputError
        If the store cannot be read, or does not hold a non-empty matrix of numbers.
    """

    def __init__(self, location: Location, element: str = "") -> None:
        self.location: str = shown(location)
        self.path = absolute(location)
        self.element = element
        with reading(self.location):
            rows = self._share()
            check_matrix(rows.shape, rows.dtype)
            self._check(rows)
        self.shape = cast(tuple[int, int], rows.shape)
        self.dtype = rows.dtype
        self.sparse = rows.sparse
        self.chunk_bytes = rows.chunk_bytes()
        self.proof = rows.proof
        self._held: StoredRows | None = None

    @abstractmethod
    def _open(self) -> StoredRows:
        """A fresh handle on the rows."""

    def _check(self, rows: StoredRows) -> None:  # noqa: B027
        """Refuse rows of which something is missing, once, when the source is made."""

    def cuts(self) -> Cuts:
        """See :meth:`Source.cuts`."""
        with reading(self.location):
            return self._rows().cuts()

    def read(self, start: int, stop: int) -> Rows:
        """Rows ``start:stop`` as stored; see :meth:`Source.read`.

        Raises
        ------
        InputError
            If the store is gone or damaged, or is not the one this source was made from.
        """
        with reading(self.location):
            return self._rows().read(start, stop)

    def strip(self, start: int) -> Passes:
        """Rows from ``start`` on, to be read in blocks, again and again."""
        return Passes(self, start)

    def open_rows(self) -> StoredRows:
        """The handle of this process on the rows; InputError if they are not those this source was made from."""
        return self._rows()

    def close(self) -> None:
        """Let the handle go, and share it no more, so that the next one is fresh whoever else still holds this one."""
        with _shared_lock:
            for key in [key for key, rows in _shared.items() if rows is self._held]:
                del _shared[key]
        self._held = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r}, {self.element!r}, shape={self.shape})"

    def __getstate__(self) -> dict[str, Any]:
        """The description, without the handle."""
        return self.__dict__ | {"_held": None}

    def _rows(self) -> StoredRows:
        rows = self._held  # looked at once: another thread may close
        if rows is None:
            rows = self._share()
            self._refuse_another(rows)
            self._held = rows
        return rows

    def _refuse_another(self, rows: StoredRows) -> None:
        if (rows.shape, rows.dtype) != (self.shape, self.dtype):
            raise InputError(
                f"{self.location!r} holds {rows.shape} values of type {rows.dtype}, but held {self.shape} of type "
                f"{self.dtype} when it was first opened. Leave a store alone while it is in use."
            )
        if rows.proof != self.proof:
            raise InputError(
                f"{self.location!r} has changed since it was first opened: its rows hold other numbers of values. "
                "Leave a store alone while it is in use, or open it again (bcnmf_dask.split)."
            )

    def _share(self) -> StoredRows:
        """The handle this process has on the store as it is now, opened if there is none."""
        key = (type(self), self.path, self.element, *stamp_of(self.path, self.element))
        with _shared_lock:
            rows = _shared.get(key)
            if rows is None:
                rows = _shared[key] = self._open()
            return rows


class NpySource(PathSource):
    """A NumPy ``.npy`` file."""

    def _open(self) -> StoredRows:
        mapped = map_npy(self.path)
        in_row_order = mapped.flags.c_contiguous and mapped.dtype.names is None
        return DenseRows(NpyFile(self.path, mapped.offset, mapped.shape, mapped.dtype) if in_row_order else mapped)


class ZarrArraySource(PathSource):
    """A two-dimensional Zarr array."""

    def _open(self) -> StoredRows:
        return DenseRows(decoded(zarr.open_array(self.path, mode="r")))


class AnnDataSource(PathSource):
    """``X`` or ``layers/<name>`` of an AnnData in a Zarr store or an ``.h5ad`` file, dense or CSR.

    Raises
    ------
    InputError
        Also if a CSR matrix in a Zarr store has lost chunks.
    """

    def _check(self, rows: StoredRows) -> None:
        """A lost chunk reads as zeros, and so does one of zeros that was never written.

        Chunks of dense values, and of the pointers of empty rows, are often zeros; lost pointers contradict the rest.
        """
        if not (isinstance(rows, CsrRows) and isinstance(rows.data, zarr.Array)):
            return
        richest = np.diff(rows.indptr).max(initial=0)
        # Column numbers may well be all zero where each row stores one value.
        for part in ("data", "indices") if richest > 1 else ("data",):
            lost = _missing_chunks(getattr(rows, part))
            if lost:
                raise InputError(
                    f"{self.location!r} is truncated: {lost} chunk(s) of '{self.element}/{part}' are missing. Copy the "
                    "store again, or write it again. If it was whole, it holds chunks of stored zeros: call "
                    ".eliminate_zeros() on the matrix before it is written; or it is at a URL whose server lists no "
                    "files: copy it here."
                )

    def _open(self) -> StoredRows:
        return rows_of(open_element(self.path, self.element), self.element, self.location)


class OpenSource:
    """Rows of an open file that is not at a path any more, or of which only this process knows; see `Source`.

    Parameters
    ----------
    element : h5py or Zarr array, or a sparse dataset of AnnData
    name : str
        What messages call it.

    Raises
    ------
    InputError
        If it cannot be read, or is not a non-empty matrix of numbers in rows.
    """

    def __init__(self, element: Any, name: str) -> None:
        self.location: str | None = None
        self.name = name
        with reading(name):
            self._rows = rows_of(getattr(element, "group", element), name, name)
            check_matrix(self._rows.shape, self._rows.dtype)
        self.shape = cast(tuple[int, int], self._rows.shape)
        self.dtype = self._rows.dtype
        self.sparse = self._rows.sparse

    def cuts(self) -> Cuts:
        """See :meth:`Source.cuts`."""
        return self._rows.cuts()

    def read(self, start: int, stop: int) -> Rows:
        """See :meth:`Source.read`.

        Raises
        ------
        InputError
            If they cannot be read.
        """
        with reading(self.name):
            return self._rows.read(start, stop)


def _missing_chunks(array: "zarr.Array[Any]") -> int:
    """Files of a Zarr array that are not there; what is stored together in a shard is one."""
    file_shape = array.shards or array.chunks
    n_files = math.prod(-(-length // size) for length, size in zip(array.shape, file_shape, strict=True))
    # Zarr counts as many chunks for each file as fit in a shard.
    return n_files - array.nchunks_initialized * math.prod(array.chunks) // math.prod(file_shape)
