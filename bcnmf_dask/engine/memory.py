"""How much memory a run takes on a process, and so which rows stay in it and which are read in each visit.

Nothing here changes a bit of a result.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from dask.utils import format_bytes

from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.loading import held_dtype, taken_as_it_is
from bcnmf_dask.data.shards import Shard, ShardPlan
from bcnmf_dask.data.sources import DaskSource, MemorySource, Source
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.limits import DeviceRoom, Room
from bcnmf_dask.engine.visiting import AHEAD
from bcnmf_dask.errors import InputError
from bcnmf_dask.updates.tiles import TILE_ON_DEVICE

INDEX_BYTES = 4
"""Of the column number of a stored value."""
BLOCKS_OF_PIECE = 2
"""Drawn pieces of rows are as long as blocks, but need not begin where blocks do. Pieces of a role that is rare in its
store lie in more, which `SHELF_SHARE` bounds."""
TILES = 3
"""Tiles of dense rows that a device holds at once: in the type of the factors, reconstructed, and as quotients."""
SORTING = 40
"""Bytes of a device for each stored value of a shard that is sorted by columns: keys, places and room to sort them."""
MOVING = 2
"""Shards that are on a device for a moment: one is computed while the next arrives."""
DECODING = 3
"""Blocks' worth of what reading takes besides: a block as it was stored, its pieces, and chunks that are decoded."""


