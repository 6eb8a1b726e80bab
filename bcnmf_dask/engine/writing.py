"""Writing the usages that a process holds, beside others that write theirs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import zarr
from numpy.typing import NDArray

from bcnmf_dask.engine.base import Checksums
from bcnmf_dask.engine.digests import checksum
from bcnmf_dask.engine.orders import Order
from bcnmf_dask.engine.resident import Residency
from bcnmf_dask.results.factors import writable_usages
from bcnmf_dask.updates.statistics import ROLES, Role


class Written(NamedTuple):
    """What `write` did.

    Attributes
    ----------
    checksums : Checksums
        Of the scaled usages of every role and shard.
    shared : bool
        Whether rows are left to `write_shared`.
    """

    checksums: Checksums
    shared: bool


def write(residency: Residency, order: Order, location: str) -> Written:
    """Write the scaled usages, but for rows in chunks shared by shards; several processes may do so at once."""
    checksums, shared = {}, False
    with residency.visiting:
        for role, array, first, usages in _arrays(residency, order, location):
            start, stop = _whole_chunks(first, first + len(usages), array)
            array[start:stop] = usages[start - first : stop - first]
            checksums[f"{role}:{first}"] = checksum(usages)
            shared = shared or stop - start < len(usages)
    return Written(checksums, shared)


def write_shared(residency: Residency, order: Order, location: str) -> None:
    """Write the rows that `write` left. One process at a time."""
    # Chunks are read, changed and written again: a call that was given up must be over before the next.
    with residency.visiting:
        for _, array, first, usages in _arrays(residency, order, location):
            start, stop = _whole_chunks(first, first + len(usages), array)
            array[first:start] = usages[: start - first]
            array[stop : first + len(usages)] = usages[stop - first :]


def _arrays(
    residency: Residency, order: Order, location: str
) -> Iterator[tuple[Role, "zarr.Array[Any]", int, NDArray[Any]]]:
    """Role, array to write into, first row and scaled usages of every role and shard."""
    for role in ROLES:
        array: zarr.Array[Any] | None = None
        for first, usages in residency.pieces(order, role):
            if array is None:
                array = writable_usages(location, role)
            yield role, array, first, usages


def _whole_chunks(first: int, last: int, array: "zarr.Array[Any]") -> tuple[int, int]:
    """The rows of ``first:last`` that fill whole chunks of an array; empty, at ``first``, if none."""
    chunk_rows = array.chunks[0]
    start = -(-first // chunk_rows) * chunk_rows
    stop = last if last == array.shape[0] else last // chunk_rows * chunk_rows
    return (start, stop) if start < stop else (first, first)
