"""What a running fit shows: a bar in a terminal, a line now and then in a log file."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from bcnmf_dask.fitting.loop import Callback
from bcnmf_dask.fitting.stopping import SweepRecord

LINE_SECONDS = 30.0
"""Between two lines in a log file."""

Describe = Callable[[SweepRecord], str]


def describe(record: SweepRecord) -> str:
    """The numbers of one sweep."""
    parts = [f"target divergence {record.target_divergence:.5g}"]
    if not np.isnan(record.background_divergence):
        parts.append(f"background {record.background_divergence:.5g}")
    parts += [f"basis change {record.basis_change:.1e}", f"{record.seconds:.2g} s per sweep"]
    return ", ".join(parts)


@contextmanager
def progress(console: Console, max_iter: int, quiet: bool, describe: Describe) -> Iterator[list[Callback]]:
    """The callbacks that show how a fit goes on.

    Parameters
    ----------
    console : Console
        Of stderr.
    max_iter : int
        Sweeps at most.
    quiet : bool
        Show nothing.
    describe : callable
        What to say of a sweep.
    """
    if quiet:
        yield []
    elif console.is_terminal:
        with _Bar(console=console, transient=True) as bar:
            bar.begin(max_iter, describe)
            yield [bar.show]
    else:
        yield [_Lines(console, max_iter, describe).show]


class _TimeLeft(ProgressColumn):
    """The time that all sweeps would still take; a fit that converges ends earlier."""

    def render(self, task: Task) -> Text:
        """See `rich.progress.ProgressColumn.render`."""
        return Text("" if task.time_remaining is None else _left(task.time_remaining), style="dim")


class _Bar(Progress):
    """A bar, and below it the numbers of the last sweep."""

    def begin(self, max_iter: int, describe: Describe) -> None:
        """Show that rows are being read, which is what happens before the first sweep."""
        self._max_iter, self._describe = max_iter, describe
        self._task = self.add_task("reading and checking the rows", total=None, numbers="")

    def show(self, record: SweepRecord) -> None:
        """Take the record of one sweep."""
        if self.tasks[0].total is None:
            # The time left is that of sweeps, not of reading, nor of the sweeps before a fit was resumed.
            self.reset(self._task, total=self._max_iter, completed=record.iteration - 1)
        self.update(
            self._task,
            completed=record.iteration,
            description=f"sweep {record.iteration}/{self._max_iter}",
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

    def __init__(self, console: Console, max_iter: int, describe: Describe) -> None:
        self._console, self._max_iter, self._describe = console, max_iter, describe
        self._first: int | None = None
        self._spoke = -np.inf

    def show(self, record: SweepRecord) -> None:
        """Take the record of one sweep."""
        now = time.monotonic()
        if self._first is None:  # above 1 if the fit was resumed
            self._first, self._started = record.iteration, now
        if now - self._spoke < LINE_SECONDS:
            return
        self._spoke = now
        left = self._left(record.iteration - self._first, record.iteration, now)
        line = f"sweep {record.iteration}/{self._max_iter}: {self._describe(record)}{left}"
        self._console.print(line, soft_wrap=True, markup=False)

    def _left(self, timed: int, done: int, now: float) -> str:
        """The time left; the first sweep here, slowed by compilation, tells nothing of the others."""
        if not timed:
            return ""
        seconds = (now - self._started) / timed * (self._max_iter - done)
        return f", {_left(seconds)}"


def _left(seconds: float) -> str:
    return f"at most {timedelta(seconds=round(seconds))} left"
