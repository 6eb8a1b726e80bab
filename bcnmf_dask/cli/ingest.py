"""``bcnmf-dask ingest``: any data, written once as the store that a fit reads fastest."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bcnmf_dask.cli import options, running
from bcnmf_dask.cli.recovery import command_to_resume
from bcnmf_dask.cli.running import client_of, where
from bcnmf_dask.cli.signals import sigterm_as_ctrl_c
from bcnmf_dask.cli.talking import in_words, say
from bcnmf_dask.errors import InputError, OutputError, Preempted
from bcnmf_dask.ingesting.crew import Tell, nothing_told
from bcnmf_dask.ingesting.run import ingest as write

HELP = """\
Writes any data as the store that a fit reads fastest: an AnnData .zarr, chunked by rows, with checksums.

Do it once for data that is column-sparse (CSC), large, or on its way to a cluster. obs and var come along; other
layers, obsm, uns and so on do not. What was seen in the values is told at the end, and kept in uns of the store.

An ingest that is stopped or killed leaves its work next to OUT, and goes on with --resume, to the same checksums.

[bold]Examples[/bold]

  [dim]The raw counts of a file, by all cores of this machine:[/dim]
    bcnmf-dask ingest atlas.h5ad atlas.zarr --layer counts

  [dim]By the workers of a Dask cluster, which see both paths:[/dim]
    bcnmf-dask ingest atlas.h5ad atlas.zarr --scheduler tcp://node1:8786
"""

STEPS = {
    "spread": "sorting values by rows",
    "runs": "bringing rows together",
    "pieces": "writing",
}

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help=f"{options.KINDS_OF_FILES[0].upper()}{options.KINDS_OF_FILES[1:]}.",
        show_default=False,
    ),
]
Store = Annotated[str, typer.Argument(metavar="OUT", help="The .zarr to write. Never overwrites.", show_default=False)]
GoOn = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with an ingest of the same SOURCE to the same OUT that was stopped; from the beginning if there "
        "is none.",
        rich_help_panel=options.RECOVERY,
    ),
]


def ingest(
    source: Source,
    out: Store,
    *,
    layer: options.Layer = None,
    scheduler: running.Scheduler = None,
    scheduler_file: running.SchedulerFile = None,
    local: running.Local = False,
    resume: GoOn = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the store, and say what was seen; see ``HELP``."""
    client = client_of(scheduler, scheduler_file, local)
    with in_words(verbose) as console, _resumable(out, resume):
        if not quiet:
            say(console, "ingest    ", f"{source} to {out}, {where(client)}")
        with _progress(console, quiet) as tell:
            report = write(source, out, layer=layer, client=client, resume=resume, tell=tell)
        for label, words in report.sentences():
            say(console, f"{label:<11}", words)
        say(console, "done:", f"the store is {out}", "bold green")


@contextmanager
def _resumable(out: str, resume: bool) -> Iterator[None]:
    """Say how to go on, where an ingest was stopped from outside."""
    way_back = f"Resume it with:\n  {command_to_resume(resume)}"
    try:
        with sigterm_as_ctrl_c():
            yield
    except KeyboardInterrupt as stop:
        ended = Preempted(f"The ingest to {out!r} was stopped; what it has written is kept.")
        ended.add_note(way_back)
        raise ended from stop
    except Exception as error:
        if isinstance(error, OutputError) or not isinstance(error, InputError):
            error.add_note(way_back)
        raise


@contextmanager
def _progress(console: Console, quiet: bool) -> Iterator[Tell]:
    """A bar for each step, in a terminal."""
    if quiet or not console.is_terminal:
        yield nothing_told
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks = {}

        def tell(step: str, done: int, n_tasks: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(STEPS[step], total=n_tasks)
            bar.update(tasks[step], completed=done)

        yield tell
