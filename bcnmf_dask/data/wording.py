"""How messages name things."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from bcnmf_dask.errors import InputError, OutputError


@contextmanager
def about(argument: str) -> Iterator[None]:
    """Begin every InputError raised inside with the name of the argument it is about; an OutputError names its own."""
    try:
        yield
    except OutputError:
        raise
    except InputError as error:
        raise InputError(f"{argument}: {error}") from error.__cause__


def shortened(names: Sequence[object] | NDArray[Any], most: int = 8) -> str:
    """``names`` in a sentence: all of a few, the first of many."""
    more = f", ... ({len(names) - most} more)" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more
