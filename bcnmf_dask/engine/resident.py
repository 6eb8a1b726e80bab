"""The rows and usages of a run in one process, and what is computed on them.

The local engine holds one `Residency`, every worker of the cluster engine one per run. It is never pickled:
a copy would silently fork the state.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any, NamedTuple, NoReturn

import numpy as np
import zarr
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import Block, ShardOrder, load_blocks
from bcnmf_dask.engine.base import Checksums, Order, Recipe
from bcnmf_dask.engine.digests import checksum, digest
from bcnmf_dask.engine.origin import start_usages
from bcnmf_dask.engine.shard_state import (
    FitState,
    ResidentShard,
    Usages,
    ahead_of,
    evaluate_block,
    replay_block,
    scaled,
    sweep_block,
)
from bcnmf_dask.engine.threads import one_blas_thread
from bcnmf_dask.engine.tree import Node, Record, Tree
from bcnmf_dask.results.factors import writable_usages
from bcnmf_dask.updates.statistics import ROLES, Role

Piece = tuple[int, NDArray[Any]]


class Written(NamedTuple):
    """What `Residency.write` did.

    Attributes
    ----------
    checksums : Checksums
        Of the scaled usages of every role and shard.
    shared : bool
        Whether rows are left to `Residency.write_shared`.
    """

    checksums: Checksums
    shared: bool


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
    """

    def __init__(self, n_blocks: int, dtype: str, n_threads: int) -> None:
        self._n_blocks = n_blocks
        self._dtype = np.dtype(dtype)
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="bcnmf")
        self._shards: dict[int, ResidentShard] = {}
        self._lock = threading.Lock()
        self._looks = 0
        # One visit at a time: a call that was given up but still runs must not commit behind a later one.
        self._visiting = threading.RLock()

    def __reduce__(self) -> NoReturn:
        raise TypeError("the state of a run must stay in its process")

    def adopt(self, order: ShardOrder, chunks: Sequence[Any]) -> None:
        """Take the rows of a shard, as read, and note what was seen in them.

        Too late if meanwhile it was asked what is here: another worker may own the shard by now.
        """
        looks = self._looks
        blocks, findings = load_blocks(order, chunks)
        with self._lock:
            if looks == self._looks and order.shard.index not in self._shards:
                self._shards[order.shard.index] = ResidentShard(order.shard, blocks, findings)

    def drop(self, indices: Iterable[int]) -> None:
        """Free shards that another worker has taken over."""
        with self._visiting, self._lock:
            for index in indices:
                self._shards.pop(index, None)

    def stamps(self) -> dict[int, dict[str, int]]:
        """Per shard, the sweeps that the usages of each fit have seen. Ends the adoptions that are under way."""
        with self._visiting, self._lock:
            self._looks += 1
            return {
                index: {key: state.stamp for key, state in resident.fits.items()}
                for index, resident in self._shards.items()
            }

    def findings(self) -> Findings | None:
        """Of all shards that are here."""
        found = [resident.findings for resident in self._held()]
        return reduce(Findings.merge, found) if found else None

    def digests(self) -> dict[int, str]:
        """Per shard, a digest of its rows."""
        with self._visiting:
            return dict(zip(self._shards, self._pool.map(digest, (one.blocks for one in self._held())), strict=True))

    def forget(self, key: str) -> None:
        """Free the usages of a fit."""
        with self._visiting:
            for resident in self._held():
                resident.fits.pop(key, None)

    def restore(self, recipe: Recipe, indices: Iterable[int]) -> None:
        """Make the usages of a fit on some shards: its start, then all sweeps since, block by block.

        Raises
        ------
        CheckpointError
            If saved usages cannot be read or do not match their checksums.
        """
        with self._visiting:
            for index in indices:
                resident = self._shards[index]
                usages = start_usages(recipe, resident.shard, self._dtype)
                self._replay(recipe, resident, usages)
                resident.fits[recipe.spec.key] = FitState(recipe.spec, recipe.stamp, usages)

    def sweep(self, orders: Sequence[Order]) -> list[dict[Node, Record]]:
        """Step the usages of every fit and sum their statistics over the subtrees that are complete here.

        A shard that is already one sweep ahead keeps its usages and gives the same sums again, so a repeated
        request is harmless.
        """
        with self._visiting:
            ahead = {
                (resident.shard.index, order.key): ahead_of(resident.state(order, order.stamp, order.stamp + 1), order)
                for resident in self._held()
                for order in orders
            }

            def leaf(resident: ResidentShard, block: Block, order: Order) -> Record:
                return sweep_block(block, resident.fits[order.key], ahead[resident.shard.index, order.key], order)

            sums = self._visit(orders, leaf)
            for (index, key), state in ahead.items():
                self._shards[index].fits[key] = state
            return sums

    def evaluate(self, orders: Sequence[Order]) -> list[dict[Node, Record]]:
        """Sum the `Evaluation` of every fit over the subtrees that are complete here."""

        def leaf(resident: ResidentShard, block: Block, order: Order) -> Record:
            return evaluate_block(block, resident.state(order, order.stamp), order)

        with self._visiting:
            return self._visit(orders, leaf)

    def pieces(self, order: Order, role: Role) -> Iterator[Piece]:
        """The scaled usages of a role: (first row, usages) per shard."""
        for resident in self._held():
            if role in resident.shard.role_rows:
                with self._visiting:
                    usages = scaled(resident.state(order, order.stamp).usages[role], order)
                yield resident.shard.role_rows[role][0], usages

    def write(self, order: Order, location: str) -> Written:
        """Write the scaled usages, but for rows in chunks shared by shards; several processes may do so at once."""
        checksums, shared = {}, False
        with self._visiting:
            for role, array, first, usages in self._writing(order, location):
                start, stop = _whole_chunks(first, first + len(usages), array)
                array[start:stop] = usages[start - first : stop - first]
                checksums[f"{role}:{first}"] = checksum(usages)
                shared = shared or stop - start < len(usages)
        return Written(checksums, shared)

    def write_shared(self, order: Order, location: str) -> None:
        """Write the rows that `write` left. One process at a time."""
        # Chunks are read, changed and written again: a call that was given up must be over before the next.
        with self._visiting:
            for _, array, first, usages in self._writing(order, location):
                start, stop = _whole_chunks(first, first + len(usages), array)
                array[first:start] = usages[: start - first]
                array[stop : first + len(usages)] = usages[stop - first :]

    def close(self) -> None:
        """Free rows and usages."""
        with self._lock:
            self._shards.clear()
        self._pool.shutdown(wait=False)

    def _writing(self, order: Order, location: str) -> Iterator[tuple[Role, "zarr.Array[Any]", int, NDArray[Any]]]:
        """Role, array to write into, first row and scaled usages of every role and shard."""
        for role in ROLES:
            if any(role in resident.shard.role_rows for resident in self._held()):
                array = writable_usages(location, role)
                for first, usages in self.pieces(order, role):
                    yield role, array, first, usages

    def _held(self) -> list[ResidentShard]:
        with self._lock:
            return list(self._shards.values())

    def _replay(self, recipe: Recipe, resident: ResidentShard, usages: Usages) -> None:
        def replay(block: Block) -> None:
            with np.errstate(all="ignore"):
                replay_block(block, recipe, usages)

        with one_blas_thread():
            list(self._pool.map(replay, resident.blocks if recipe.orders else ()))

    def _visit(
        self, orders: Sequence[Order], leaf: Callable[[ResidentShard, Block, Order], Record]
    ) -> list[dict[Node, Record]]:
        """Visit each block once for all fits; threads take blocks."""
        trees = [Tree(self._n_blocks) for _ in orders]

        def visit(place: tuple[ResidentShard, Block]) -> None:
            resident, block = place
            with np.errstate(all="ignore"):  # the loop over sweeps refuses non-finite sums in words
                for order, tree in zip(orders, trees, strict=True):
                    tree.add(block.number, leaf(resident, block, order))

        places = [(resident, block) for resident in self._held() for block in resident.blocks]
        with one_blas_thread():
            list(self._pool.map(visit, places))
        return [tree.nodes for tree in trees]


def _whole_chunks(first: int, last: int, array: "zarr.Array[Any]") -> tuple[int, int]:
    """The rows of ``first:last`` that fill whole chunks of an array; empty, at ``first``, if none."""
    chunk_rows = array.chunks[0]
    start = -(-first // chunk_rows) * chunk_rows
    stop = last if last == array.shape[0] else last // chunk_rows * chunk_rows
    return (start, stop) if start < stop else (first, first)
