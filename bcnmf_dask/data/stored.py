"""Sources that read their rows from a file or a Zarr store, wherever they are used.

Such a source pickles to its description (path, element, shape, dtype); a worker that receives it opens the
store on the first read. All sources of one process over the same store share one handle, which closes with
the last of them, so that a finished fit does not keep a user from writing the file again.
"""

import math
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any, cast
from weakref import WeakValueDictionary

import anndata.io
import h5py
import numpy as np
import zarr

from bcnmf_dask.backend import Rows
from bcnmf_dask.data.handles import CsrRows, DenseRows, NpyFile, StoredRows, map_npy, reading
from bcnmf_dask.data.locations import Location, absolute, is_file, is_url, shown, stamp_of
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
        self.shape = cast(tuple[int, int], rows.shape)
        self.dtype = rows.dtype
        self.sparse = rows.sparse
        self.chunk_bytes = rows.chunk_bytes()
        self._held: StoredRows | None = rows

    @abstractmethod
    def _open(self) -> StoredRows:
        """A fresh handle on the rows."""

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
            if (rows.shape, rows.dtype) != (self.shape, self.dtype):
                raise InputError(
                    f"{self.location!r} holds {rows.shape} values of type {rows.dtype}, but held "
                    f"{self.shape} of type {self.dtype} when it was first opened. Leave a store alone while "
                    "it is in use."
                )
            self._held = rows
        return rows

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
        return DenseRows(zarr.open_array(self.path, mode="r"))


class AnnDataSource(PathSource):
    """``X`` or ``layers/<name>`` of an AnnData in a Zarr store or an ``.h5ad`` file, dense or CSR.

    Raises
    ------
    InputError
        Also if a CSR matrix in a Zarr store has lost chunks.
    """

    def __init__(self, location: Location, element: str) -> None:
        super().__init__(location, element)
        with reading(self.location):
            rows = self._rows()
            if isinstance(rows, CsrRows) and isinstance(rows.data, zarr.Array):
                self._refuse_lost_chunks(rows)

    def _refuse_lost_chunks(self, rows: CsrRows) -> None:
        """A lost chunk reads as zeros, and so does one of zeros that was never written.

        Chunks of dense values, and of the pointers of empty rows, are often zeros; lost pointers contradict the rest.
        """
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
        element = open_element(self.path, self.element)
        if isinstance(element, h5py.Dataset | zarr.Array):
            return DenseRows(element)
        matrix = anndata.io.sparse_dataset(element)
        if matrix.format != "csr":
            raise InputError(
                f"{self.element!r} in {self.location!r} is stored in {matrix.format.upper()} format; "
                "expected CSR, which can be read row by row. Turn it with `bcnmf-dask ingest`; a matrix that fits in "
                "memory can also be read with anndata, converted with .tocsr() and written again."
            )
        indptr = element["indptr"][...].astype(np.int64)
        return CsrRows(element["data"], element["indices"], indptr, matrix.shape)


def _missing_chunks(array: "zarr.Array[Any]") -> int:
    """Files of a Zarr array that are not there; what is stored together in a shard is one."""
    file_shape = array.shards or array.chunks
    n_files = math.prod(-(-length // size) for length, size in zip(array.shape, file_shape, strict=True))
    # Zarr counts as many chunks for each file as fit in a shard.
    return n_files - array.nchunks_initialized * math.prod(array.chunks) // math.prod(file_shape)


def open_group(location: str) -> Any:
    """The root group of an ``.h5ad`` file or a Zarr store, read-only.

    Of a Zarr store that is here, what its parts themselves say is believed: metadata that were consolidated before a
    layer was added, or an array has grown, tell of what was. Servers may list nothing else.
    """
    path = absolute(location)
    if is_file(path):
        load_filters()
        return h5py.File(path, "r")
    return zarr.open_group(path, mode="r", use_consolidated=None if is_url(path) else False)


def open_element(location: str, element: str) -> Any:
    """One part of an ``.h5ad`` file or a Zarr store, read-only; at a URL, too, whatever was consolidated."""
    path = absolute(location)
    return zarr.open(f"{path}/{element}", mode="r") if is_url(path) else open_group(path)[element]


@cache
def load_filters() -> None:
    """Have the HDF5 library of this process know the filters of hdf5plugin, if that is installed."""
    if find_spec("hdf5plugin"):
        with suppress(Exception):  # one that does not go with this HDF5; what is missing is said when it is wanted
            import_module("hdf5plugin")
