"""How the commands talk: to people on stderr, in plain lines; a table on stdout. No traceback unless asked for."""

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sklearn.exceptions import ConvergenceWarning

from bcnmf_dask.cli.signals import Terminated, sigterm_as_ctrl_c
from bcnmf_dask.errors import BCNMFError, CheckpointWarning, CollapseWarning, DataWarning, Preempted, ResultWarning
from bcnmf_dask.results.summary import Summary

logger = logging.getLogger("bcnmf_dask.cli")

SAID_OTHERWISE = (CollapseWarning, ConvergenceWarning, ResultWarning, CheckpointWarning)
"""Warnings that the status of the fit, shown at its end, or a warning in the log says as well."""
FAILED, UNEXPECTED, PREEMPTED, INTERRUPTED, TERMINATED = 1, 70, 75, 130, 143
"""Exit codes; 2 is wrong usage."""

OPTIONS: Mapping[str, str] = {
    "client": "--scheduler",
    "random_state": "--seed",
    **{
        name: "--" + name.replace("_", "-")
        for name in (
            *("layer", "mask_var", "features", "out", "key", "n_components", "alpha", "weighting"),
            *("loss", "solver", "batch_size", "converged_usages", "damping", "max_iter", "tol", "dtype", "device"),
            *("checkpoint", "checkpoint_every"),
        )
    },
}
"""Options by the names that the messages of the package, written for Python, use."""
UNMISTAKABLE = [name for name in OPTIONS if "_" in name or name == "tol"]
"""Names that are no words of English, so that they mean the option wherever they stand."""
_NAMES = "|".join(OPTIONS)
_GIVEN = re.compile(rf"(?<![\w./-])({_NAMES})=(?:(['\"])(.*?)\2| ?)")
_NAMED = re.compile(rf"^({_NAMES})(?=: )|(?<![\w./-])({'|'.join(name for name in UNMISTAKABLE)})\b")


def in_options(message: str) -> str:
    """A message with the parameters of Python written as the options they are here.

    Examples
    --------
    >>> in_options("alpha: got 3. Give layer= or use loss='frobenius'.")
    '--alpha: got 3. Give --layer or use --loss frobenius.'
    """
    message = message.replace("client=False", "neither --local nor --scheduler")
    given = _GIVEN.sub(lambda found: _option(found[1], found[3] or ""), message)
    return _NAMED.sub(lambda found: OPTIONS[found[1] or found[2]], given)


def _option(name: str, value: str) -> str:
    if name == "client" and value in ("local", "local-cuda"):
        return f"--{value}"
    return f"{OPTIONS[name]} {value}"


def reflowed(text: str) -> str:
    """Help text with each paragraph on one line, to be broken where the terminal ends; indented lines stay."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def to_people() -> Console:
    """Stderr, without colours or moving parts where it is not a terminal."""
    return Console(stderr=True, highlight=False)


def say(console: Console, label: str, message: str, style: str = "bold") -> None:
    """Write one message behind its label; long lines are only broken in a terminal, so that logs can be searched."""
    console.print(Text.assemble((label, style), " ", message), soft_wrap=not console.is_terminal)


@contextmanager
def in_words(verbose: bool) -> Iterator[Console]:
    """Run a command so that whatever happens is told in words.

    Parameters
    ----------
    verbose : bool
        Show the log of the package, and tracebacks.

    Yields
    ------
    Console
        Where to tell people more.

    Raises
    ------
    typer.Exit
        With the exit code of an error, of Ctrl-C or SIGTERM, or of a fit that was saved and can be resumed.
    """
    console = to_people()
    with _logged(console, verbose), _warned(console):
        try:
            with sigterm_as_ctrl_c():
                yield console
        except (typer.Exit, typer.BadParameter, BrokenPipeError):
            raise  # of the command line library, which has words of its own for them
        except Preempted as stop:
            _end(console, "stopped:", in_options(str(stop)), stop, PREEMPTED)
        except BCNMFError as error:
            _end(console, "error:", in_options(str(error)), error, FAILED)
        except Terminated as stop:
            _end(console, "terminated:", f"stopped by SIGTERM; {NOTHING_LEFT}", stop, TERMINATED)
        except KeyboardInterrupt as stop:
            _end(console, "interrupted:", f"stopped with Ctrl-C; {NOTHING_LEFT}", stop, INTERRUPTED)
        except MemoryError as error:
            message = f"the memory of this machine was not enough ({error or 'MemoryError'}). {LESS}"
            _end(console, "error:", message, error, FAILED)
        except Exception as error:  # the last place where a bug can still be told in words
            _end(console, "unexpected error:", f"{type(error).__name__}: {error}\n{REPORT}", error, UNEXPECTED)


NOTHING_LEFT = "no unfinished result is left behind."
LESS = "Use --dtype float32, fewer features (--mask-var), or more machines (--scheduler)."
REPORT = (
    "This is not your fault. Please report it to the authors of bcnmf-dask, with what --verbose says when you "
    "run the same command with it."
)


def _end(console: Console, label: str, message: str, error: BaseException, code: int) -> None:
    say(console, label, message, "bold red")
    for note in getattr(error, "__notes__", ()):
        console.print(Text(note), soft_wrap=True)  # commands are copied, so no line is broken
    logger.info("Where it happened:", exc_info=True)
    raise typer.Exit(code) from None


class _ConsoleHandler(logging.Handler):
    """Log records as plain lines, which do not tear the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        message = self.format(record)
        if record.levelno >= logging.WARNING:
            say(self._console, "warning:", in_options(message), "bold yellow")
        else:
            say(self._console, "info:", message, "dim")


