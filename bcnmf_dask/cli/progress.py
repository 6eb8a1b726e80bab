"""What a running fit shows: a bar in a terminal, a line now and then in a log file."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from bcnmf_dask.fitting.course import Course
from bcnmf_dask.fitting.loop import Callback
from bcnmf_dask.fitting.stopping import SweepRecord

LINE_SECONDS = 30.0
"""Between two lines in a log file."""

Describe = Callable[[SweepRecord], str]


def describe(record: SweepRecord, step: str = "sweep") -> str:
    """The numbers of one sweep, or other step."""
    parts = [f"target divergence {record.target_divergence:.5g}"]
    if not np.isnan(record.background_divergence):
        parts.append(f"background {record.background_divergence:.5g}")
    parts += [f"basis change {record.basis_change:.1e}", f"{record.seconds:.2g} s per {step}"]
    return ", ".join(parts)


@contextmanager
def progress(console: Console, course: Course, quiet: bool, describe: Describe) -> Iterator[list[Callback]]:
    """The callbacks that show how a fit goes on.

    Parameters
    ----------
    console : Console
        Of stderr.
    course : Course
        Of the fit.
    quiet : bool
        Show nothing.
    describe : callable
        What to say of a record.
    """
    if quiet:
        yield []
    elif console.is_terminal:
        with _Bar(console=console, transient=True) as bar:
            bar.begin(course, describe)
            yield [bar.show]
    else:
        yield [_Lines(console, course, describe).show]


class _TimeLeft(ProgressColumn):
    """The time that all that is left would take."""

    def render(self, task: Task) -> Text:
        """See `rich.progress.ProgressColumn.render`."""
        left = "" if task.time_remaining is None else _left(task.time_remaining, task.fields["bound"])
        return Text(left, style="dim")


class _Bar(Progress):
    """A bar, and below it the numbers of the last sweep."""

    def begin(self, course: Course, describe: Describe) -> None:
        """Show that rows are being read, which is what happens before the first sweep."""
        self._course, self._describe = course, describe
        self._task = self.add_task("reading and checking the rows", total=None, numbers="", bound=course.bound)

    def show(self, record: SweepRecord) -> None:
        """Take the record of one sweep."""
        if self.tasks[0].total is None:
            # The time left is that of sweeps, not of reading; nor of those before a fit was resumed, as what is
            # done until the first update never counts.
            self.reset(self._task, total=self._course.most)
        self.update(
            self._task,
            completed=self._course.done(record),
            description=self._course.where(record),
            numbers=self._describe(record),
        )

    @classmethod
    def get_default_columns(cls) -> tuple[ProgressColumn, ...]:
        """See `rich.progress.Progress.get_default_columns`."""
        return (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            _TimeLeft(),
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """See `rich.progress.Progress.get_renderables`."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["numbers"], style="dim")


class _Lines:
    """A line for the first sweep, then one every half minute."""

    def __init__(self, console: Console, course: Course, describe: Describe) -> None:
        self._console, self._course, self._describe = console, course, describe
        self._first: float | None = None
        self._spoke = -np.inf

    def show(self, record: SweepRecord) -> None:
        """Take the record of one sweep."""
        now = time.monotonic()
        done = self._course.done(record)
        if self._first is None:  # much is done already if the fit was resumed
            self._first, self._started = done, now
        if now - self._spoke < LINE_SECONDS:
            return
        self._spoke = now
        left = self._left(done - self._first, self._course.left(record), now)
        line = f"{self._course.where(record)}: {self._describe(record)}{left}"
        self._console.print(line, soft_wrap=True, markup=False)

    def _left(self, timed: float, left: float, now: float) -> str:
        """The time left; the first sweep here, slowed by compilation, tells nothing of the others."""
        if not timed:
            return ""
        seconds = (now - self._started) / timed * left
        return f", {_left(seconds, self._course.bound)}"


def _left(seconds: float, bound: str) -> str:
    return f"{bound} {timedelta(seconds=round(seconds))} left"
