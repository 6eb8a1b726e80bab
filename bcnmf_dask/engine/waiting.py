"""Waiting for pinned tasks: one pinned to a worker that is gone would wait for ever, so liveness is watched."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from distributed import Client, Future

from bcnmf_dask.errors import ClusterError

POLL = 1.0
"""Seconds between looks at the workers while tasks run."""
FIRST_WORKER = 60.0
"""Seconds a scheduler without workers is given."""


def live_workers(client: Client, patience: float = FIRST_WORKER) -> list[str]:
    """Addresses of the workers, sorted; waits for the first one.

    Raises
    ------
    ClusterError
        If none comes in ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while not (workers := _addresses(client)):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"client: the scheduler had no worker for {patience:.0f} s. Expected at least one: start workers "
                "with `dask worker SCHEDULER-ADDRESS` and try again."
            )
        time.sleep(0.1)
    return workers


def results(client: Client, futures: Mapping[str, Future[Any]], doing: str) -> dict[str, Any]:
    """What the futures of these workers (address -> future) gave.

    Raises
    ------
    ClusterError
        If one of the workers is gone.
    """
    for _ in settling(futures.values()):
        _refuse_losses(client, futures, doing)
    failed = [future for future in futures.values() if future.status != "finished"]
    if failed:
        _refuse_losses(client, futures, doing)
        failed[0].result()
    return dict(zip(futures, client.gather(list(futures.values())), strict=True))


def settling(futures: Iterable[Future[Any]]) -> Iterator[None]:
    """Wait until no future is pending; yields every `POLL` seconds in which none has settled.

    `distributed.wait` would need the client to be the current one, which is a setting of the process.
    """
    pending = list(futures)
    settled = threading.Semaphore(0)
    for future in pending:
        future.add_done_callback(lambda _: settled.release())
    for _ in pending:
        while not settled.acquire(timeout=POLL):
            yield


def _refuse_losses(client: Client, futures: Mapping[str, Future[Any]], doing: str) -> None:
    alive = _addresses(client)
    lost = [address for address, future in futures.items() if address not in alive and future.status != "finished"]
    if lost:
        raise ClusterError(
            f"worker {', '.join(lost)} was lost during {doing} ({len(alive)} left). Its rows and usages are gone "
            "with it, so the fit ends here. Look at the worker's log for the reason (often memory), then start the "
            "fit again."
        )


def _addresses(client: Client) -> list[str]:
    return sorted(client.scheduler_info(n_workers=-1)["workers"])
