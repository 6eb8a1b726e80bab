"""Waiting for tasks without being the current client, and removing workers that no longer answer."""

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distributed import Future

from bcnmf_dask.errors import ClusterError

POLL = 0.5
"""Seconds between looks at the workers while tasks run."""
SECOND_LOOK = 3.0
"""Seconds that a silent worker is given to speak up: a scheduler that stood still itself has heartbeats to read."""


class Loss(Exception):
    """Workers, or what they should hold of a run, are gone. Repaired by the engine, never shown to users."""


def evictor() -> Callable[..., Any]:
    """A function that removes silent workers from a scheduler, and says which; nested, so that it travels by value."""

    async def evict(addresses: list[str], limit: float, second_look: float, dask_scheduler: Any) -> list[str]:
        import asyncio
        import time

        def silent_of(addresses: list[str]) -> list[str]:
            there = [address for address in addresses if address in dask_scheduler.workers]
            return [one for one in there if time.time() - dask_scheduler.workers[one].last_seen > limit]

        silent = silent_of(addresses)
        if silent:
            await asyncio.sleep(second_look)
            silent = silent_of(silent)
        for address in silent:
            await dask_scheduler.remove_worker(address=address, stimulus_id="bcnmf-frozen", close=True)
        return silent

    return evict


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


def attending(call: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future[Any]:
    """Start a call that may never return, in a thread that keeps nothing from ending."""
    pending: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            pending.set_result(call(*arguments))
        except BaseException as error:
            pending.set_exception(error)

    threading.Thread(target=run, name="bcnmf-attending", daemon=True).start()
    return pending


def raise_failure(future: Future[Any], address: str, doing: str) -> None:
    """Raise what kept a task from finishing: `Loss` if it can be repaired, else the error of the task."""
    if future.status != "error":
        raise Loss(f"{doing} on {address} was {future.status}")
    error = future.exception()
    if isinstance(error, ClusterError) or type(error).__name__ == "KilledWorker":
        raise Loss(f"{doing} on {address} failed: {error}") from error
    raise error