@contextmanager
def _logged(console: Console, verbose: bool) -> Iterator[None]:
    package, handler = logging.getLogger("bcnmf_dask"), _ConsoleHandler(console)
    level = package.level
    package.setLevel(logging.INFO if verbose else logging.WARNING)
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)


@contextmanager
def _warned(console: Console) -> Iterator[None]:
    """Our warnings as one line each; those of libraries are for programmers and go to the log."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, DataWarning):
            say(console, "warning:", in_options(str(message)), "bold yellow")
        elif not issubclass(category, SAID_OTHERWISE):
            logger.info("%s: %s", category.__name__, message)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


def print_table(console: Console, frame: pd.DataFrame, formats: Mapping[str, Callable[[Any], str]]) -> None:
    """Write a table: to be read in a terminal, tab-separated with all digits into a pipe or file.

    Parameters
    ----------
    console : Console
        Of stdout.
    frame : DataFrame
        The column names become the headings.
    formats : mapping of column to callable
        How a terminal shows its values; other columns are shown as text.
    """
    if not console.is_terminal:
        frame.to_csv(console.file, sep="\t", index=False, na_rep="nan", float_format="%.6g")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(formats.get(name, str)(value)) for name, value in zip(frame.columns, row, strict=True)))
    console.print(table)


SHOWN = (
    ("target_mean", "background_mean", "log2_fold_change", "log2_fold_change_per_count", "auroc"),
    ("target_fraction", "background_fraction", "target_explained", "background_explained"),
    ("largest_cosine", "effective_features", "top_features"),
    ("specific_features",),
)
"""Columns of a summary that a terminal has room for side by side."""
PERCENT = ("target_fraction", "background_fraction", "target_explained", "background_explained")


def print_summary(console: Console, summary: Summary) -> None:
    """Write the summary of a fit: in a terminal as several tables, all columns of which can be read.

    Parameters
    ----------
    console : Console
        Of stdout.
    summary : Summary
        Of `bcnmf_dask.results.summary.summarise`.
    """
    if not console.is_terminal:
        print_table(console, summary, {})
        return
    console.print(Text(summary.heading))
    formats: dict[str, Callable[[Any], str]] = dict.fromkeys(summary.columns, _number)
    formats |= dict.fromkeys(PERCENT, _known("{:.1%}")) | {"component": str}
    formats |= dict.fromkeys(("log2_fold_change", "log2_fold_change_per_count"), _known("{:+.2f}"))
    formats |= dict.fromkeys(("top_features", "specific_features"), str)
    for columns in SHOWN:
        print_table(console, summary[["component", *columns]], formats)


def _known(form: str) -> Callable[[float], str]:
    """Of what is not known, as without a background, neither a sign nor a unit is shown."""
    return lambda value: "nan" if pd.isna(value) else form.format(value)


def _number(value: float) -> str:
    return f"{value:.3g}"


def to_pipes() -> Console:
    """Stdout."""
    return Console(file=sys.stdout, highlight=False)
