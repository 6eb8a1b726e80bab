"""The engine of a Dask cluster: rows and usages stay on the workers, one pinned call per worker and sweep."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from distributed import Client, Future
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.engine import tasks
from bcnmf_dask.engine.base import FitSpec, Order, Starts
from bcnmf_dask.engine.delivery import Delivery, own_sources
from bcnmf_dask.engine.environment import PACKAGES, refuse_unlike, surveyor
from bcnmf_dask.engine.local import cut_starts, total
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.engine.waiting import live_workers, results
from bcnmf_dask.errors import ClusterError
from bcnmf_dask.updates.statistics import Role


class ClusterEngine:
    """Runs a plan on the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    inputs : Inputs
    plan : ShardPlan
    dtype : str
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    ClusterError
        If there are no workers, or their versions differ from this process; later, if a worker is lost.
    InputError
        If a worker cannot open a path.
    """

    def __init__(self, client: Client, inputs: Inputs, plan: ShardPlan, dtype: str) -> None:
        self._client = client
        self._inputs = inputs
        self._plan = plan
        self._dtype = dtype
        self._run = uuid.uuid4().hex[:12]
        self._calls = 0
        self._guards: list[Future[Any]] = []
        self._workers = live_workers(client)
        self._delivery = Delivery(client, inputs, plan, dtype)

    def load(self) -> Findings:
        """See `Engine.load`."""
        self._check_workers()
        sources = own_sources(self._inputs)
        self._on(self._workers, tasks.open_run, self._plan.n_blocks, self._dtype, sources)
        self._guards = [self._guard(address) for address in self._workers]
        self._delivery.deliver(self._run, self._workers)
        seen = self._on(self._owners, tasks.findings)
        merged = Findings.none(self._inputs.n_features)
        for address in self._owners:
            merged = merged.merge(seen[address])
        return merged

    def start(self, spec: FitSpec, starts: Starts) -> None:
        """See `Engine.start`."""
        self._each(
            self._owners,
            tasks.start,
            lambda address: (spec, cut_starts(starts, self._delivery.owners[address])),
        )

    def sweep(self, orders: Sequence[Order]) -> list[Record]:
        """See `Engine.sweep`."""
        return self._totals(tasks.sweep, orders)

    def evaluate(self, orders: Sequence[Order]) -> list[Record]:
        """See `Engine.evaluate`."""
        return self._totals(tasks.evaluate, orders)

    def usages(self, order: Order, role: Role) -> NDArray[Any]:
        """See `Engine.usages`."""
        found = self._on(self._owners, tasks.pieces, order, role)
        pieces = sorted((piece for part in found.values() for piece in part), key=lambda piece: piece[0])
        return np.concatenate([usages for _, usages in pieces])

    def write_usages(self, order: Order, role: Role, location: str) -> None:
        """See `Engine.write_usages`."""
        where = (order, role, location, self._plan.chunk_rows)
        self._on(self._owners, tasks.write_inner, *where)
        for address in self._owners:  # shards share these chunks, so one worker after the other
            self._on([address], tasks.write_edges, *where)

    def describe(self) -> dict[str, Any]:
        """See `Engine.describe`."""
        shards = {address: len(owned) for address, owned in self._delivery.owners.items()}
        return {"engine": "cluster", "shards_per_worker": shards}

    def close(self) -> None:
        """See `Engine.close`."""
        if not self._guards:
            return
        guards, self._guards = self._guards, []
        with suppress(ClusterError):  # a worker may be gone; on the others the cancelled guards free the run as well
            alive = set(live_workers(self._client, patience=0.0)) & set(self._workers)
            self._on(sorted(alive), tasks.close_run)
        self._client.cancel(guards)

    @property
    def _owners(self) -> list[str]:
        return [address for address, shards in self._delivery.owners.items() if shards]

    def _check_workers(self) -> None:
        refuse_unlike(self._submit(self._workers, surveyor(), lambda _: (PACKAGES,), "survey"))
        paths = [source for source in own_sources(self._inputs) if source is not None]
        self._submit(self._workers, tasks.probe, lambda _: (paths,), "probe")

    def _guard(self, address: str) -> Future[Any]:
        key = f"bcnmf-guard-{self._run}-{address}"
        return self._client.submit(tasks.guard, self._run, key, key=key, workers=[address], pure=False)

    def _totals(self, task: Callable[..., Any], orders: Sequence[Order]) -> list[Record]:
        found = self._on(self._owners, task, orders)
        return [total(self._plan, [part[fit] for part in found.values()]) for fit in range(len(orders))]

    def _on(self, addresses: Iterable[str], task: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Run a task of this run on workers, the same arguments for all."""
        return self._each(addresses, task, lambda _: arguments)

    def _each(
        self, addresses: Iterable[str], task: Callable[..., Any], arguments: Callable[[str], tuple[Any, ...]]
    ) -> dict[str, Any]:
        """Run a task of this run on workers, with the arguments for each address."""
        return self._submit(addresses, task, lambda address: (self._run, *arguments(address)), task.__name__)

    def _submit(
        self,
        addresses: Iterable[str],
        task: Callable[..., Any],
        arguments: Callable[[str], tuple[Any, ...]],
        doing: str,
    ) -> dict[str, Any]:
        self._calls += 1
        futures = {
            address: self._client.submit(
                task,
                *arguments(address),
                key=f"bcnmf-{doing}-{self._run}-{self._calls}-{address}",
                workers=[address],
                pure=False,
            )
            for address in addresses
        }
        return results(self._client, futures, doing)
