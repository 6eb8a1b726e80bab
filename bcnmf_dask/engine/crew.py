"""The workers of one run: who is there, who joined, who was lost, and calls pinned to them.

Dask re-runs no strictly pinned task whose worker is gone; it would wait for ever. So whoever waits here looks
at the workers meanwhile, and a loss is an exception that the engine repairs.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import CancelledError, wait
from typing import Any

import dask
from distributed import Client, Future

from bcnmf_dask.data.sources import Source
from bcnmf_dask.engine import runs
from bcnmf_dask.engine.environment import PACKAGES, refuse_unlike, surveyor
from bcnmf_dask.engine.waiting import POLL, SECOND_LOOK, Loss, attending, evictor, raise_failure, settling
from bcnmf_dask.errors import BCNMFError, ClusterError, InputError

logger = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds a scheduler without workers is given; ``bcnmf-dask.patience`` of the Dask configuration."""
FROZEN_AFTER = 30.0
"""Seconds without a heartbeat after which a worker counts as lost; ``bcnmf-dask.frozen-after``."""

Arguments = Callable[[str], tuple[Any, ...]]


def patience() -> float:
    """Seconds a scheduler without workers is given."""
    return float(dask.config.get("bcnmf-dask.patience", PATIENCE))


def no_worker() -> ClusterError:
    """Of a scheduler that has had no worker for so long."""
    return ClusterError(
        f"client: the scheduler has had no worker for {patience():g} s. Expected at least one: start workers with "
        "`dask worker SCHEDULER-ADDRESS` and try again."
    )


def no_scheduler(error: BaseException) -> ClusterError:
    """Of a scheduler that was there."""
    return ClusterError(
        f"client: the scheduler no longer answers ({error}). Expected it to last as long as the fit: look at its log, "
        "start a scheduler and workers, and fit again."
    )


