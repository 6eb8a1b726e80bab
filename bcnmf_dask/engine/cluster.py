"""The engine of a Dask cluster: rows and usages stay on the workers, one pinned call per worker and sweep.

A shard that is lost with its worker is read again elsewhere, and its usages are made again from the recipe of
each fit, to the bit. No other shard is touched.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from distributed import Client, Future
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.engine import runs, tasks
from bcnmf_dask.engine.base import Checksums, FitSpec, Recipe, RunSpec, Saved, Starts, Times
from bcnmf_dask.engine.crew import Crew, patience
from bcnmf_dask.engine.delivery import Delivery
from bcnmf_dask.engine.digests import digest_of_all
from bcnmf_dask.engine.gathering import whole
from bcnmf_dask.engine.hardware import Hardware
from bcnmf_dask.engine.holdings import Holdings
from bcnmf_dask.engine.local import create_all_usages, cut_starts, total
from bcnmf_dask.engine.memory import Footprint
from bcnmf_dask.engine.orders import Closing, Order, Sample
from bcnmf_dask.engine.scratch import Scratch
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.engine.waiting import Loss
from bcnmf_dask.errors import CheckpointError, ClusterError
from bcnmf_dask.updates.statistics import Role

logger = logging.getLogger(__name__)

ATTEMPTS = 20
"""Times that one step is tried while workers are lost under it."""
FAN_IN = 8
"""Parts that one task merges."""
SMALL = 2**19
"""Bytes of bases, over all owners, up to which the driver sends and merges itself: that saves two tasks in a row."""
HISTORY_SWEEPS = 30
HISTORY_BYTES = 10**9
"""Sweeps, and bytes of bases, that are kept for replay before usages are saved: more than between two checkpoints."""

T = TypeVar("T")


class ClusterEngine:
    """Runs a plan on the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    spec : RunSpec

    Raises
    ------
    ClusterError
        If no workers come, their versions differ from this process, or they are lost faster than repaired.
    InputError
        If a worker cannot open a path.
    """

    def __init__(self, client: Client, spec: RunSpec) -> None:
        self._client = client
        self._inputs = inputs = spec.inputs
        self._plan = plan = spec.plan
        self._run = uuid.uuid4().hex[:12]
        paths = [source for source in inputs.paths if source is not None]
        what = (plan.n_blocks, spec.dtype, inputs.paths, Hardware.configured(spec.device))
        self._crew = Crew(client, self._run, what, paths)
        delivery = Delivery(client, self._crew, self._run, spec)
        self._holdings = Holdings(self._crew, delivery, plan, Footprint(spec))
        self._recipes: dict[str, Recipe] = {}
        self._devices: dict[str, str] = {}
        self._scratch: Scratch | None = None
        self._snapshots = 0

    def load(self) -> Findings:
        """See `Engine.load`."""
        seen = self._persist("loading", lambda: self._on_owners(tasks.findings))
        self._devices = self._persist("loading", lambda: self._on_owners(tasks.device))
        return whole(seen.values(), self._plan.n_blocks, self._inputs.n_features)

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        found = self._persist("fingerprint", lambda: self._on_owners(tasks.digests))
        return digest_of_all(pair for digests in found.values() for pair in digests.items())

    def check_writable(self, location: str) -> None:
        """See `Engine.check_writable`."""
        self._persist("probe", lambda: self._crew.everywhere(runs.probe_writing, location, patience()))

    def start(self, spec: FitSpec, starts: Starts, saved: Saved | None = None) -> None:
        """See `Engine.start`."""
        if spec.key in self._recipes:
            self._forget(spec.key)
        self._recipes[spec.key] = Recipe(spec, cut_starts(starts, self._plan.shards), saved)
        self._holdings.doubt()  # no worker has usages of this fit
        try:
            self._persist("start", lambda: None)
        except CheckpointError:
            self._forget(spec.key)  # or the start of another fit would try to make it good
            raise

    def sweep(self, orders: Sequence[Order]) -> tuple[list[Record], Times]:
        """See `Engine.sweep`."""
        started = time.perf_counter()
        part = self._persist("sweep", lambda: self._visit(tasks.sweep, orders))
        for order in orders:
            self._recipes[order.key] = self._recipes[order.key].after(order)
        records = self._totals(part)
        self._snapshot_if_due(orders)
        return records, _times(part, time.perf_counter() - started)

    def sample(self, samples: Sequence[Sample]) -> tuple[list[Record], Times]:
        """See `Engine.sample`."""
        started = time.perf_counter()
        part = self._persist("sample", lambda: self._visit(tasks.sample, samples))
        return self._totals(part), _times(part, time.perf_counter() - started)

    def evaluate(self, closings: Sequence[Closing]) -> list[Record]:
        """See `Engine.evaluate`."""
        return self._totals(self._persist("evaluate", lambda: self._visit(tasks.evaluate, closings)))

    def usages(self, order: Order, role: Role) -> NDArray[Any]:
        """See `Engine.usages`."""
        found = self._persist("usages", lambda: self._on_owners(tasks.pieces, order, role))
        pieces = sorted((piece for part in found.values() for piece in part), key=lambda piece: piece[0])
        return np.concatenate([usages for _, usages in pieces])

    def write_usages(self, order: Order, location: str) -> Checksums:
        """See `Engine.write_usages`."""
        create_all_usages(self._inputs, self._plan, order, location)
        return self._persist("write", lambda: self._write(order, location))

    def rely_on(self, key: str, saved: Saved) -> None:
        """See `Engine.rely_on`."""
        self._recipes[key] = self._recipes[key].since(saved)

    def describe(self) -> dict[str, Any]:
        """See `Engine.describe`."""
        return {
            "engine": "cluster",
            "devices": dict(self._devices),
            "shards_per_worker": self._holdings.counts(),
            "shards_streamed": self._holdings.streamed(),
            "replayed": self._holdings.replayed,
            "snapshots": self._snapshots,
            "workers_lost": self._crew.lost,
        }

    def close(self) -> None:
        """See `Engine.close`."""
        self._crew.release()
        if self._scratch is not None:
            self._scratch.close()

    def _persist(self, doing: str, step: Callable[[], T]) -> T:
        """Do a step of all owners; after a loss make good what was lost, and do it again."""
        for _ in range(ATTEMPTS):
            try:
                self._holdings.settle(self._recipes)
                return step()
            except Loss as loss:
                logger.warning("%s: making good what was lost, then again.", loss)
                self._holdings.doubt()
                reason = loss
        raise ClusterError(
            f"Workers were lost {ATTEMPTS} times during one {doing}; the last time: {reason}. Expected a cluster that "
            "lasts for one step: look at the logs of the workers for the reason (often memory)."
        )

    def _forget(self, key: str) -> None:
        """Free the usages of a fit: one sweep ahead of the next start, they would pass for a repeated sweep."""
        del self._recipes[key]
        self._persist("start", lambda: self._crew.everywhere(tasks.forget, key))

    def _visit(self, task: Callable[..., tasks.Part], orders: Sequence[Order] | Sequence[Sample]) -> tasks.Part:
        """Have every owner visit its blocks; if that is much, send one basis and merge the parts on workers."""
        owners = self._holdings.owners()
        if sum(order.nbytes for order in orders) * len(owners) <= SMALL:
            return tasks.merge(self._plan.n_blocks, *self._on(owners, task, orders).values())
        held = self._crew.submit(tasks.orders, owners[0], orders)
        parts = [self._crew.submit(task, owner, self._run, held) for owner in owners]
        part: tasks.Part = self._crew.result(self._merged(parts, owners), task.__name__)
        return part

    def _merged(self, parts: list[Future[Any]], owners: Sequence[str]) -> Future[Any]:
        while len(parts) > 1:
            groups = [parts[first : first + FAN_IN] for first in range(0, len(parts), FAN_IN)]
            parts = [
                self._crew.submit(tasks.merge, owners[number * FAN_IN % len(owners)], self._plan.n_blocks, *group)
                for number, group in enumerate(groups)
            ]
        return parts[0]

    def _totals(self, part: tasks.Part) -> list[Record]:
        return [total(self._plan.n_blocks, [nodes]) for nodes in part.nodes]

    def _on_owners(self, task: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        return self._on(self._holdings.owners(), task, *arguments)

    def _on(self, workers: Sequence[str], task: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        return self._crew.call(workers, task, lambda _: arguments)

    def _write(self, order: Order, location: str) -> Checksums:
        found = self._on_owners(tasks.write, order, location)
        for owner, written in found.items():
            if written.shared:  # with other shards: one worker after the other
                self._on([owner], tasks.write_shared, order, location)
        return {piece: checksum for written in found.values() for piece, checksum in written.checksums.items()}

    def _snapshot_if_due(self, orders: Sequence[Order]) -> None:
        """Save usages where the history for replay has grown long; without a common place it grows on."""
        due = [order for order in orders if _is_due(self._recipes[order.key])]
        if not due:
            return
        try:
            self._scratch = scratch = self._scratch or Scratch()
            if all(self._persist("snapshot", lambda: self._crew.everywhere(runs.sees, scratch.token)).values()):
                for order in due:
                    self._snapshot(order, scratch)
        except OSError as error:
            logger.warning("No snapshot was taken (%s); more sweeps are kept for replay instead.", error)
        finally:  # also what a full disk cut short: the next sweep tries again
            if self._scratch is not None:
                self._scratch.keep_only([recipe.saved.location for recipe in self._recipes.values() if recipe.saved])

    def _snapshot(self, order: Order, scratch: Scratch) -> None:
        swept = replace(order, stamp=order.stamp + 1).unscaled()
        location = scratch.next()
        self.rely_on(order.key, Saved(location, swept.stamp, self.write_usages(swept, location)))
        self._snapshots += 1


def _times(part: tasks.Part, wall: float) -> Times:
    return Times(part.compute, part.read, part.merge, max(wall - part.compute - part.merge, 0.0))


def _is_due(recipe: Recipe) -> bool:
    return len(recipe.orders) >= HISTORY_SWEEPS or recipe.nbytes >= HISTORY_BYTES
