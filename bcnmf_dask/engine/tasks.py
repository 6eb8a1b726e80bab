"""What the cluster engine runs on a worker: functions pinned to it, on state that the worker object holds.

The state is no Dask result, so it is never spilled, stolen or replicated. It lasts as long as the guard task.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import uuid4

from distributed import get_worker, secede
from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import ShardOrder
from bcnmf_dask.data.sources import Source
from bcnmf_dask.engine.base import Order, Recipe
from bcnmf_dask.engine.resident import Residency, Written
from bcnmf_dask.engine.tree import Node, Record, Tree
from bcnmf_dask.errors import ClusterError, InputError
from bcnmf_dask.updates.statistics import Role

T = TypeVar("T")

GUARD_POLL = 0.2
"""Seconds between the looks of a guard at whether it is still wanted."""


@dataclass
class Run:
    """One run on one worker."""

    residency: Residency
    sources: tuple[Source | None, ...]
    n_blocks: int
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Part:
    """What some workers add to a visit.

    Attributes
    ----------
    nodes : list of mapping
        Per fit, the sums over complete subtrees.
    compute, merge : float
        Seconds: of the slowest visit, and along the slowest path of merges.
    """

    nodes: list[dict[Node, Record]]
    compute: float
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


def open_run(run: str, n_blocks: int, dtype: str, sources: tuple[Source | None, ...]) -> None:
    """Make room for a run. ``sources`` are those of the stores that workers read themselves."""
    _runs()[run] = Run(Residency(n_blocks, dtype, get_worker().state.nthreads), sources, n_blocks)


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
    if runs.get(run) is held:  # and not one that was opened again meanwhile
        del runs[run]
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


def read(run: str, order: ShardOrder) -> None:
    """Take a shard from its path."""
    held = _run(run)
    source = held.sources[order.shard.store]
    if source is None:
        raise ValueError(f"store {order.shard.store} is not a path")
    held.residency.adopt(order, [source.read(order.shard.start, order.shard.stop)])


def adopt(run: str, order: ShardOrder, *chunks: Any) -> None:
    """Take a shard from chunks that are already on this worker."""
    _run(run).residency.adopt(order, chunks)


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


def forget(run: str, key: str) -> None:
    """See `Residency.forget`."""
    _run(run).residency.forget(key)


def restore(run: str, recipe: Recipe, indices: Sequence[int]) -> None:
    """See `Residency.restore`."""
    _run(run).residency.restore(recipe.owned(), indices)


def orders(orders: Sequence[Order]) -> Sequence[Order]:
    """What the driver wants of a visit, held by one worker for the others to copy."""
    return orders


def sweep(run: str, orders: Sequence[Order]) -> Part:
    """See `Residency.sweep`."""
    started = time.perf_counter()
    nodes = _run(run).residency.sweep([order.owned() for order in orders])
    return Part(nodes, time.perf_counter() - started, 0.0)


def evaluate(run: str, orders: Sequence[Order]) -> Part:
    """See `Residency.evaluate`."""
    started = time.perf_counter()
    nodes = _run(run).residency.evaluate([order.owned() for order in orders])
    return Part(nodes, time.perf_counter() - started, 0.0)


def merge(n_blocks: int, *parts: Part) -> Part:
    """The parts of several workers as one, summed as far as their subtrees are complete."""
    started = time.perf_counter()
    trees = [Tree(n_blocks) for _ in parts[0].nodes]
    for part in parts:
        for tree, nodes in zip(trees, part.nodes, strict=True):
            tree.absorb(nodes)
    before = max(part.merge for part in parts)
    seconds = before + time.perf_counter() - started
    return Part([tree.nodes for tree in trees], max(part.compute for part in parts), seconds)


def pieces(run: str, order: Order, role: Role) -> list[tuple[int, NDArray[Any]]]:
    """The scaled usages of the shards here: (first row, usages)."""
    return list(_run(run).residency.pieces(order, role))


def write(run: str, order: Order, location: str) -> Written:
    """See `Residency.write`."""
    return _with_plain_errors(_run(run).residency.write, order, location)


def write_shared(run: str, order: Order, location: str) -> None:
    """See `Residency.write_shared`."""
    _with_plain_errors(_run(run).residency.write_shared, order, location)


def _with_plain_errors(write: Callable[[Order, str], T], order: Order, location: str) -> T:
    """Errors of a store as plain ``OSError``: Zarr's own do not survive the journey to the driver."""
    try:
        return write(order, location)
    except OSError as error:
        message = str(error)
    raise OSError(message)  # not in the handler: it would carry the other one along
