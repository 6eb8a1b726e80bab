"""How usages and names lie in a store: created once, written by many workers at a time, read lazily."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import dask.array as da
import numpy as np
import zarr
from dask.base import tokenize
from numpy.typing import DTypeLike, NDArray

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.temporaries import TemporaryFolder
from bcnmf_dask.updates.statistics import Role

WRITE_EVERY_CHUNK: Any = {"write_empty_chunks": True}
"""Zarr leaves out chunks of zeros by default; then one lost in a broken copy would read as zeros, unseen."""


class RowNames(Protocol):
    """Names of many rows that are read a piece at a time and need never be in memory together."""

    def __len__(self) -> int:
        """Number of rows."""

    def read(self, start: int, stop: int) -> NDArray[np.object_]:
        """Names of the rows ``start:stop``, as ``str`` objects."""


@dataclass(frozen=True)
class StoredNames:
    """Row names in a saved fit, opened anew for every read, so that it can be sent to workers.

    Attributes
    ----------
    location : str
        Path of the saved fit.
    dimension : str
        Dimension whose coordinate holds the names, for example ``"target_cell"``.
    folder : TemporaryFolder or None
        That ends with its last user, if the saved fit is in one.
    """

    location: str
    dimension: str
    folder: TemporaryFolder | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        """Number of rows."""
        return int(open_array(self.location, self.dimension).shape[0])

    def read(self, start: int, stop: int | None) -> NDArray[np.object_]:
        """Names of the rows ``start:stop``, as ``str`` objects; None: to the last."""
        _refuse_missing(self.location)
        return np.asarray(open_array(self.location, self.dimension)[start:stop], dtype=object)


@dataclass(frozen=True, eq=False)
class HeldNames:
    """Row names in memory.

    Attributes
    ----------
    names : ndarray (n rows,) of str objects
    """

    names: NDArray[np.object_]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.names)

    def read(self, start: int, stop: int) -> NDArray[np.object_]:
        """Names of the rows ``start:stop``, as ``str`` objects."""
        return self.names[start:stop]


@dataclass(frozen=True, eq=False)
class StoredUsages:
    """Usages in a saved fit, as something that Dask makes a lazy array of.

    Attributes
    ----------
    location : str
        Path of the saved fit.
    array : zarr.Array
        Of the usages.
    folder : TemporaryFolder or None
        That ends with its last user, if the saved fit is in one.
    """

    location: str
    array: "zarr.Array[Any]"
    folder: TemporaryFolder | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Two."""
        return self.array.ndim

    @property
    def dtype(self) -> "np.dtype[Any]":
        """As stored."""
        return self.array.dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read some of them; InputError if a local store is not there: Zarr would read zeros."""
        _refuse_missing(self.location)
        usages = np.asarray(self.array[index])
        _refuse_missing(self.location)  # it may have gone meanwhile
        return usages


def _refuse_missing(location: str) -> None:
    if "://" not in location and not Path(location).exists():
        raise InputError(
            f"{location}: the usages were there, but on host {socket.gethostname()} there is nothing now. "
            "Expected the store where it was made, seen by all that compute: one that was moved is loaded again "
            "with BCNMF.load; a temporary one lasts as long as what uses it in the process that made it. To keep "
            "usages, fit or transform with out= (on storage that all share)."
        )


def usages_name(role: Role) -> str:
    """Name of the array that holds the usages of a role."""
    return f"{role}_usages"


def cell_dimension(role: Role) -> str:
    """Name of the dimension (and coordinate) of the cells of a role."""
    return f"{role}_cell"


def create_array(
    location: str,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: DTypeLike,
    dimensions: tuple[str, ...],
) -> "zarr.Array[Any]":
    """An array of the Zarr (format 3) group at ``location``; one that has the name already is replaced."""
    return zarr.open_group(location, mode="a", zarr_format=3).create_array(
        name,
        shape=shape,
        chunks=tuple(min(chunk, max(1, length)) for chunk, length in zip(chunks, shape, strict=True)),
        dtype=dtype,
        dimension_names=dimensions,
        config=WRITE_EVERY_CHUNK,
        overwrite=True,
    )


def open_array(location: str, name: str, mode: Literal["r", "r+"] = "r") -> "zarr.Array[Any]":
    """An array of the group at ``location``."""
    return zarr.open_array(location, path=name, mode=mode).with_config(WRITE_EVERY_CHUNK)


def create_usages(location: str, role: Role, n_rows: int, n_components: int, chunk_rows: int, dtype: DTypeLike) -> None:
    """Make room for the usages of a role; the driver calls it once, before any worker writes.

    Parameters
    ----------
    location : str
        Path of the Zarr group; created if it is not there.
    role : {"target", "background"}
        Whose usages.
    n_rows, n_components : int
        Shape of the array.
    chunk_rows : int
        Rows of a stored chunk: the row quantum, of which shard boundaries are multiples, so that no two
        writers share a chunk.
    dtype : dtype
        Of the stored values.
    """
    dimensions = (cell_dimension(role), "component")
    create_array(location, usages_name(role), (n_rows, n_components), (chunk_rows, n_components), dtype, dimensions)


def writable_usages(location: str, role: Role) -> "zarr.Array[Any]":
    """The usages array of a role, to write rows into; workers do so in parallel.

    Parameters
    ----------
    location : str
        Path of the group given to `create_usages`.
    role : {"target", "background"}
        Whose usages. The caller sees to it that no two writers at a time share a chunk.
    """
    return open_array(location, usages_name(role), mode="r+")


def read_usages(location: str, role: Role, folder: TemporaryFolder | None = None) -> da.Array:
    """Usages of a role as a lazy Dask array, chunked as stored.

    It reads from ``location`` whenever it is computed: take it from where the result stays, after
    `Output.finish` has given it its name.

    Parameters
    ----------
    location : str
        Path of the saved fit.
    role : {"target", "background"}
        Whose usages.
    folder : TemporaryFolder or None
        What ``location`` is in, if it shall last as long as the array, and all that is computed from it, may read.
    """
    array = open_array(location, usages_name(role))
    name = f"{usages_name(role)}-{tokenize(array)}"
    usages: da.Array = da.from_array(StoredUsages(location, array, folder), chunks=array.chunks, name=name)
    return usages
