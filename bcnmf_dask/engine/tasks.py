"""What the cluster engine runs on a worker: functions pinned to it, on state that the worker object holds.

The state is no Dask result, so it is never spilled, stolen or replicated. It lasts as long as the guard task.
"""

import socket
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from distributed import get_worker, secede
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import ShardOrder
from bcnmf_dask.data.sources import Source
from bcnmf_dask.data.stored import PathSource
from bcnmf_dask.engine import writing
from bcnmf_dask.engine.base import Order, Recipe
from bcnmf_dask.engine.memory import Room, room_here, room_within
from bcnmf_dask.engine.resident import Residency
from bcnmf_dask.engine.tree import Node, Record, Tree
from bcnmf_dask.errors import ClusterError, InputError
from bcnmf_dask.updates.statistics import Role

Paths = tuple[PathSource | None, ...]
"""The sources of the stores of a run that are paths."""

GUARD_POLL = 0.2
"""Seconds between the looks of a guard at whether it is still wanted."""


@dataclass
class Run:
    """One run on one worker."""

    residency: Residency
    sources: Paths
    room: Room
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Part:
    """What some workers add to a visit.

    Attributes
    ----------
    nodes : list of mapping
        Per fit, the sums over complete subtrees.
    compute, read, merge : float
        Seconds: of the slowest visit, of the one that waited longest for rows, and along the slowest path of merges.
    """

    nodes: list[dict[Node, Record]]
    compute: float
    read: float
    merge: float


def _runs() -> dict[str, Run]:
    return cast(dict[str, Run], vars(get_worker()).setdefault("_bcnmf_runs", {}))


def _run(run: str) -> Run:
    try:
        return _runs()[run]
    except KeyError:
        raise ClusterError(f"worker {get_worker().address} no longer holds the run: it was restarted.") from None


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
                f"({error}). Expected a path that every worker can open: put it on shared storage, under the same "
                "name."
            ) from error


def probe_writing(run: str, location: str) -> None:
    """Write a file in a folder of the driver and remove it.

    Raises
    ------
    InputError
        With host and path.
    """
    trial = Path(location) / f"trial-{run}-{uuid4().hex}"
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise InputError(
            f"{location}: worker {get_worker().address} on host {socket.gethostname()} cannot write there ({error}). "
            "Expected a folder that every worker shares: give out= (and checkpoint=) on shared storage."
        ) from error


def sees(run: str, path: str) -> bool:  # noqa: ARG001
    """Whether a file of the driver is there for this worker too."""
    return Path(path).exists()


def open_run(run: str, n_blocks: int, dtype: str, sources: Paths, limit: float | None) -> None:
    """Make room for a run. ``sources`` are those of the stores that are paths, ``limit`` bytes for this process."""
    worker = get_worker()
    threads = worker.state.nthreads
    limit = limit or worker.memory_manager.memory_limit
    room = room_within(limit, threads) if limit else room_here(threads)
    _runs()[run] = Run(Residency(n_blocks, dtype, threads), sources, room)


def room(run: str) -> Room:
    """What this worker can give a run, as it was before the run began."""
    return _run(run).room


def guard(run: str) -> None:
    """Keep the scheduler from idling out and the worker from being retired while a run lasts; then free it.

    A run is over when its engine says so, or when this task is cancelled because its client is gone.
    """
    worker, runs = get_worker(), _runs()
    key = worker.get_current_task()
    held = runs[run]
    secede()
    while not held.over.wait(GUARD_POLL):
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            break
    runs.pop(run, None)
    held.residency.close()


def holds(run: str) -> bool:
    """Whether this worker holds the run: one that was restarted at its old address does not."""
    return run in _runs()


def close_run(run: str) -> None:
    """Free a run at once."""
    held = _runs().pop(run, None)
    if held is not None:
        held.over.set()
        held.residency.close()


def read(run: str, order: ShardOrder) -> int:
    """Take a shard from its path; see `Residency.read`."""
    held = _run(run)
    source = held.sources[order.shard.store]
    if source is None:
        raise ValueError(f"store {order.shard.store} is not a path")
    return held.residency.read(order, source)


def adopt(run: str, order: ShardOrder, *chunks: Any) -> int:
    """Take a shard from chunks that are already on this worker; see `Residency.adopt`."""
    return _run(run).residency.adopt(order, chunks)


def drop(run: str, indices: Iterable[int]) -> None:
    """See `Residency.drop`."""
    _run(run).residency.drop(indices)


def findings(run: str) -> Findings | None:
    """What was seen in the shards of this worker."""
    return _run(run).residency.findings()


def stamps(run: str) -> dict[int, dict[str, int]]:
    """See `Residency.stamps`."""
    return _run(run).residency.stamps()


def digests(run: str) -> dict[int, str]:
    """See `Residency.digests`."""
    return _run(run).residency.digests()


def restore(run: str, recipe: Recipe, indices: Sequence[int]) -> None:
    """See `Residency.restore`."""
    _run(run).residency.restore(recipe.owned(), indices)


def orders(orders: Sequence[Order]) -> Sequence[Order]:
    """What the driver wants of a visit, held by one worker for the others to copy."""
    return orders


def sweep(run: str, orders: Sequence[Order]) -> Part:
    """See `Residency.sweep`."""
    started = time.perf_counter()
    nodes, read = _run(run).residency.sweep([order.owned() for order in orders])
    return Part(nodes, time.perf_counter() - started, read, 0.0)


def evaluate(run: str, orders: Sequence[Order]) -> Part:
    """See `Residency.evaluate`."""
    started = time.perf_counter()
    nodes, read = _run(run).residency.evaluate([order.owned() for order in orders])
    return Part(nodes, time.perf_counter() - started, read, 0.0)


def merge(n_blocks: int, *parts: Part) -> Part:
    """The parts of several workers as one, summed as far as their subtrees are complete."""
    started = time.perf_counter()
    trees = [Tree(n_blocks) for _ in parts[0].nodes]
    for part in parts:
        for tree, nodes in zip(trees, part.nodes, strict=True):
            tree.absorb(nodes)
    before = max(part.merge for part in parts)
    seconds = before + time.perf_counter() - started
    compute, read = max(part.compute for part in parts), max(part.read for part in parts)
    return Part([tree.nodes for tree in trees], compute, read, seconds)


def pieces(run: str, order: Order, role: Role) -> list[tuple[int, NDArray[Any]]]:
    """The scaled usages of the shards here: (first row, usages)."""
    return list(_run(run).residency.pieces(order, role))


def write(run: str, order: Order, location: str) -> writing.Written:
    """See `bcnmf_dask.engine.writing.write`."""
    return writing.write(_run(run).residency, order, location)


def write_shared(run: str, order: Order, location: str) -> None:
    """See `bcnmf_dask.engine.writing.write_shared`."""
    writing.write_shared(_run(run).residency, order, location)
