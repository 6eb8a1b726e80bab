"""Rows as read -> blocks as computed: one dtype, chosen features, checked values, split by role."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, csr_of, is_sparse, slice_rows
from bcnmf_dask.data.findings import Findings, inspect
from bcnmf_dask.data.inputs import Store
from bcnmf_dask.data.matrices import as_declared
from bcnmf_dask.data.shards import Shard
from bcnmf_dask.data.sources import stack
from bcnmf_dask.data.wording import about
from bcnmf_dask.updates.statistics import Role


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
        ``"float32"`` or ``"float64"``.
    name : str
        What messages call the store.
    width : int
        Features of the source.
    """

    shard: Shard
    masks: Mapping[Role, NDArray[np.bool_] | None]
    columns: NDArray[np.int64] | None
    dtype: str
    name: str
    width: int


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


def order_shard(store: Store, shard: Shard, dtype: str) -> ShardOrder:
    """The order for one shard: its piece of the store's roles, and how to read it."""
    masks = {
        role: None if mask is None else mask[shard.start : shard.stop]
        for role, mask in store.masks.items()
        if role in shard.role_rows
    }
    return ShardOrder(shard, masks, store.columns, dtype, store.name, store.source.shape[1])


def load_blocks(order: ShardOrder, chunks: Sequence[Any]) -> tuple[list[Block], Findings]:
    """Make the blocks of a shard and look at every value once.

    Parameters
    ----------
    order : ShardOrder
    chunks : sequence of ndarray, csr_matrix or csr_array
        The rows of the shard, top to bottom, as they were read. Not changed; kept by reference where their
        dtype, layout and features are already right.

    Returns
    -------
    list of Block
    Findings
        What was seen; negative and non-finite values are counted, not refused, here.

    Raises
    ------
    InputError
        Naming the store, if the chunks are not the rows that it declares.
    """
    with about(order.name):
        chunks = as_declared(chunks, (order.shard.stop - order.shard.start, order.width))
    with np.errstate(over="ignore"):  # what the dtype cannot hold becomes infinite, and is refused in words
        rows = _canonical(chunks, order.columns, np.dtype(order.dtype))
    blocks = list(_cut(order, rows))
    findings = Findings.none(rows.shape[1])
    for block in blocks:
        for role, part in block.parts.items():
            findings = findings.merge(inspect(part, role, order.shard.role_rows[role][0] + block.places[role].start))
    return blocks, findings


def _canonical(chunks: Sequence[Rows], columns: NDArray[np.int64] | None, dtype: np.dtype[Any]) -> Rows:
    rows = stack(chunks)
    if is_sparse(rows):
        return _canonical_csr(rows if columns is None else rows[:, columns], dtype)
    return np.require(rows if columns is None else rows[:, columns], dtype, ["C", "A"])


def _canonical_csr(rows: sp.csr_array, dtype: np.dtype[Any]) -> sp.csr_array:
    """Aligned parts of one dtype, without duplicate entries (whose logarithms and squares would be wrong)."""
    rows = csr_of(
        np.require(rows.data, dtype, ["C", "A"]),
        np.require(rows.indices, None, ["C", "A"]),
        np.require(rows.indptr, None, ["C", "A"]),
        rows.shape[1],
    )
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def _cut(order: ShardOrder, rows: Rows) -> Iterator[Block]:
    seen = dict.fromkeys(order.masks, 0)
    for number, start in enumerate(range(0, rows.shape[0], order.shard.block_rows), order.shard.first_block):
        stop = min(start + order.shard.block_rows, rows.shape[0])
        parts: dict[Role, Rows] = {}
        for role, mask in order.masks.items():
            part = slice_rows(rows, start, stop) if mask is None else _pick(rows, start, mask[start:stop])
            if part.shape[0]:
                parts[role] = part
        places = {role: slice(seen[role], seen[role] + part.shape[0]) for role, part in parts.items()}
        seen.update({role: place.stop for role, place in places.items()})
        yield Block(number, parts, places)


def _pick(rows: Rows, start: int, mask: NDArray[np.bool_]) -> Rows:
    """The rows of a block that serve in a role: a view where they are contiguous, else a copy."""
    wanted = np.flatnonzero(mask)
    if not len(wanted):
        return slice_rows(rows, start, start)
    first, last = int(wanted[0]), int(wanted[-1]) + 1
    if last - first == len(wanted):
        return slice_rows(rows, start + first, start + last)
    picked = slice_rows(rows, start, start + len(mask))[wanted]
    return sp.csr_array(picked) if is_sparse(rows) else np.ascontiguousarray(picked)
