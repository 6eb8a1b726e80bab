"""What is said where genes stand in rows and cells in columns: names give it away once features do not match."""

from collections.abc import Iterator
from contextlib import contextmanager

from bcnmf_dask.data.annotations import Annotation, Names
from bcnmf_dask.data.tables import Table
from bcnmf_dask.errors import InputError

MOST_NAMES = 100_000
"""Of rows that are looked at; genes are fewer."""
REPAIR = "Expected a row for each cell and a column for each gene: give the table transposed, as by .T in pandas."


@contextmanager
def oriented(target: Table, background: Table) -> Iterator[None]:
    """Add to the InputError on features that do not match that a side looks transposed, where it does."""
    try:
        yield
    except InputError as error:
        note = _which(target, background)
        if note is None:
            raise
        raise InputError(f"{error} {note} {REPAIR}") from error.__cause__


@contextmanager
def oriented_like(features: Names | None, rows: Table) -> Iterator[None]:
    """The same for ``rows``, of which a fit wants ``features``."""
    try:
        yield
    except InputError as error:
        if features is None or not _mostly(set(features), _row_names(rows)):
            raise
        raise InputError(f"{error} They look transposed: their rows have the names of features. {REPAIR}") from (
            error.__cause__
        )


def _which(target: Table, background: Table) -> str | None:
    rows, others = _row_names(target), _row_names(background)
    if _mostly(_feature_names(target), others):
        return "The background looks transposed: its rows have the names of the target's features."
    if _mostly(_feature_names(background), rows):
        return "The target looks transposed: its rows have the names of the background's features."
    if _mostly(rows, others) and not _mostly(_feature_names(target), _feature_names(background)):
        return (
            "Both look transposed: it is their rows that have the same names (unless these are the same cells, measured"
            " in two ways)."
        )
    return None


def _mostly(some: set[str], others: set[str]) -> bool:
    """Whether most of the smaller set of names are in the other."""
    smaller = min(len(some), len(others))
    return smaller > 0 and 2 * len(some & others) > smaller


def _row_names(table: Table) -> set[str]:
    return _names(table.obs, min(table.source.shape[0], MOST_NAMES))


def _feature_names(table: Table) -> set[str]:
    return _names(table.var, table.source.shape[1])


def _names(annotation: Annotation, count: int) -> set[str]:
    return set(annotation.names(0, count)) if annotation.named else set()
