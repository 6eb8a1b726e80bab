"""The rows and usages of a run in one process, and what is computed on them.

The local engine holds one `Residency`, every worker of the cluster engine one per run. It is never pickled:
a copy would silently fork the state.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import Block, ShardOrder, load_blocks
from bcnmf_dask.data.shards import Shard
from bcnmf_dask.engine.base import FitSpec, Order, Starts
from bcnmf_dask.engine.threads import one_blas_thread
from bcnmf_dask.engine.tree import Node, Record, Tree
from bcnmf_dask.errors import ClusterError
from bcnmf_dask.results.factors import write_usages
from bcnmf_dask.updates.initialise import draw_usages
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.statistics import Evaluation, Role

Usages = Mapping[Role, NDArray[Any]]
Piece = tuple[int, NDArray[Any]]


@dataclass
class FitState:
    """Usages of one fit on one shard, and the sweeps they have seen. Both change together."""

    spec: FitSpec
    stamp: int
    usages: Usages


@dataclass
class ResidentShard:
    """Blocks of a shard and the state of every fit on it."""

    shard: Shard
    blocks: list[Block]
    fits: dict[str, FitState] = field(default_factory=dict)

    def state(self, order: Order, *stamps: int) -> FitState:
        """The state of the fit of ``order``, which must be at one of ``stamps``.

        Raises
        ------
        ClusterError
            If it is not: sums over usages of different sweeps would be silently wrong.
        """
        state = self.fits.get(order.key)
        if state is None or state.stamp not in stamps:
            found = "no usages" if state is None else f"usages of sweep {state.stamp}"
            raise ClusterError(f"shard {self.shard.index} has {found}, sweep {order.stamp} was expected.")
        return state


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

    Attributes
    ----------
    findings : Findings or None
        Of the shards adopted so far.
    """

    def __init__(self, n_blocks: int, dtype: str, n_threads: int) -> None:
        self._n_blocks = n_blocks
        self._dtype = np.dtype(dtype)
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="bcnmf")
        self._shards: dict[int, ResidentShard] = {}
        self._lock = threading.Lock()
        self.findings: Findings | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("the state of a run must stay in its process")

    def adopt(self, order: ShardOrder, chunks: Sequence[Any]) -> None:
        """Take the rows of a shard, as read, and note what was seen in them."""
        blocks, findings = load_blocks(order, chunks)
        with self._lock:
            self._shards[order.shard.index] = ResidentShard(order.shard, blocks)
            self.findings = findings if self.findings is None else self.findings.merge(findings)

    def start(self, spec: FitSpec, starts: Mapping[int, Starts]) -> None:
        """Give a fit its start usages: per shard and role those in ``starts``, the others drawn."""
        for index, resident in self._shards.items():
            usages = {
                role: self._start(spec, role, rows, starts.get(index, {}))
                for role, rows in resident.shard.role_rows.items()
            }
            resident.fits[spec.key] = FitState(spec, 0, usages)

    def sweep(self, orders: Sequence[Order]) -> list[dict[Node, Record]]:
        """Step the usages of every fit and sum their statistics over the subtrees that are complete here.

        A shard that is already one sweep ahead keeps its usages and gives the same sums again, so a repeated
        request is harmless.
        """
        ahead = {
            (resident.shard.index, order.key): _ahead(resident.state(order, order.stamp, order.stamp + 1), order)
            for resident in self._shards.values()
            for order in orders
        }

        def leaf(resident: ResidentShard, block: Block, order: Order) -> Record:
            return _sweep_block(block, resident.fits[order.key], ahead[resident.shard.index, order.key], order)

        sums = self._visit(orders, leaf)
        for (index, key), state in ahead.items():
            self._shards[index].fits[key] = state
        return sums

    def evaluate(self, orders: Sequence[Order]) -> list[dict[Node, Record]]:
        """Sum the `Evaluation` of every fit over the subtrees that are complete here."""

        def leaf(resident: ResidentShard, block: Block, order: Order) -> Record:
            return _evaluate_block(block, resident.state(order, order.stamp), order)

        return self._visit(orders, leaf)

    def pieces(self, order: Order, role: Role) -> Iterable[Piece]:
        """The scaled usages of a role: (first row, usages) per shard."""
        for resident in self._shards.values():
            if role in resident.shard.role_rows:
                usages = resident.state(order, order.stamp).usages[role]
                yield resident.shard.role_rows[role][0], _scaled(usages, order)

    def write_inner(self, order: Order, role: Role, location: str, chunk_rows: int) -> None:
        """Write the whole chunks that single shards fill; several processes may do so at once."""
        for first, usages in self.pieces(order, role):
            start, stop = _whole_chunks(first, first + len(usages), chunk_rows)
            write_usages(location, role, start, usages[start - first : stop - first])

    def write_edges(self, order: Order, role: Role, location: str, chunk_rows: int) -> None:
        """Write the rows that `write_inner` left: those in chunks shared by shards. One process at a time."""
        for first, usages in self.pieces(order, role):
            start, stop = _whole_chunks(first, first + len(usages), chunk_rows)
            write_usages(location, role, first, usages[: start - first])
            write_usages(location, role, stop, usages[stop - first :])

    def close(self) -> None:
        """Free rows and usages."""
        self._shards.clear()
        self._pool.shutdown(wait=False)

    def _start(self, spec: FitSpec, role: Role, rows: tuple[int, int], given: Starts) -> NDArray[Any]:
        if role in given:
            return np.array(given[role], dtype=self._dtype, order="C")
        return draw_usages(spec.seed, role, *rows, spec.n_components).astype(self._dtype)

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

        places = [(resident, block) for resident in self._shards.values() for block in resident.blocks]
        with one_blas_thread():
            list(self._pool.map(visit, places))
        return [tree.nodes for tree in trees]


