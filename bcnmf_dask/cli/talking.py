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

from bcnmf_dask.errors import BCNMFError, CollapseWarning, DataWarning

logger = logging.getLogger("bcnmf_dask.cli")

END_OF_FIT = (CollapseWarning, ConvergenceWarning)
FAILED, UNEXPECTED, INTERRUPTED = 1, 70, 130
"""Exit codes; 2 is wrong usage."""

OPTIONS: Mapping[str, str] = {
    "client": "--scheduler",
    "random_state": "--seed",
    **{
        name: "--" + name.replace("_", "-")
        for name in (
            *("layer", "mask_var", "features", "out", "key", "n_components", "alpha", "weighting"),
            *("loss", "solver", "damping", "max_iter", "tol", "dtype"),
        )
    },
}
"""Options by the names that the messages of the package, written for Python, use."""
_NAMES = "|".join(OPTIONS)
_GIVEN = re.compile(rf"(?<![\w./-])({_NAMES})=(?:(['\"])(.*?)\2| ?)")
_NAMED = re.compile(rf"^({_NAMES})(?=: )|(?<![\w./-])({'|'.join(name for name in OPTIONS if '_' in name)})\b")


def in_options(message: str) -> str:
    """A message with the parameters of Python written as the options they are here.

    Examples
    --------
    >>> in_options("alpha: got 3. Give layer= or use loss='frobenius'.")
    '--alpha: got 3. Give --layer or use --loss frobenius.'
    """
    given = _GIVEN.sub(lambda found: f"{OPTIONS[found[1]]} {found[3] or ''}", message)
    return _NAMED.sub(lambda found: OPTIONS[found[1] or found[2]], given)


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
        With the exit code of an error, or of Ctrl-C.
    """
    console = to_people()
    with _logged(console, verbose), _warned(console):
        try:
            yield console
        except (typer.Exit, typer.BadParameter, BrokenPipeError):
            raise  # of the command line library, which has words of its own for them
        except BCNMFError as error:
            say(console, "error:", in_options(str(error)), "bold red")
            _end(FAILED)
        except KeyboardInterrupt:
            say(console, "interrupted:", "stopped with Ctrl-C; no unfinished result is left behind.", "bold red")
            _end(INTERRUPTED)
        except MemoryError as error:
            say(
                console,
                "error:",
                f"the memory of this machine was not enough ({error or 'MemoryError'}). {LESS}",
                "bold red",
            )
            _end(FAILED)
        except Exception as error:  # the last place where a bug can still be told in words
            say(console, "unexpected error:", f"{type(error).__name__}: {error}\n{REPORT}", "bold red")
            _end(UNEXPECTED)


LESS = "Use --dtype float32, fewer features (--mask-var), or more machines (--scheduler)."
REPORT = (
    "This is not your fault. Please report it to the authors of bcnmf-dask, with what --verbose says when you "
    "run the same command with it."
)


def _end(code: int) -> None:
    logger.info("Where it happened:", exc_info=True)
    raise typer.Exit(code) from None


class _ConsoleHandler(logging.Handler):
    """Log records as plain lines, which do not tear the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        say(self._console, f"{record.levelname.lower()}:", self.format(record), "dim")


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
        elif not issubclass(category, END_OF_FIT):  # the status of the fit, shown at its end, says the same
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


def to_pipes() -> Console:
    """Stdout."""
    return Console(file=sys.stdout, highlight=False)
