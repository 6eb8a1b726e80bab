"""The steps of a run that the cluster engine has a worker do, on what `bcnmf_dask.engine.runs` holds there."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from bcnmf_dask.data.loading import ShardOrder
from bcnmf_dask.engine import writing
from bcnmf_dask.engine.base import Recipe
from bcnmf_dask.engine.gathering import Gathered
from bcnmf_dask.engine.limits import Room
from bcnmf_dask.engine.orders import Order, Sample
from bcnmf_dask.engine.resident import Seen
from bcnmf_dask.engine.runs import run_here
from bcnmf_dask.engine.summing import Visit
from bcnmf_dask.engine.tree import Node, Record, Tree, on_host
from bcnmf_dask.updates.statistics import Role

T = TypeVar("T")
Asked = TypeVar("Asked", Order, Sample)


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


def room(run: str) -> Room:
    """What this worker can give a run, as it was before the run began."""
    return run_here(run).room


def device(run: str) -> str:
    """What this worker computes on."""
    return run_here(run).residency.place.name


def read(run: str, orders: Sequence[ShardOrder]) -> Seen:
    """Take shards from their paths; see `Residency.read`."""
    held = run_here(run)
    return held.residency.read(orders, held.sources)


def adopt(run: str, order: ShardOrder, *chunks: Any) -> Seen:
    """Take a shard from chunks that are already on this worker; see `Residency.adopt`."""
    return run_here(run).residency.adopt(order, chunks)


def drop(run: str, indices: Iterable[int]) -> None:
    """See `Residency.drop`."""
    run_here(run).residency.drop(indices)


def findings(run: str) -> Gathered:
    """What was seen in the shards of this worker."""
    return run_here(run).residency.findings()


def stamps(run: str) -> dict[int, dict[str, int]]:
    """See `Residency.stamps`."""
    return run_here(run).residency.stamps()


def digests(run: str) -> dict[int, str]:
    """See `Residency.digests`."""
    return run_here(run).residency.digests()


def forget(run: str, key: str) -> None:
    """See `Residency.forget`."""
    run_here(run).residency.forget(key)


def restore(run: str, recipe: Recipe, indices: Sequence[int]) -> None:
    """See `Residency.restore`."""
    run_here(run).residency.restore(recipe.owned(), indices)


def orders(orders: Sequence[Asked]) -> Sequence[Asked]:
    """What the driver wants of a visit, held by one worker for the others to copy."""
    return orders


def sweep(run: str, orders: Sequence[Order]) -> Part:
    """See `Residency.sweep`."""
    return _visited(run_here(run).residency.sweep, orders)


def sample(run: str, samples: Sequence[Sample]) -> Part:
    """See `Residency.sample`."""
    return _visited(run_here(run).residency.sample, samples)


def evaluate(run: str, orders: Sequence[Order]) -> Part:
    """See `Residency.evaluate`."""
    return _visited(run_here(run).residency.evaluate, orders)


def _visited(visit: Callable[[list[Asked]], Visit], asked: Sequence[Asked]) -> Part:
    started = time.perf_counter()
    nodes, read = visit([one.owned() for one in asked])
    leaving = [{node: on_host(record) for node, record in one.items()} for one in nodes]
    return Part(leaving, time.perf_counter() - started, read, 0.0)


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
    return list(run_here(run).residency.pieces(order, role))


def write(run: str, order: Order, location: str) -> writing.Written:
    """See `bcnmf_dask.engine.writing.write`."""
    return _with_plain_errors(writing.write, run_here(run).residency, order, location)


def write_shared(run: str, order: Order, location: str) -> None:
    """See `bcnmf_dask.engine.writing.write_shared`."""
    _with_plain_errors(writing.write_shared, run_here(run).residency, order, location)


def _with_plain_errors(write: Callable[..., T], *arguments: Any) -> T:
    """Errors of a store as plain ``OSError``: Zarr's own do not survive the journey to the driver."""
    try:
        return write(*arguments)
    except OSError as error:
        message = str(error)
    raise OSError(message)  # not in the handler: it would carry the other one along