class Footprint:
    """Bytes that a run takes, by its parts.

    Parameters
    ----------
    spec : RunSpec
    held : collection of int
        Shards whose rows the process holds already, as they are computed.
    """

    def __init__(self, spec: RunSpec, held: Collection[int] = ()) -> None:
        inputs, dtype = spec.inputs, np.dtype(spec.dtype)
        self._plan = spec.plan
        self._blocks_kept = BLOCKS_OF_PIECE * spec.pieces_kept
        self._stores = inputs.stores
        self._width = dtype.itemsize
        self._row_widths = [held_dtype(store.source.dtype, dtype).itemsize for store in inputs.stores]
        self._n_features = inputs.n_features
        self._components = spec.components
        self._n_roles = len(inputs.n_rows)
        self._paths = inputs.paths
        self._held = held

    def can_stream(self, shard: Shard) -> bool:
        """Whether rows need not stay in memory: they come from a path."""
        return self._paths[shard.store] is not None

    def besides_on_device(self) -> int:
        """What it takes there besides rows that stay and usages."""
        moving = MOVING * max(map(self.on_device, self._plan.shards), default=0)
        return self.statistics(1) + max(map(self._at_work, self._plan.shards), default=0) + moving

    def _at_work(self, shard: Shard) -> int:
        """Of what a device makes of the rows of a shard, for a while."""
        if self._stores[shard.store].source.sparse:
            return SORTING * self._stored_values(shard)
        return TILES * self._width * min(_n_rows(shard) * self._n_features, TILE_ON_DEVICE)

    def on_device(self, shard: Shard) -> int:
        """Of the rows of a shard there: CSR rows are also sorted by columns."""
        return self._in_memory(shard) * (2 if self._stores[shard.store].source.sparse else 1)

    def rows(self, shard: Shard) -> int:
        """Of the rows of a shard in memory; for CSR with chosen features, an upper bound."""
        return 0 if shard.index in self._held else self._in_memory(shard)

    def _in_memory(self, shard: Shard) -> int:
        source = self._stores[shard.store].source
        n_rows = _n_rows(shard)
        if not source.sparse:
            return n_rows * self._n_features * self._row_widths[shard.store]
        stored = math.ceil(self._stored_values(shard) * n_rows / (shard.stop - shard.start))
        return stored * (self._row_widths[shard.store] + _index_bytes(source)) + (n_rows + 1) * _index_bytes(source)

    def usages(self, shard: Shard) -> int:
        """Of the usages of a shard, in all fits; only shards in work have those of two sweeps."""
        return _n_rows(shard) * sum(self._components) * self._width

    def besides_rows(self, shards: Iterable[Shard], room: Room) -> int:
        """Of all that a process which owns some shards takes in its memory, whether their rows stay or not."""
        there = self.arriving(room.threads) if room.device else sum(self.usages(shard) for shard in shards)
        return self.statistics(room.threads) + self.decoding(room.threads) + there

    def arriving(self, threads: int) -> int:
        """Of shards that each thread has read and that wait for their way to a device, and of one on its way."""
        read = [self._in_memory(shard) for shard in self._plan.shards if self.can_stream(shard)]
        return threads * max(read, default=0) + max(map(self._in_memory, self._plan.shards), default=0)

    def decoding(self, threads: int) -> int:
        """Of stored chunks while rows are read: what each thread decodes, and what is kept of a chunk for later."""
        return (threads + 1) * max((one.chunk_bytes for one in self._paths if one is not None), default=0)

    def _stored_values(self, shard: Shard) -> int:
        # A Dask array does not say how many values its CSR chunks store: the plan of shards counts every entry, and a
        # device looks at what came.
        return 0 if isinstance(self._stores[shard.store].source, DaskSource) else shard.stored_values

    def statistics(self, threads: int) -> int:
        """Of the sums of all fits: of each thread, and of the subtrees that wait for their siblings; and of bases."""
        waiting = threads + math.ceil(math.log2(self._plan.n_blocks + 1))
        sums = 8 * self._n_roles * sum(k * (self._n_features + k) for k in self._components)
        return waiting * sums + 4 * self._n_features * sum(self._components) * self._width

    def buffers(self, shards: Sequence[Shard], room: Room) -> int:
        """Of the blocks in flight where rows are read in each visit, and of those kept for the next draws."""
        if room.device is not None:  # whole shards, from their blocks, where others have arrived before
            moving = 2 * (1 + AHEAD) * max(map(self._in_memory, self._plan.shards), default=0)
            return max(0, moving - self.arriving(room.threads))
        largest = max((self.rows(shard) // shard.n_blocks for shard in self._plan.shards), default=0)
        mine = sum(shard.n_blocks for shard in shards)
        # Pieces are from everywhere: about as many as the process has of the rows.
        kept = min(mine, math.ceil(self._blocks_kept * mine / self._plan.n_blocks)) * largest
        return (room.threads + AHEAD + DECODING) * largest + int(min(kept, room.shelf))


def _n_rows(shard: Shard) -> int:
    """That are computed: rows of two roles twice, those of none not at all."""
    return sum(last - first for first, last in shard.role_rows.values())


class Stays(NamedTuple):
    """Shards of one process whose rows stay, by index: in its memory, or on its device."""

    host: frozenset[int] = frozenset()
    device: frozenset[int] = frozenset()

    @property
    def all(self) -> frozenset[int]:
        """Wherever."""
        return self.host | self.device

    def of(self, indices: Iterable[int]) -> "Stays":
        """Some of them."""
        chosen = frozenset(indices)
        return Stays(self.host & chosen, self.device & chosen)

    def with_more(self, others: "Stays") -> "Stays":
        """These and others."""
        return Stays(self.host | others.host, self.device | others.device)


NONE_STAYS = Stays()


def resident(footprint: Footprint, room: Room, shards: Iterable[Shard], staying: Stays = NONE_STAYS) -> Stays:
    """Shards of one process whose rows stay.

    Parameters
    ----------
    footprint : Footprint
    room : Room
        Of the process, before the run took any of it.
    shards : iterable of Shard
        All that the process is to own.
    staying : Stays
        Those that stay already.

    Raises
    ------
    InputError
        If what cannot be read again in each visit does not fit, or usages do not fit on the device.
    """
    shards = list(shards)
    there = _on_device(footprint, room, shards, staying)
    must = {one.index for one in shards if one.index in staying.host or not footprint.can_stream(one)} - there
    taken = footprint.besides_rows(shards, room) + sum(footprint.rows(shard) for shard in shards if shard.index in must)
    if not must <= staying.host and taken > room.most:
        _refuse(taken, room)
    wanted = [shard for shard in shards if shard.index not in must | there]
    if taken + sum(footprint.rows(shard) for shard in wanted) <= room.planned:
        return Stays(frozenset(must | {shard.index for shard in wanted}), there)
    left = room.planned - taken - footprint.buffers(shards, room)
    for shard in wanted:
        if footprint.rows(shard) <= left:
            must.add(shard.index)
            left -= footprint.rows(shard)
    return Stays(frozenset(must), there)


def _on_device(footprint: Footprint, room: Room, shards: Sequence[Shard], staying: Stays) -> frozenset[int]:
    if room.device is None:
        return frozenset()
    besides = footprint.besides_on_device() + sum(footprint.usages(shard) for shard in shards)
    if besides > room.device.bytes:
        _refuse_device(besides, room.device)
    left, found = room.device.for_rows(besides), set[int]()
    for shard in sorted(shards, key=lambda one: one.index not in staying.device):
        if shard.index in staying.device or (shard.index not in staying.host and footprint.on_device(shard) <= left):
            found.add(shard.index)
            left -= footprint.on_device(shard)
    return frozenset(found)


def _refuse_device(besides: int, room: DeviceRoom) -> None:
    raise InputError(
        f"device: usages, sums and blocks under way need {format_bytes(besides)} of its memory, which can give "
        f"{format_bytes(int(room.bytes))}. Expected them to fit: take fewer components, more devices, or device='cpu'."
    )


def _refuse(taken: int, room: Room) -> None:
    raise InputError(
        f"the rows need {format_bytes(taken)} of memory in one process, which can give {format_bytes(int(room.most))}. "
        "Expected them to fit, as they cannot be read again in each sweep: give a path (`bcnmf-dask ingest` writes a "
        "store that is read fastest), more workers, or workers with more memory."
    )


def _index_bytes(source: Source) -> int:
    return int(source.rows.indices.itemsize) if isinstance(source, MemorySource) else INDEX_BYTES


def held_here(inputs: Inputs, plan: ShardPlan, dtype: str, room: Room) -> set[int]:
    """Shards, by index, that lie in the memory of this process as they are computed: none where a device computes."""
    if room.device is not None:
        return set()
    return {shard.index for shard in plan.shards if taken_as_it_is(inputs.stores[shard.store], shard, np.dtype(dtype))}
