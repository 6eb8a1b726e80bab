"""What the cluster engine runs on a worker: functions pinned to it, on state that the worker object holds.

The state is no Dask result, so it is never spilled, stolen or replicated. It lasts as long as the guard task.
"""

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from distributed import get_worker, secede
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import ShardOrder
from bcnmf_dask.data.sources import Source
from bcnmf_dask.engine.base import FitSpec, Order, Starts
from bcnmf_dask.engine.resident import Residency
from bcnmf_dask.engine.tree import Node, Record
from bcnmf_dask.errors import ClusterError, InputError
from bcnmf_dask.updates.statistics import Role

GUARD_POLL = 0.2
"""Seconds between the looks of a guard at whether it is still wanted."""


@dataclass
class Run:
    """One run on one worker."""

    residency: Residency
    sources: tuple[Source | None, ...]
    over: threading.Event = field(default_factory=threading.Event)


def _runs() -> dict[str, Run]:
    return cast(dict[str, Run], vars(get_worker()).setdefault("_bcnmf_runs", {}))


def _residency(run: str) -> Residency:
    try:
        return _runs()[run].residency
    except KeyError:
        raise ClusterError(
            f"worker {get_worker().address} no longer holds the run: it was restarted. Start the fit again."
        ) from None


def probe(sources: Sequence[Source]) -> None:
    """Open every path, so that a worker that cannot is found before the fit starts.

    Raises
    ------
    InputError
        With host and path.
    """
    for source in sources:
        try:
            source.read(0, 1)
        except Exception as error:
            raise InputError(
                f"{source.location}: worker {get_worker().address} on host {socket.gethostname()} cannot read it "
                f"({error}). Expected a path that every worker can open: put it on shared storage, under the same name."
            ) from error


def open_run(run: str, n_blocks: int, dtype: str, sources: tuple[Source | None, ...]) -> None:
    """Make room for a run. ``sources`` are those of the stores that workers read themselves."""
    _runs()[run] = Run(Residency(n_blocks, dtype, get_worker().state.nthreads), sources)


def guard(run: str, key: str) -> None:
    """Keep the scheduler from idling out and the worker from being retired while a run lasts; then free it.

    A run is over when its engine says so, or when this task is cancelled because its client is gone.
    """
    worker, runs = get_worker(), _runs()
    held = runs[run]
    secede()
    while not held.over.wait(GUARD_POLL):
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            break
    runs.pop(run, None)
    held.residency.close()


def close_run(run: str) -> None:
    """Free a run at once."""
    held = _runs().pop(run, None)
    if held is not None:
        held.over.set()
        held.residency.close()


def read(run: str, order: ShardOrder) -> None:
    """Take a shard from its path."""
    source = _runs()[run].sources[order.shard.store]
    if source is None:
        raise ValueError(f"store {order.shard.store} is not a path")
    _residency(run).adopt(order, [source.read(order.shard.start, order.shard.stop)])


def adopt(run: str, order: ShardOrder, *chunks: Any) -> None:
    """Take a shard from chunks that are already on this worker."""
    _residency(run).adopt(order, chunks)


def findings(run: str) -> Findings | None:
    """What was seen in the shards of this worker."""
    return _residency(run).findings


def start(run: str, spec: FitSpec, starts: Mapping[int, Starts]) -> None:
    """See `Residency.start`."""
    _residency(run).start(spec, starts)


def sweep(run: str, orders: Sequence[Order]) -> list[dict[Node, Record]]:
    """See `Residency.sweep`."""
    return _residency(run).sweep(_owned(orders))


def evaluate(run: str, orders: Sequence[Order]) -> list[dict[Node, Record]]:
    """See `Residency.evaluate`."""
    return _residency(run).evaluate(_owned(orders))


def pieces(run: str, order: Order, role: Role) -> list[tuple[int, NDArray[Any]]]:
    """The scaled usages of the shards here: (first row, usages)."""
    return list(_residency(run).pieces(order, role))


def write_inner(run: str, order: Order, role: Role, location: str, chunk_rows: int) -> None:
    """See `Residency.write_inner`."""
    _residency(run).write_inner(order, role, location, chunk_rows)


def write_edges(run: str, order: Order, role: Role, location: str, chunk_rows: int) -> None:
    """See `Residency.write_edges`."""
    _residency(run).write_edges(order, role, location, chunk_rows)


def _owned(orders: Sequence[Order]) -> list[Order]:
    return [order.owned() for order in orders]
