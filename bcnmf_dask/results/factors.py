"""How usages and names lie in a store: created once, written by many workers at a time, read lazily."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import dask.array as da
import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

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
    """

    location: str
    dimension: str

    def __len__(self) -> int:
        """Number of rows."""
        return int(open_array(self.location, self.dimension).shape[0])

    def read(self, start: int, stop: int | None) -> NDArray[np.object_]:
        """Names of the rows ``start:stop``, as ``str`` objects; None: to the last."""
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


def read_usages(location: str, role: Role) -> da.Array:
    """Usages of a role as a lazy Dask array, chunked as stored.

    It reads from ``location`` whenever it is computed: take it from where the result stays, after
    `Output.finish` has given it its name.
    """
    usages: da.Array = da.from_zarr(open_array(location, usages_name(role)))
    return usages
