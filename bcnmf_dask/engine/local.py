"""The engine of this process: its threads, its memory. Also the reference for the cluster engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.loading import order_shard
from bcnmf_dask.data.shards import Shard, ShardPlan
from bcnmf_dask.engine.base import FitSpec, Order, Starts
from bcnmf_dask.engine.resident import Residency
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.engine.tree import Node, Record, Tree
from bcnmf_dask.updates.statistics import Role


class LocalEngine:
    """Runs a plan in this process.

    Parameters
    ----------
    inputs : Inputs
    plan : ShardPlan
    dtype : str
        ``"float32"`` or ``"float64"``.
    n_threads : int, optional
        Default: the cores this process may use. Changes no bit of a result.
    """

    def __init__(self, inputs: Inputs, plan: ShardPlan, dtype: str, n_threads: int | None = None) -> None:
        self._inputs = inputs
        self._plan = plan
        self._dtype = dtype
        self._n_threads = n_threads or usable_cores()
        self._residency = Residency(plan.n_blocks, dtype, self._n_threads)

    def load(self) -> Findings:
        """See `Engine.load`."""
        for shard in self._plan.shards:
            store = self._inputs.stores[shard.store]
            rows = store.source.read(shard.start, shard.stop)
            self._residency.adopt(order_shard(store, shard, self._dtype), [rows])
        return self._residency.findings or Findings.none(self._inputs.n_features)

    def start(self, spec: FitSpec, starts: Starts) -> None:
        """See `Engine.start`."""
        self._residency.start(spec, cut_starts(starts, self._plan.shards))

    def sweep(self, orders: Sequence[Order]) -> list[Record]:
        """See `Engine.sweep`."""
        return [total(self._plan, [nodes]) for nodes in self._residency.sweep(orders)]

    def evaluate(self, orders: Sequence[Order]) -> list[Record]:
        """See `Engine.evaluate`."""
        return [total(self._plan, [nodes]) for nodes in self._residency.evaluate(orders)]

    def usages(self, order: Order, role: Role) -> NDArray[Any]:
        """See `Engine.usages`."""
        return np.concatenate([usages for _, usages in self._residency.pieces(order, role)])

    def write_usages(self, order: Order, role: Role, location: str) -> None:
        """See `Engine.write_usages`."""
        self._residency.write_inner(order, role, location, self._plan.chunk_rows)
        self._residency.write_edges(order, role, location, self._plan.chunk_rows)

    def describe(self) -> dict[str, Any]:
        """See `Engine.describe`."""
        return {"engine": "local", "threads": self._n_threads}

    def close(self) -> None:
        """See `Engine.close`."""
        self._residency.close()


def cut_starts(starts: Starts, shards: Sequence[Shard]) -> dict[int, Starts]:
    """The given start usages of each shard."""
    return {
        shard.index: {
            role: starts[role][first:last] for role, (first, last) in shard.role_rows.items() if role in starts
        }
        for shard in shards
    }


def total(plan: ShardPlan, parts: Sequence[dict[Node, Record]]) -> Record:
    """The sum over all blocks of a plan, from the subtrees that its parts summed."""
    tree = Tree(plan.n_blocks)
    for nodes in parts:
        tree.absorb(nodes)
    return tree.total()
