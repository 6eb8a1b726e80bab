"""What a fit has come to is written beside its result that could not be."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from bcnmf_dask.errors import InputError, NameTakenError, Preempted
from bcnmf_dask.fitting.rescue import NOTE
from bcnmf_dask.results.output import rescue_path
from bcnmf_dask.results.record import FitResult


@contextmanager
def kept_beside(out: str) -> Iterator[None]:
    """Save what the finished sweeps of a fit gave, if an error ends it, and say where, as a note of that error.

    Parameters
    ----------
    out : str
        Where the result was to be.
    """
    try:
        yield
    except BaseException as error:
        if NOTE in getattr(error, "__notes__", ()):  # which is for Python
            error.__notes__.remove(NOTE)
        if isinstance(error, NameTakenError):
            error.add_note(_opened(error.location))
        elif _ends_for_good(error) and (result := getattr(error, "result", None)) is not None:
            error.add_note(_saved(result, out))
        raise


def _ends_for_good(error: BaseException) -> bool:
    """False where someone stopped the fit, and knows it."""
    return isinstance(error, Exception) and not isinstance(error, Preempted)


def _saved(result: FitResult, out: str) -> str:
    """Save a result where there is room for it, of its usages if need be without, and say so."""
    bare = replace(result, target_usages=None, background_usages=None, row_names={})
    folders = [Path(out).expanduser().absolute().parent, Path(tempfile.gettempdir())]
    for one in [result, bare] if result.target_usages is not None else [bare]:
        for folder in folders:
            path = rescue_path(str(folder / Path(out).name))
            with suppress(InputError):
                one.save(path)
                return f"What the finished sweeps gave is kept{_without(one)}. {_opened(path)}"
    return f"What the finished sweeps gave could not be kept, neither beside --out nor in {folders[1]}."


def _without(result: FitResult) -> str:
    if result.target_usages is not None:
        return ""
    return ", the components without usages, which `BCNMF.load(...).transform` makes again"


def _opened(path: str) -> str:
    return f"Open it with:\n  from bcnmf_dask import BCNMF; model = BCNMF.load({path!r})"
