"""The engine of this process: its threads, its memory. Also the reference for the cluster engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.contents import share_sampled
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.loading import ShardOrder, order_shard
from bcnmf_dask.data.shards import Shard, ShardPlan
from bcnmf_dask.data.wording import about
from bcnmf_dask.engine import writing
from bcnmf_dask.engine.base import Checksums, FitSpec, Recipe, RunSpec, Saved, Starts, Times
from bcnmf_dask.engine.digests import digest_of_all
from bcnmf_dask.engine.gathering import whole
from bcnmf_dask.engine.hardware import Hardware, place_in
from bcnmf_dask.engine.limits import room_here
from bcnmf_dask.engine.memory import Footprint, held_here, resident
from bcnmf_dask.engine.orders import Order, Sample
from bcnmf_dask.engine.resident import Residency
from bcnmf_dask.engine.shelf import Shelf
from bcnmf_dask.engine.summing import Visit
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.engine.tree import Node, Record, Tree, on_host
from bcnmf_dask.results.factors import create_usages
from bcnmf_dask.updates.statistics import Role


class LocalEngine:
    """Runs a plan in this process.

    Parameters
    ----------
    spec : RunSpec
    n_threads : int, optional
        Default: the cores this process may use. Changes no bit of a result.
    """

    def __init__(self, spec: RunSpec, n_threads: int | None = None) -> None:
        self._inputs, self._plan, self._dtype = spec.inputs, spec.plan, spec.dtype
        self._n_threads = n_threads or usable_cores()
        room = replace(room_here(self._n_threads), device=Hardware.configured(spec.device).device_room())
        self._held = held_here(spec.inputs, spec.plan, spec.dtype, room)
        self._stays = resident(Footprint(spec, self._held), room, spec.plan.shards)
        place = place_in(room.device)
        self._residency = Residency(spec.plan.n_blocks, spec.dtype, self._n_threads, place, Shelf(room.shelf))

    def load(self) -> Findings:
        """See `Engine.load`."""
        paths = self._inputs.paths
        orders = [self._order(shard) for shard in self._plan.shards]
        self._residency.read([order for order in orders if paths[order.shard.store] is not None], paths)
        for order in orders:
            if paths[order.shard.store] is None:
                with about(order.name):
                    rows = self._inputs.stores[order.shard.store].source.read(order.shard.start, order.shard.stop)
                self._residency.adopt(order, [rows])
        return whole([self._residency.findings()], self._plan.n_blocks, self._inputs.n_features)

    def _order(self, shard: Shard) -> ShardOrder:
        stays, there = shard.index in self._stays.all, shard.index in self._stays.device
        as_it_is, sampled = shard.index in self._held, share_sampled(self._inputs)
        store = self._inputs.stores[shard.store]
        return order_shard(store, shard, self._dtype, stays, there, as_it_is=as_it_is, sampled=sampled)

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        return digest_of_all(self._residency.digests().items())

    def check_writable(self, location: str) -> None:
        """See `Engine.check_writable`: this process has made the folder."""

    def start(self, spec: FitSpec, starts: Starts, saved: Saved | None = None) -> None:
        """See `Engine.start`."""
        recipe = Recipe(spec, cut_starts(starts, self._plan.shards), saved)
        self._residency.restore(recipe, [shard.index for shard in self._plan.shards])

    def sweep(self, orders: Sequence[Order]) -> tuple[list[Record], Times]:
        """See `Engine.sweep`."""
        return self._timed(self._residency.sweep, orders)

    def sample(self, samples: Sequence[Sample]) -> tuple[list[Record], Times]:
        """See `Engine.sample`."""
        return self._timed(self._residency.sample, samples)

    def evaluate(self, orders: Sequence[Order]) -> list[Record]:
        """See `Engine.evaluate`."""
        self._residency.place.finish()  # as `_timed` does
        return [on_host(total(self._plan.n_blocks, [nodes])) for nodes in self._residency.evaluate(orders).nodes]

    def usages(self, order: Order, role: Role) -> NDArray[Any]:
        """See `Engine.usages`."""
        return np.concatenate([usages for _, usages in self._residency.pieces(order, role)])

    def write_usages(self, order: Order, location: str) -> Checksums:
        """See `Engine.write_usages`."""
        create_all_usages(self._inputs, self._plan, order, location)
        written = writing.write(self._residency, order, location)
        if written.shared:
            writing.write_shared(self._residency, order, location)
        return written.checksums

    def rely_on(self, key: str, saved: Saved) -> None:
        """See `Engine.rely_on`: this process loses nothing that it could make again."""

    def describe(self) -> dict[str, Any]:
        """See `Engine.describe`."""
        streamed = self._residency.streamed()
        return {
            "engine": "local",
            "device": self._residency.place.name,
            "threads": self._n_threads,
            "shards_streamed": streamed,
            "replayed": 0,
            "snapshots": 0,
        }

    def close(self) -> None:
        """See `Engine.close`."""
        self._residency.close()

    def _timed(self, visit: Callable[[Any], Visit], wanted: Any) -> tuple[list[Record], Times]:
        started = time.perf_counter()
        self._residency.place.finish()  # the basis may come from a stream of the caller
        nodes, read = visit(wanted)
        records = [total(self._plan.n_blocks, [one]) for one in nodes]
        return records, Times(time.perf_counter() - started, read, 0.0, 0.0)


def cut_starts(starts: Starts, shards: Sequence[Shard]) -> dict[int, Starts]:
    """The given start usages of each shard."""
    return {
        shard.index: {
            role: starts[role][first:last] for role, (first, last) in shard.role_rows.items() if role in starts
        }
        for shard in shards
    }


def create_all_usages(inputs: Inputs, plan: ShardPlan, order: Order, location: str) -> None:
    """Make room for the usages of every role of a fit."""
    for role, n_rows in inputs.n_rows.items():
        create_usages(location, role, n_rows, len(order.scales), plan.chunk_rows, order.basis.dtype)


def total(n_blocks: int, parts: Sequence[dict[Node, Record]]) -> Record:
    """The sum over all blocks of a run, from the subtrees that its parts summed."""
    tree = Tree(n_blocks)
    for nodes in parts:
        tree.absorb(nodes)
    return tree.total()