class Crew:
    """Workers enlisted in a run.

    Parameters
    ----------
    client : distributed.Client
    run : str
        Names the run on its workers.
    room : tuple
        What `runs.open_run` needs besides the run.
    paths : sequence of Source
        What every worker must be able to read.

    Attributes
    ----------
    members : list of str
        Addresses of the enlisted workers, in the order they came.
    lost : int
        Members lost so far.
    """

    def __init__(self, client: Client, run: str, room: tuple[Any, ...], paths: Sequence[Source]) -> None:
        self._client = client
        self._run = run
        self._room = room
        self._paths = paths
        self._calls = 0
        self._guards: dict[str, Future[Any]] = {}
        self._looked = -POLL
        self._refused: list[str] = []
        self._kept: list[tuple[str, Future[Any]]] = []
        self.members: list[str] = []
        self.lost = 0

    def muster(self) -> None:
        """Strike workers that are gone off the list, enlist those that have come, wait while there are none.

        Raises
        ------
        ClusterError
            If no worker comes, or versions differ.
        InputError
            If a new worker cannot open a path.
        """
        alive = self._alive()
        for address in [member for member in self.members if member not in alive]:
            self._strike(address)
        for address in [member for member, holds in self.everywhere(runs.holds).items() if not holds]:
            self._strike(address)
        newcomers = [address for address in alive if address not in (*self.members, *self._refused)]
        try:
            self._enlist(newcomers)
        except (ClusterError, InputError) as error:
            if not self.members:
                raise
            logger.warning("Workers that joined are not used: %s", error)
            self._refused += newcomers

    def joined(self) -> bool:
        """Whether workers have come that are not enlisted; looks at most every `POLL` seconds."""
        if time.monotonic() - self._looked < POLL:
            return False
        return any(address not in (*self.members, *self._refused) for address in self._addresses())

    def call(self, addresses: Iterable[str], task: Callable[..., Any], arguments: Arguments) -> dict[str, Any]:
        """Run a task of this run on some members, and return what each gave.

        Raises
        ------
        Loss
            If one of them is gone or no longer holds the run.
        """
        futures = {address: self.submit(task, address, self._run, *arguments(address)) for address in addresses}
        return dict(zip(futures, self.collect(futures.items(), task.__name__), strict=True))

    def everywhere(self, task: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """`call` on all members with the same arguments."""
        return self.call(self.members, task, lambda _: arguments)

    def submit(self, task: Callable[..., Any], address: str, *arguments: Any) -> Future[Any]:
        """Start a task pinned to a worker."""
        self._calls += 1
        key = f"bcnmf-{task.__name__}-{self._run}-{self._calls}"
        return self._client.submit(task, *arguments, key=key, workers=[address], pure=False)

    def settle(self, futures: Iterable[tuple[str, Future[Any]]], doing: str) -> None:
        """Wait for the futures of (member, future).

        Raises
        ------
        Loss
            If one of the members is gone, or a task found its run or sweep missing.
        Exception
            Any other error of a task, as it is.
        """
        pairs = list(futures)
        # Letting futures go is a message, and after each the client waits 10 ms: only now, with the next ones sent.
        self._kept = pairs
        for _ in settling(future for _, future in pairs):
            try:
                self.refuse_loss(doing, {address for address, _ in pairs})
            except Loss:
                self._client.cancel([future for _, future in pairs], force=True)
                raise
        for address, future in pairs:
            if future.status != "finished":
                raise_failure(future, address, doing)

    def collect(self, futures: Iterable[tuple[str, Future[Any]]], doing: str) -> list[Any]:
        """`settle`, and what each future gave."""
        pairs = list(futures)
        self.settle(pairs, doing)
        return self._gather([future for _, future in pairs])

    def refuse_loss(self, doing: str, others: Collection[str] = ()) -> None:
        """Raise `Loss` if a member, or one of these other workers, is gone."""
        gone = {*self.members, *others} - set(self._alive())
        if gone:
            raise Loss(f"{', '.join(sorted(gone))} lost during {doing}")

    def result(self, future: Future[Any], doing: str) -> Any:
        """What a future that rests on all members gave; raises as `settle`."""
        return self.collect([(self.members[0], future)], doing)[0]

    def release(self) -> None:
        """Free the run on all members that are still there."""
        try:
            alive = set(self._addresses())
            self.members = [member for member in self.members if member in alive]
            self.everywhere(runs.close_run)
            self._client.cancel(list(self._guards.values()), force=True)
        except (Loss, OSError, BCNMFError):  # workers that cannot be reached free the run as their guards are forgotten
            logger.info("Some workers of the run could not be reached to free it.")
        finally:  # what is held of them would keep an adaptive cluster from shrinking until Python collects it
            self._guards.clear()
            self._kept = []

    def attend(self, doing: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """What a call of the client gives that moves data from or to workers.

        Raises
        ------
        Loss
            If a member is gone meanwhile: the client would wait for it.
        """
        pending = attending(call, *arguments)
        while not wait([pending], POLL).done:
            self.refuse_loss(doing)
        try:
            return pending.result()
        except (ClusterError, CancelledError, KeyError, OSError) as error:
            raise Loss(f"{doing} failed: {error!r}") from error

    def _gather(self, futures: list[Future[Any]]) -> list[Any]:
        try:
            return list(self.attend("gather", self._client.gather, futures))
        except Loss:
            self._client.cancel(futures, force=True)
            raise

    def _strike(self, address: str) -> None:
        logger.warning("Worker %s was lost.", address)
        self.lost += 1
        self.members.remove(address)
        guard = self._guards.pop(address, None)
        if guard is not None:
            self._client.cancel([guard], force=True)

    def _enlist(self, addresses: list[str]) -> None:
        if not addresses:
            return
        surveys = [(address, self.submit(surveyor(), address, PACKAGES)) for address in addresses]
        refuse_unlike(dict(zip(addresses, self.collect(surveys, "survey"), strict=True)))
        self.settle([(address, self.submit(runs.probe, address, self._paths)) for address in addresses], "probe")
        opened = [(address, self.submit(runs.open_run, address, self._run, *self._room)) for address in addresses]
        self.settle(opened, "open_run")
        for address in addresses:
            self._guards[address] = self.submit(runs.guard, address, self._run)
            self.members.append(address)
        logger.info("Workers enlisted: %s.", ", ".join(addresses))

    def _alive(self) -> list[str]:
        """Addresses of the workers that beat; frozen ones are evicted. Waits while there is none."""
        deadline = time.monotonic() + patience()
        wanted: Future[Any] | None = None
        while not (found := self._without_frozen(self._addresses())):
            # An adaptive cluster starts workers only for tasks that wait.
            wanted = wanted or self._client.submit(surveyor(), PACKAGES, pure=False)
            if time.monotonic() > deadline:
                raise no_worker()
            time.sleep(0.1)
        return found

    def _addresses(self) -> list[str]:
        """As the scheduler knows them now; ``scheduler_info`` is a copy that its periodic refresh empties at times."""
        self._looked = time.monotonic()
        return sorted(self._ask(self._identity)["workers"])

    def _identity(self) -> Any:
        if self._client.status == "closed" or self._client.scheduler is None:
            raise OSError("the client is closed")
        return self._client.sync(self._client.scheduler.identity, n_workers=-1)

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """What the scheduler answers.

        Raises
        ------
        ClusterError
            If it does not.
        """
        try:
            return question(*arguments)
        except (OSError, TimeoutError, RuntimeError) as error:
            raise no_scheduler(error) from error

    def _without_frozen(self, addresses: list[str]) -> list[str]:
        limit = float(dask.config.get("bcnmf-dask.frozen-after", FROZEN_AFTER))
        frozen = self._ask(self._client.run_on_scheduler, evictor(), addresses, limit, SECOND_LOOK)
        for address in frozen:
            logger.warning("Worker %s gave no heartbeat for %g s and was evicted.", address, limit)
        return [address for address in addresses if address not in frozen]
