"""The plan: contiguous row ranges (shards) of every store, and the blocks they are computed in.

Both are a function of the data alone, never of the cluster, so that the leaves of the reduction, and with
them the bits of a result, do not depend on where a fit runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.inputs import Inputs, Store
from bcnmf_dask.updates.statistics import Role

SMALLEST_BLOCK = 2048
"""Stored values; below this a visit costs more than its arithmetic."""
LARGEST_BLOCK = 2**20
"""Stored values: 8 MB of CSR in float32, of which a process that streams holds a few for each thread."""
LARGEST_SHARD = 2**25
"""Stored values: what is reloaded and replayed at the least when a worker is lost."""
BLOCKS_WANTED = 16
SHARDS_WANTED = 256
"""Of large data; of small data as many as blocks, so that any number of workers has some."""
COMMON_SHARD = 2 * LARGEST_BLOCK


@dataclass(frozen=True)
class Shard:
    """Contiguous rows of one store, owned by one worker.

    Attributes
    ----------
    index : int
        Place in the plan.
    store : int
        Which of `Inputs.stores`.
    start, stop : int
        Rows of the store.
    block_rows : int
        Rows per block; the last block may be shorter.
    first_block : int
        Number of the first block among all blocks of the run.
    role_rows : mapping of role to (int, int)
        Which rows of each role (counted within the role) these are. Roles with no row here are absent.
    stored_values : int
    """

    index: int
    store: int
    start: int
    stop: int
    block_rows: int
    first_block: int
    role_rows: Mapping[Role, tuple[int, int]]
    stored_values: int

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-(self.stop - self.start) // self.block_rows)


@dataclass(frozen=True)
class ShardPlan:
    """All shards of a run.

    Attributes
    ----------
    shards : tuple of Shard
        In the order of stores and rows.
    n_blocks : int
        Blocks of all shards.
    block_rows : int
        Rows per block, of every shard.
    chunk_rows : int
        Row chunk of the usages arrays that are written; most shards end on its multiples.
    stored_values : int
    """

    shards: tuple[Shard, ...]
    n_blocks: int
    block_rows: int
    chunk_rows: int
    stored_values: int


@dataclass(frozen=True)
class Sizes:
    """What a plan aims at: rows of a block, rows that shards end on multiples of, and stored values of a shard."""

    block_rows: int
    quantum: int
    shard_values: int


def plan_shards(inputs: Inputs) -> ShardPlan:
    """Cut the stores into shards of about equal stored values.

    Returns
    -------
    ShardPlan
        The same for the same data, whatever runs it.
    """
    cuts = [store.source.cuts() for store in inputs.stores]
    n_rows = sum(int(rows[-1]) for rows, _ in cuts)
    n_values = sum(int(values[-1]) for _, values in cuts)
    sizes = sizes_for(n_rows, n_values)
    shards: list[Shard] = []
    next_row: dict[Role, int] = dict.fromkeys(inputs.n_rows, 0)
    first_block = 0
    for number, (store, (rows, values)) in enumerate(zip(inputs.stores, cuts, strict=True)):
        for start, stop, stored in _ranges(rows, values, sizes):
            role_rows = dict(_role_rows(store, start, stop, next_row))
            if not role_rows:
                continue
            shard = Shard(len(shards), number, start, stop, sizes.block_rows, first_block, role_rows, stored)
            shards.append(shard)
            first_block += shard.n_blocks
    return ShardPlan(tuple(shards), first_block, sizes.block_rows, sizes.quantum, n_values)


def sizes_for(n_rows: int, n_values: int) -> Sizes:
    """The sizes of a plan for so many rows and stored values."""
    block_values = int(np.clip(n_values // BLOCKS_WANTED, SMALLEST_BLOCK, LARGEST_BLOCK))
    smallest_shard = min(COMMON_SHARD, max(block_values, n_values // (2 * BLOCKS_WANTED)))
    shard_values = int(np.clip(n_values // SHARDS_WANTED, smallest_shard, LARGEST_SHARD))
    values_per_row = max(n_values / n_rows, 1.0)
    block_rows = _power_of_two_below(block_values / values_per_row)
    # Usages are written in chunks of so many rows: not smaller than need be, as each is a file.
    quantum = max(
        block_rows * min(shard_values // block_values, 2), _power_of_two_below(shard_values / values_per_row / 4)
    )
    return Sizes(block_rows, quantum, shard_values)


def _power_of_two_below(number: float) -> int:
    return 1 << max(int(number).bit_length() - 1, 0)


def _ranges(rows: NDArray[np.int64], values: NDArray[np.int64], sizes: Sizes) -> Iterator[tuple[int, int, int]]:
    """Row ranges that hold about ``shard_values`` each, with their stored values."""
    n_rows = int(rows[-1])
    if len(rows) == n_rows + 1:  # every row may be a cut: keep to multiples of the quantum
        places = np.append(np.arange(0, n_rows, sizes.quantum), n_rows)
        rows, values = rows[places], values[places]
    n_shards = max(1, round(int(values[-1]) / sizes.shard_values))
    goals = np.arange(1, n_shards) * (int(values[-1]) / n_shards)
    ends = np.unique(np.append(np.searchsorted(values, goals), len(rows) - 1))
    previous = 0
    for end in ends[ends > 0]:
        yield int(rows[previous]), int(rows[end]), int(values[end] - values[previous])
        previous = int(end)


def _role_rows(
    store: Store, start: int, stop: int, next_row: dict[Role, int]
) -> Iterator[tuple[Role, tuple[int, int]]]:
    for role, mask in store.masks.items():
        count = stop - start if mask is None else int(np.count_nonzero(mask[start:stop]))
        if count:
            yield role, (next_row[role], next_row[role] + count)
            next_row[role] += count
