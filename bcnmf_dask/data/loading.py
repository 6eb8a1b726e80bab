"""Rows as read -> blocks as computed: one dtype, chosen features, checked values, split by role."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, csr_of, is_in_order, is_sparse, slice_rows
from bcnmf_dask.data.contents import contents_of
from bcnmf_dask.data.findings import Findings, inspect
from bcnmf_dask.data.inputs import Store
from bcnmf_dask.data.matrices import as_declared
from bcnmf_dask.data.shards import Shard
from bcnmf_dask.data.sources import MemorySource, stack
from bcnmf_dask.data.wording import about
from bcnmf_dask.kernels.inspection import has_repeated
from bcnmf_dask.updates.statistics import Role

MOSTLY = 0.9
"""Of a block that is kept as it is, although only these rows of it are wanted."""


@dataclass(frozen=True)
class ShardOrder:
    """All a worker needs to make blocks of the rows of a shard.

    Attributes
    ----------
    shard : Shard
    masks : mapping of role to bool array (rows of the shard,) or None
        Rows that serve in each role; None is every row.
    columns : int array or None
        Columns of the source to take, in this order; None is all.
    dtype : str
        Of the run: ``"float32"`` or ``"float64"``.
    name : str
        What messages call the store.
    width : int
        Features of the source.
    resident : bool
        Whether the rows stay in memory; else they are read in each visit, from a path.
    on_device : bool
        Whether they stay on the device of the process.
    as_it_is : bool
        Whether whole numbers keep their type however large it is, see `taken_as_it_is`.
    sampled : float
        See `bcnmf_dask.data.contents.share_sampled`.
    """

    shard: Shard
    masks: Mapping[Role, NDArray[np.bool_] | None]
    columns: NDArray[np.int64] | None
    dtype: str
    name: str
    width: int
    resident: bool = True
    on_device: bool = False
    as_it_is: bool = False
    sampled: float = 0.0


@dataclass(frozen=True)
class Block:
    """Rows that one thread computes at once, by role.

    Attributes
    ----------
    number : int
        Among all blocks of the run: its leaf in the reduction.
    parts : mapping of role to rows
    places : mapping of role to slice
        Where the usages of each part stand in those of the shard.
    """

    number: int
    parts: Mapping[Role, Rows]
    places: Mapping[Role, slice]


def order_shard(
    store: Store,
    shard: Shard,
    dtype: str,
    resident: bool = True,
    on_device: bool = False,
    *,
    as_it_is: bool = False,
    sampled: float = 0.0,
) -> ShardOrder:
    """The order for one shard: its piece of the store's roles, how to read it, and where it is to stay."""
    masks, width = _masks_of(store, shard), store.source.shape[1]
    return ShardOrder(shard, masks, store.columns, dtype, store.name, width, resident, on_device, as_it_is, sampled)


def _masks_of(store: Store, shard: Shard) -> dict[Role, NDArray[np.bool_] | None]:
    return {
        role: None if mask is None else mask[shard.start : shard.stop]
        for role, mask in store.masks.items()
        if role in shard.role_rows
    }


def taken_as_it_is(store: Store, shard: Shard, dtype: np.dtype[Any]) -> bool:
    """Whether the process that holds the rows of a shard can compute with them where they are, without a copy.

    Rows that store a feature more than once are an exception, which is not seen before they are looked at.
    """
    if not isinstance(store.source, MemorySource) or store.columns is not None:
        return False
    stored = store.source.dtype
    if held_dtype(stored, dtype, as_it_is=True) != stored or not is_in_order(store.source.rows):
        return False
    masks = [mask for mask in _masks_of(store, shard).values() if mask is not None]
    bounds = [bound - shard.start for bound in bounds_of(shard)]
    return all(_lie_together(mask[start:stop]) for mask in masks for start, stop in pairwise(bounds))


def held_dtype(stored: np.dtype[Any], wanted: np.dtype[Any], as_it_is: bool = False) -> np.dtype[Any]:
    """The type that stored rows are held in: whole numbers keep theirs where that takes no more memory."""
    keeps = stored.kind in "bui" and (as_it_is or stored.itemsize <= wanted.itemsize)
    return stored.newbyteorder("=") if keeps else wanted


def bounds_of(shard: Shard) -> list[int]:
    """Rows of the store at which the blocks of a shard begin, and the one behind the last."""
    return [*range(shard.start, shard.stop, shard.block_rows), shard.stop]


def rows_of_chunks(order: ShardOrder, chunks: Sequence[Any]) -> Iterator[Rows]:
    """Rows of each block of a shard, as views of chunks that hold the whole shard.

    Parameters
    ----------
    order : ShardOrder
    chunks : sequence of ndarray, csr_matrix or csr_array
        The rows of the shard, top to bottom, as they were read. Not changed.

    Raises
    ------
    InputError
        If the chunks are not the rows that the store declares.
    """
    rows = stack(as_declared(chunks, (order.shard.stop - order.shard.start, order.width)))
    for start, stop in pairwise(bounds_of(order.shard)):
        yield slice_rows(rows, start - order.shard.start, stop - order.shard.start)


