"""Columns of `obs` that tell target from background as well as the condition does."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from bcnmf_dask.data.tables import Labelled
from bcnmf_dask.data.wording import shortened
from bcnmf_dask.updates.statistics import ROLES, Role

UNITS = frozenset(
    {
        *("batch", "donor", "lane", "sample", "patient", "subject", "individual", "participant", "library"),
        *("lib", "pool", "plate", "replicate", "rep", "channel", "chip", "well", "flowcell"),
        *("sequencing", "run", "experiment", "dataset", "study", "cohort", "site", "center", "centre"),
        *("hospital", "operator", "chemistry", "technology", "platform", "protocol", "mouse", "animal", "litter"),
        *("sex", "ident", "date"),
    }
)
"""Words in the names of columns that say where cells come from, rather than what was done to them."""
MOST_ROWS = 2 * 10**6
"""Above so many, only columns of categories are read: the others are measurements and identifiers, as a rule."""
MOST_NUMBERS = 50
"""Different whole numbers up to which a column of numbers holds labels, rather than measurements."""


class Confounded(NamedTuple):
    """A column without a value that is on both sides.

    Attributes
    ----------
    column : str
    values : mapping of role to list of str
        On each side.
    """

    column: str
    values: Mapping[Role, list[str]]

    def __str__(self) -> str:
        sides = "; ".join(f"{role}: {shortened(values, 3)}" for role, values in self.values.items())
        return f"{self.column!r} ({sides})"


def confounded_columns(sides: Mapping[Role, Labelled]) -> Iterator[Confounded]:
    """The columns of both sides whose labels are others on each, so that no data can tell them from the condition.

    Left out are the key that the rows were chosen by, numbers that are no labels, and identifiers, of which most rows
    have their own. A column with one value on either side may just be another name of the condition (``treatment``:
    none, A, B): it counts only if a word of its name is among `UNITS`.
    """
    target, background = (sides[role] for role in ROLES)
    others = set(background.table.obs.columns()) - {target.key, background.key}
    for column in target.table.obs.columns():
        if column in others and _is_read(target, column) and _is_read(background, column):
            found = [_labels(side, column) for side in (target, background)]
            if _tells_apart(column, *found):
                yield Confounded(column, dict(zip(ROLES, found, strict=True)))


def _is_read(side: Labelled, column: str) -> bool:
    return side.table.source.shape[0] <= MOST_ROWS or side.table.obs.is_categorical(column)


def _tells_apart(column: str, target: list[str], background: list[str]) -> bool:
    if not target or not background or set(target) & set(background):
        return False
    return min(len(target), len(background)) > 1 or _is_unit(column)


def _is_unit(column: str) -> bool:
    """By whole words, whatever joins them: ``Sample.ID``, ``donor_2``, ``sequencingRun``."""
    return any(word.lower() in UNITS for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", column))


def _labels(side: Labelled, column: str) -> list[str]:
    """The different labels of the rows of a side; none where they are measurements or identifiers."""
    values = side.table.obs.column(column)
    values = (values if side.rows is None else values[side.rows]).dropna()
    if not _may_be_labels(values):
        return []
    labels = [_text(label) for label in values.unique()]
    return labels if len(labels) == 1 or 2 * len(labels) <= len(values) else []


def _text(label: Any) -> str:
    """A missing value makes whole numbers 1.0 on one side: they are the 1 of the other."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _may_be_labels(values: "pd.Series[Any]") -> bool:
    if pd.api.types.is_bool_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype):
        return True
    if pd.api.types.is_numeric_dtype(values):
        return bool((values % 1 == 0).all()) and values.nunique() <= MOST_NUMBERS
    return all(isinstance(value, str) for value in values)
