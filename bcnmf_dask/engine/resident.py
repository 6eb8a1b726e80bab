"""The rows and usages of a run in one process, and what is computed on them.

The local engine holds one `Residency`, every worker of the cluster engine one per run. It is never pickled:
a copy would silently fork the state.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import to_host
from bcnmf_dask.data.loading import Block, ShardOrder
from bcnmf_dask.data.stored import PathSource
from bcnmf_dask.engine.base import Recipe
from bcnmf_dask.engine.digests import digest
from bcnmf_dask.engine.gathering import Gathered, gather
from bcnmf_dask.engine.orders import Order, Sample
from bcnmf_dask.engine.origin import start_usages
from bcnmf_dask.engine.places import Place
from bcnmf_dask.engine.shard_state import (
    FitState,
    HeldShard,
    Step,
    evaluate_block,
    replay_block,
    sample_block,
    scaled,
    sweep_fits,
)
from bcnmf_dask.engine.shelf import Shelf
from bcnmf_dask.engine.summing import Visit, Visitors
from bcnmf_dask.engine.taking import from_chunks, from_path
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.updates.statistics import Role
from bcnmf_dask.updates.together import make_groups

Piece = tuple[int, NDArray[Any]]
Seen = Mapping[int, int]
"""Checksums of the rows of shards, by index."""
T = TypeVar("T")


class Residency:
    """Shards of one run in this process.

    Parameters
    ----------
    n_blocks : int
        Blocks of the whole run: the leaves of its reduction.
    dtype : str
        Of rows, usages and bases.
    n_threads : int
        Threads that take blocks. Does not change a bit of any result.
    place : Place
        Where blocks are computed.
    shelf : Shelf
        For blocks that were read and will be wanted again.
    """

    def __init__(self, n_blocks: int, dtype: str, n_threads: int, place: Place, shelf: Shelf) -> None:
        self._n_blocks = n_blocks
        self._dtype = np.dtype(dtype)
        self._shelf = shelf
        self.place = place
        self._visitors = Visitors(n_blocks, n_threads, self.place)
        self._n_readers = n_threads
        self._readers = ThreadPoolExecutor(n_threads, thread_name_prefix="bcnmf-loading")
        self._shards: dict[int, HeldShard] = {}
        self._lock = threading.Lock()
        self._looks = 0
        self._closed = threading.Event()
        # One visit at a time: a call that was given up but still runs must not commit or write behind a later one.
        self.visiting = threading.RLock()

    def __reduce__(self) -> NoReturn:
        raise TypeError("the state of a run must stay in its process")

    def adopt(self, order: ShardOrder, chunks: Sequence[Any]) -> Seen:
        """Take the rows of a shard from chunks that hold it; see `read`."""
        return self._take(self._looks, self.place.settle(from_chunks(order, chunks), order.on_device))

    def read(self, orders: Sequence[ShardOrder], paths: Sequence[PathSource | None]) -> Seen:
        """Take the rows of some shards from the paths of their stores, and note what was seen in them.

        Too late if meanwhile it was asked what is here: another worker may own the shards by now.

        Returns
        -------
        mapping of shard index to int
            Checksums of the rows.
        """
        looks, failed = self._looks, threading.Event()

        def take(part: int) -> Seen:
            """Neighbours one after the other: each strip leaves to the next what it read of its first chunk."""
            found: dict[int, int] = {}
            for order in orders[len(orders) * part // self._n_readers : len(orders) * (part + 1) // self._n_readers]:
                if failed.is_set() or self._closed.is_set():
                    break
                try:
                    taken = from_path(order, cast(PathSource, paths[order.shard.store]), self._shelf)
                    found |= self._take(looks, self.place.settle(taken, order.on_device))
                except BaseException:
                    failed.set()
                    raise
            return found

        return {index: seen for part in self._readers.map(take, range(self._n_readers)) for index, seen in part.items()}

    def _take(self, looks: int, taken: HeldShard) -> Seen:
        index = taken.shard.index
        with self._lock:
            late = looks != self._looks or index in self._shards
            if not late:
                self._shards = dict(sorted([*self._shards.items(), (index, taken)]))
        return {index: taken.checksum}

    def drop(self, indices: Iterable[int]) -> None:
        """Free shards that another worker has taken over."""
        with self.visiting, self._lock:
            for held in [self._shards.pop(index) for index in indices if index in self._shards]:
                self._shelf.drop(held.numbers)

    def stamps(self) -> dict[int, dict[str, int]]:
        """Per shard, the sweeps that the usages of each fit have seen. Ends the adoptions that are under way."""
        with self.visiting, self._lock:
            self._looks += 1
            return {
                index: {key: state.stamp for key, state in resident.fits.items()}
                for index, resident in self._shards.items()
            }

    def streamed(self) -> int:
        """Shards whose rows are read in each visit."""
        return sum(held.blocks.streamed for held in self._held())

    def findings(self) -> Gathered:
        """Of all shards that are here."""
        return gather(self._held(), self._n_blocks)

    def digests(self) -> dict[int, str]:
        """Per shard, a digest of its rows."""
        with self.visiting:
            # One after the other where rows are read: each strip leaves to the next what it read of its first chunk.
            resident = {one.shard.index: one.blocks for one in self._held() if not one.blocks.streamed}
            made = self._readers.map(lambda blocks: digest(blocks.on_host(), self._dtype), resident.values())
            found = dict(zip(resident, made, strict=True))
            streamed = [one for one in self._held() if one.blocks.streamed]
            return found | {one.shard.index: digest(one.blocks.on_host(), self._dtype) for one in streamed}

    def forget(self, key: str) -> None:
        """Free the usages of a fit."""
        with self.visiting:
            for resident in self._held():
                resident.fits.pop(key, None)

    def restore(self, recipe: Recipe, indices: Iterable[int]) -> None:
        """Make the usages of a fit on some shards: its start, then all sweeps since, block by block.

        Raises
        ------
        CheckpointError
            If saved usages cannot be read or do not match their checksums.
        """
        with self.visiting:
            for index in indices:
                held = self._shards[index]
                usages = self._as_it_fits(partial(self._restored, recipe, held))
                held.fits[recipe.spec.key] = FitState(recipe.spec, recipe.stamp, usages)

    def _restored(self, recipe: Recipe, held: HeldShard) -> dict[Role, NDArray[Any]]:
        usages = self.place.usages(start_usages(recipe, held.shard, self._dtype))
        if recipe.orders:
            self._visitors.go_through([held], lambda _, block: replay_block(block, recipe, usages))
        return usages

    def sweep(self, orders: Sequence[Order]) -> Visit:
        """Step the usages of every fit and sum their statistics over the subtrees that are complete here.

        A repeated request is harmless, see `Step`.
        """
        with self.visiting:
            return self._as_it_fits(partial(self._sweep, orders))

    def _sweep(self, orders: Sequence[Order]) -> Visit:
        steps = {held.shard.index: [Step(held, order) for order in orders] for held in self._held()}
        losses = [step.old.spec.loss for step in next(iter(steps.values()), ())]
        groups = list(make_groups(losses, [order.prepared for order in orders]))

        def leaf(held: HeldShard, block: Block) -> Iterator[Record]:
            return sweep_fits(block, steps[held.shard.index], groups, self._dtype)

        return self._visitors.sum(self._held(), len(orders), leaf)

    def sample(self, samples: Sequence[Sample]) -> Visit:
        """Sum the statistics of drawn rows, at usages fitted anew, over the subtrees that are complete here."""
        with self.visiting:
            return self._as_it_fits(partial(self._sample, samples))

    def _sample(self, samples: Sequence[Sample]) -> Visit:
        def leaf(held: HeldShard, block: Block) -> Iterator[Record]:
            return (sample_block(held, block, sample) for sample in samples)

        wanted = [one for sample in samples for one in sample.wanted]
        later = [one for sample in samples for one in sample.wanted_later]
        visited = [held.only(held.having(wanted), held.having(later)) for held in self._held()]
        return self._visitors.sum(visited, len(samples), leaf)

    def evaluate(self, orders: Sequence[Order]) -> Visit:
        """Sum the `Evaluation` of every fit over the subtrees that are complete here."""

        def leaf(held: HeldShard, block: Block) -> Iterator[Record]:
            return (evaluate_block(block, held.state(order, order.stamp), order) for order in orders)

        with self.visiting:
            return self._as_it_fits(lambda: self._visitors.sum(self._held(), len(orders), leaf))

    def _as_it_fits(self, visit: Callable[[], T]) -> T:
        """What a visit gives, once there is the memory for it."""
        while True:
            try:
                return visit()
            except Exception as error:
                if not self.place.make_room(error, self._held()):
                    raise

    def pieces(self, order: Order, role: Role) -> Iterator[Piece]:
        """The scaled usages of a role: (first row, usages) per shard."""
        for resident in self._held():
            if role in resident.shard.role_rows:
                with self.visiting:
                    usages = self._as_it_fits(partial(_scaled_on_host, resident, order, role))
                yield resident.shard.role_rows[role][0], usages

    def close(self) -> None:
        """Free rows and usages, and read no more."""
        self._closed.set()
        with self._lock:
            self._shards.clear()
        self._readers.shutdown(wait=False)
        self._visitors.close()
        self.place.close()

    def _held(self) -> list[HeldShard]:
        with self._lock:
            return list(self._shards.values())


def _scaled_on_host(held: HeldShard, order: Order, role: Role) -> NDArray[Any]:
    usages: NDArray[Any] = to_host(scaled(held.state(order, order.stamp).usages[role], order))
    return usages
