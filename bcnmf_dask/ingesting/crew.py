"""Whoever does the steps of an ingest: threads of this process, or the workers of a cluster."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dask.base import compute
from dask.delayed import delayed

from bcnmf_dask.engine.clients import Scheduler
from bcnmf_dask.ingesting.aside import Aside, Record

Tell = Callable[[str, int, int], None]
"""Hears the name of a step, how many of its tasks are done, and how many there are."""
Work = Callable[..., Record]
"""Does the task of a number, given the arguments for that number, and reports."""
Arguments = Callable[[int], Sequence[Any]]

FEWEST_AT_ONCE, AT_ONCE_PER_THREAD = 32, 4
"""Tasks that the scheduler is given at once: enough to keep all threads busy, whatever the size of the data."""


def nothing_told(_step: str, _done: int, _tasks: int) -> None:
    """Keep the progress of a step to yourself."""


def no_arguments(_number: int) -> Sequence[Any]:
    """For work that needs no more than its number."""
    return ()


@dataclass(frozen=True)
class Crew:
    """Does numbered tasks, in any order, a bounded number at a time.

    Attributes
    ----------
    aside : Aside
        Where the tasks note that they are done.
    scheduler : Scheduler
    tell : callable
        See `Tell`.
    """

    aside: Aside
    scheduler: Scheduler
    tell: Tell

    def do(self, step: str, work: Work, n_tasks: int, arguments: Arguments = no_arguments) -> list[Record]:
        """The records of all tasks of a step; those noted before are not done again."""
        records = {number: self.aside.record(step, number) for number in range(n_tasks)}
        missing = [number for number, record in records.items() if record is None]
        self.tell(step, n_tasks - len(missing), n_tasks)
        for number, record in zip(missing, self.reports(work, missing, arguments), strict=True):
            records[number] = record
            done = n_tasks - len(missing) + missing.index(number) + 1
            self.tell(step, done, n_tasks)
        return [record for record in records.values() if record is not None]

    def reports(self, work: Work, numbers: Sequence[int], arguments: Arguments = no_arguments) -> Iterator[Record]:
        """Do some tasks; yields their records in order."""
        at_once = max(FEWEST_AT_ONCE, AT_ONCE_PER_THREAD * self.scheduler.n_threads)
        for first in range(0, len(numbers), at_once):
            # A task of its own, so that a worker unpacks it once, and what it opens stays open between tasks.
            shared = delayed(partial(_itself, work), pure=False)()
            task = delayed(partial(_do, self.aside), pure=False)
            tasks = [task(shared, number, *arguments(number)) for number in numbers[first : first + at_once]]
            yield from compute(*tasks, scheduler=self.scheduler.get)


def _itself(work: Work) -> Work:
    return work


def _do(aside: Aside, work: Work, number: int, *arguments: Any) -> Record:
    aside.check_seen()
    return work(number, *arguments)