def _ahead(state: FitState, order: Order) -> FitState:
    """The state after this sweep, usages yet to be filled in; the one at hand if the sweep is a repeated one."""
    if state.stamp > order.stamp:
        return state
    return FitState(state.spec, order.stamp + 1, {role: np.empty_like(old) for role, old in state.usages.items()})


def _sweep_block(block: Block, state: FitState, ahead: FitState, order: Order) -> Record:
    loss = LOSSES[state.spec.loss]
    record: dict[Role, Any] = {}
    for role, rows in block.parts.items():
        place = block.places[role]
        if ahead is not state:
            old = _scaled(state.usages[role][place], order)
            ahead.usages[role][place] = loss.update_usages(rows, old, order.basis, state.spec.damping)
        record[role] = loss.contribute(rows, ahead.usages[role][place], order.basis)
    return record


def _evaluate_block(block: Block, state: FitState, order: Order) -> Record:
    loss = LOSSES[state.spec.loss]
    record: dict[Role, Any] = {}
    for role, rows in block.parts.items():
        usages = _scaled(state.usages[role][block.places[role]], order)
        statistics = loss.contribute(rows, usages, order.basis)
        exact = usages.astype(np.float64)
        divergence = loss.divergence(statistics, order.basis.astype(np.float64))
        record[role] = Evaluation(divergence, exact.sum(axis=0), exact.T @ exact)
    return record


def _scaled(usages: NDArray[Any], order: Order) -> NDArray[Any]:
    scaled: NDArray[Any] = usages * order.scales.astype(usages.dtype)
    return scaled


def _whole_chunks(first: int, last: int, chunk_rows: int) -> tuple[int, int]:
    """The rows of ``first:last`` that fill whole chunks; empty, at ``first``, if none."""
    start = -(-first // chunk_rows) * chunk_rows
    stop = last // chunk_rows * chunk_rows
    return (start, stop) if start < stop else (first, first)
