"""Fits that outlive their process: how a fit that was stopped tells the way back."""

import inspect
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from bcnmf_dask.cli.options import RECOVERY, checked
from bcnmf_dask.cli.signals import sigterm_as_ctrl_c
from bcnmf_dask.data.locations import shown
from bcnmf_dask.errors import BCNMFError, CheckpointError, InputError, OutputError, Preempted
from bcnmf_dask.estimator import BCNMF
from bcnmf_dask.results.checkpoints import CheckpointStore

DEFAULT_EVERY: int = inspect.signature(BCNMF.fit).parameters["checkpoint_every"].default

Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Save the fit here while it runs (components, usages, the history of the sweeps), so that it survives "
        "its process. New or empty; a folder that all workers see, or a URL (s3://...). Ctrl-C and SIGTERM then save "
        "and end the fit after the sweep with exit code 75, and show the command that resumes it.",
        rich_help_panel=RECOVERY,
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        metavar="SWEEPS",
        callback=checked,
        help="Sweeps between two savings: what a crash can cost.",
        show_default=str(DEFAULT_EVERY),
        rich_help_panel=RECOVERY,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on from the newest whole checkpoint in DIR, to the same bits as if never stopped; from the "
        "beginning if there is none. Data and options must be the same; only --max-iter, and where it runs, may "
        "change.",
        rich_help_panel=RECOVERY,
    ),
]


def recovery(checkpoint: str | None, every: int | None, resume: bool) -> dict[str, Any]:
    """The checkpoints of a fit, as `BCNMF.fit` takes them.

    Raises
    ------
    typer.BadParameter
        If something is said of checkpoints, but not where they are.
    """
    if checkpoint is not None:
        return {"checkpoint": checkpoint, "checkpoint_every": every or DEFAULT_EVERY, "resume": resume}
    if resume or every is not None:
        raise typer.BadParameter(
            "needs --checkpoint DIR, the folder in which the fit is saved.",
            param_hint="--resume" if resume else "--checkpoint-every",
        )
    return {}


@contextmanager
def resumable(checkpoint: str | None, resume: bool) -> Iterator[None]:
    """Add to the error that ends a fit the command that goes on with it, as a note.

    Parameters
    ----------
    checkpoint : str or None
        Where the fit is saved. None: nothing can be gone on with.
    resume : bool
        Whether this command resumes already.

    Raises
    ------
    Preempted
        For Ctrl-C and SIGTERM, also where the fit itself does not answer them: while rows are read, for example.
    """
    if checkpoint is None:
        yield
        return
    way_back = f"Resume it with:\n  {command_to_resume(resume)}"
    try:
        with sigterm_as_ctrl_c():
            yield
    except KeyboardInterrupt as stop:
        ended = Preempted(f"The fit was stopped {_from_where(checkpoint)}.")
        ended.add_note(way_back)
        raise ended from stop
    except Preempted as stop:
        stop.add_note(way_back)
        raise
    except Exception as error:
        if not _would_fail_again(error) and _is_saved(checkpoint):
            error.add_note(way_back)
        raise


def command_to_resume(resumes: bool) -> str:
    """The command line of this process with ``--resume``, quoted for a shell.

    Parameters
    ----------
    resumes : bool
        Whether it has ``--resume`` already.
    """
    given = sys.argv[1:]
    # Next to the subcommand, because after a "--" it would be the name of a file.
    return shlex.join([*_program(), *given[:1], *["--resume"] * (not resumes), *given[1:]])


def command_to_keep() -> str:
    """The command line of this process, quoted for a shell; its URLs without credentials, as others may read it."""
    return shlex.join([*_program(), *map(_without_credentials, sys.argv[1:])])


def _without_credentials(argument: str) -> str:
    """An argument that is a URL, or an option with one behind its ``=``, as messages show it."""
    option, equals, value = argument.partition("=")
    if equals and option.startswith("-"):
        return f"{option}={shown(value)}"
    return shown(argument)


def _would_fail_again(error: Exception) -> bool:
    return isinstance(error, InputError | CheckpointError) and not isinstance(error, OutputError)


def _program() -> list[str]:
    """How this program was called."""
    if Path(sys.argv[0]).name == "__main__.py":
        return sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]
    name = Path(sys.argv[0]).name
    return [name if shutil.which(name) == sys.argv[0] else sys.argv[0]]


def _from_where(checkpoint: str) -> str:
    if _is_saved(checkpoint):
        return f"and can be resumed from its newest checkpoint in {checkpoint!r}"
    return "before its first checkpoint, so that it will start from the beginning"


def _is_saved(checkpoint: str) -> bool:
    try:
        return CheckpointStore(checkpoint).newest() is not None
    except (OSError, BCNMFError):
        return False