def places_of(order: ShardOrder) -> list[dict[Role, slice]]:
    """Where the usages of each part of each block of a shard stand in those of the shard."""
    shard, found = order.shard, list[dict[Role, slice]]()
    seen = dict.fromkeys(order.masks, 0)
    for start, stop in pairwise(bound - shard.start for bound in bounds_of(shard)):
        counts = {
            role: stop - start if mask is None else int(np.count_nonzero(mask[start:stop]))
            for role, mask in order.masks.items()
        }
        found.append({role: slice(seen[role], seen[role] + count) for role, count in counts.items() if count})
        seen = {role: seen[role] + count for role, count in counts.items()}
    return found


def make_blocks(order: ShardOrder, rows_of_blocks: Iterable[Rows], first: int = 0) -> Iterator[Block]:
    """Blocks of a shard from the rows of each, as read: kept by reference where nothing must change.

    Parameters
    ----------
    order : ShardOrder
    rows_of_blocks : iterable of rows
        Of neighbouring blocks.
    first : int
        The first of these, counted within the shard.

    Raises
    ------
    InputError
        Naming the store, if the rows cannot be read.
    """
    places = places_of(order)
    with about(order.name):
        for number, rows in enumerate(rows_of_blocks, first):
            with np.errstate(over="ignore"):  # what the dtype cannot hold becomes infinite, and is refused in words
                canonical = _canonical(rows, order)
            parts = dict(_parts(order, number * order.shard.block_rows, canonical))
            yield Block(order.shard.first_block + number, parts, places[number])


def inspect_block(order: ShardOrder, block: Block) -> Findings:
    """Look at every value of a block; negative and non-finite values are counted, not refused, here."""
    findings = Findings.none(order.width if order.columns is None else len(order.columns))
    for role, part in block.parts.items():
        seen = inspect(part, role, order.shard.role_rows[role][0] + block.places[role].start)
        if order.sampled:
            seen = replace(seen, contents={role: contents_of(part, order.sampled, _alone(order, block, role))})
        findings = findings.merge(seen)
    return findings


def _alone(order: ShardOrder, block: Block, role: Role) -> NDArray[np.bool_] | None:
    """Which rows of a part do not serve in the other role, too; None is all."""
    if len(order.masks) == 1:
        return None
    start = (block.number - order.shard.first_block) * order.shard.block_rows
    every = np.ones(order.shard.stop - order.shard.start, dtype=bool)
    mine, other = ((every if mask is None else mask)[start:] for mask in order.masks.values())
    mine, other = (mine, other) if role == next(iter(order.masks)) else (other, mine)
    return ~other[: order.shard.block_rows][mine[: order.shard.block_rows]]


def _canonical(rows: Rows, order: ShardOrder) -> Rows:
    dtype, columns = np.dtype(order.dtype), order.columns
    chosen = rows if columns is None else rows[:, columns]
    held = held_dtype(rows.dtype, dtype, order.as_it_is)  # of what came: a Dask array may declare another type
    if not is_sparse(chosen):
        return np.require(chosen, held, ["C", "A"])
    if columns is not None:
        chosen.sort_indices()  # sums do not depend on the order of the features in the store
    return _canonical_csr(chosen, held, dtype)


def _canonical_csr(rows: sp.csr_array, held: np.dtype[Any], dtype: np.dtype[Any]) -> sp.csr_array:
    """Aligned parts of one dtype, without duplicate entries (whose logarithms and squares would be wrong)."""
    if has_repeated(rows.indptr, rows.indices, rows.shape[1]):
        held = dtype  # a type of whole numbers may not hold the sums
        rows = rows.astype(np.float64)
        rows.sum_duplicates()
    return csr_of(
        np.require(rows.data, held, ["C", "A"]),
        np.require(rows.indices, None, ["C", "A"]),
        np.require(rows.indptr, None, ["C", "A"]),
        rows.shape[1],
    )


def _parts(order: ShardOrder, start: int, rows: Rows) -> Iterator[tuple[Role, Rows]]:
    """The rows of a block by role, the first of them ``start`` rows into the shard."""
    for role, mask in order.masks.items():
        part = rows if mask is None else _pick(rows, mask[start : start + rows.shape[0]])
        if part.shape[0]:
            yield role, part


def _pick(rows: Rows, mask: NDArray[np.bool_]) -> Rows:
    """The rows of a block that serve in a role: a view if that holds little else in memory, else a copy."""
    wanted = np.flatnonzero(mask)
    if _lie_together(mask):
        return slice_rows(rows, int(wanted[0]), int(wanted[-1]) + 1) if len(wanted) else slice_rows(rows, 0, 0)
    picked = rows[wanted]
    return sp.csr_array(picked) if is_sparse(rows) else np.ascontiguousarray(picked)


def _lie_together(mask: NDArray[np.bool_]) -> bool:
    """Whether the wanted rows of a block are neighbours, and nearly all of it; or none."""
    wanted = np.flatnonzero(mask)
    if not len(wanted):
        return True
    return bool(wanted[-1] - wanted[0] + 1 == len(wanted) > MOSTLY * len(mask))
