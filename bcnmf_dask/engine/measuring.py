"""What a benchmark asks of a cluster besides fits: clusters of given sizes, round trips, one call on all workers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distributed import Client

from bcnmf_dask.engine.clients import connect
from bcnmf_dask.engine.clusters import local_cluster


@contextmanager
def cluster_of(n_workers: int) -> Iterator[Client]:
    """A client of a new cluster on this machine: worker processes of one thread each.

    Raises
    ------
    ClusterError
        If the workers cannot start.
    """
    with local_cluster(n_workers) as cluster, connect(cluster.scheduler_address) as client:
        yield client


def threads_of(client: Client) -> list[int]:
    """Threads of each worker."""
    return list(client.nthreads().values())


def call_everywhere(client: Client, function: Callable[[], None]) -> None:
    """Call a function once in every worker process."""
    client.run(function)


def round_trips(client: Client, count: int) -> list[float]:
    """Seconds of each of ``count`` tasks that do nothing, one after the other, on one worker."""
    worker = next(iter(client.nthreads()))
    found = []
    for _ in range(count):
        started = time.perf_counter()
        client.submit(_nothing, workers=[worker], pure=False).result()
        found.append(time.perf_counter() - started)
    return found


def _nothing() -> None:
    """A task that does nothing."""
