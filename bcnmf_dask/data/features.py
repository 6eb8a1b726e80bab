"""One set of features for both roles: aligned by name, or by position where one side has no names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.annotations import Names
from bcnmf_dask.data.tables import Mask, Table
from bcnmf_dask.data.wording import about, shortened
from bcnmf_dask.errors import InputError

Matching = Literal["strict", "intersection"]

Columns = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one input: their names, if any, how many, and which were selected (None: all)."""

    names: Names | None
    width: int
    mask: Mask | None = None

    def selected(self, columns: Columns) -> Mask:
        """Which of ``columns`` are selected."""
        return np.ones(len(columns), dtype=bool) if self.mask is None else self.mask[columns]


def features_of(table: Table, mask: Mask | None) -> Features:
    """The features of ``table``.

    Raises
    ------
    InputError
        If two have the same name.
    """
    width = table.source.shape[1]
    if not table.var.named:
        return Features(None, width, mask)
    names = table.var.names(0, width)
    _refuse_duplicates(names)
    return Features(names, width, mask)


def shared(target: Features, background: Features, matching: Matching) -> tuple[Columns, Columns]:
    """Columns of each input that hold the same features in the same order, that of the target.

    Parameters
    ----------
    target, background : Features
    matching : {"strict", "intersection"}
        Whether both must have the same features, or those they share are used.

    Returns
    -------
    target_columns, background_columns : ndarray of int64, of the same length

    Raises
    ------
    InputError
        If the features differ (``"strict"``), none is shared, or there are no names and the widths differ.
    """
    if target.names is None or background.names is None:
        return _by_position(target.width, background.width)
    return _by_name(target.names, background.names, matching)


def selected(
    target: Features, background: Features, columns: Columns, other_columns: Columns
) -> tuple[Columns, Columns]:
    """Of the columns of the same features, those that are in neither input left out by its mask.

    Raises
    ------
    InputError
        If none is left.
    """
    kept = target.selected(columns) & background.selected(other_columns)
    if not kept.any():
        raise InputError(
            "mask_var: no feature selected for the target is also one of the background. Use one mask for both."
        )
    return columns[kept], other_columns[kept]


def fitted_columns(rows: Features, names: Names | None, n_features: int) -> Columns:
    """Columns of new rows that hold the features of a fit, in its order.

    Parameters
    ----------
    rows : Features
        By name there may be more than were fitted; where one side has no names, as many in the same order.
    names : object array of str or None
        Of the fitted features, if they have any.
    n_features : int
        How many were fitted.

    Returns
    -------
    int64 array (n_features,)

    Raises
    ------
    InputError
        If any is missing.
    """
    columns: Columns = np.flatnonzero(rows.selected(np.arange(rows.width)))
    if names is not None and rows.names is not None:
        return _named_columns(columns, rows.names, names)
    if len(columns) != n_features:
        raise InputError(
            f"{len(columns)} features came, the fit had {n_features}, and not both have names to match them by. Give "
            "rows with the same features in the same order."
        )
    return columns


def _named_columns(columns: Columns, names: Names, wanted: Names) -> Columns:
    place = dict(zip(names[columns], columns, strict=True))
    missing = [name for name in wanted if name not in place]
    if missing:
        apart = _apart_by_case(wanted, names[columns])
        repair = (
            _in_one_case(apart, "the fit", "these rows")
            if apart
            else ("Give rows that have them, with names of the same kind, for example gene symbols.")
        )
        raise InputError(
            f"{len(missing)} of the {len(wanted)} features of the fit are missing ({shortened(missing)}); expected all "
            f"of them, in any order, among any others. {repair}"
        )
    return np.array([place[name] for name in wanted], dtype=np.int64)


def or_none(columns: Columns, width: int) -> Columns | None:
    """``columns``, or None where they are all of ``width`` as they come, so that nothing need be copied."""
    return None if np.array_equal(columns, np.arange(width)) else columns


def _by_position(target: int, background: int) -> tuple[Columns, Columns]:
    if target != background:
        raise InputError(
            f"background: has {background} features, the target has {target}, and not both have names to "
            "match them by; expected the same number in the same order. Give both with names (AnnData, "
            "DataFrame or DataArray), or select the same columns of both."
        )
    return np.arange(target), np.arange(target)


def _by_name(target: Names, background: Names, matching: Matching) -> tuple[Columns, Columns]:
    place = {name: column for column, name in enumerate(background)}
    shared = np.array([column for column, name in enumerate(target) if name in place], dtype=np.int64)
    if not len(shared) or (matching == "strict" and not len(shared) == len(target) == len(background)):
        raise _different(target, background, shared)
    return shared, np.array([place[name] for name in target[shared]], dtype=np.int64)


def _different(target: Names, background: Names, shared: Columns) -> InputError:
    only_target, only_background = len(target) - len(shared), len(background) - len(shared)
    counts = (
        f"background: has other features than the target: {len(shared)} shared, {only_target} only in the "
        f"target, {only_background} only in the background. "
    )
    if apart := _apart_by_case(target, background):
        return InputError(f"{counts}{_in_one_case(apart)}")
    if len(shared):
        return InputError(f'{counts}Give both the same, or use the shared ones with features="intersection".')
    return InputError(
        f"{counts}The target has {shortened(target, 3)}; the background {shortened(background, 3)}. "
        "Name both in the same way, for example both by gene symbol."
    )


def left_out_by_case(target: Features, background: Features) -> Iterator[str]:
    """A sentence, if features that are not used because their names differ do so by letter case alone."""
    if target.names is not None and background.names is not None:
        apart = _apart_by_case(target.names, background.names)
        if apart:
            yield f"background: {_in_one_case(apart)} As it is, they are left out."


def _apart_by_case(target: Names, background: Names) -> list[tuple[str, str]]:
    """Names on one side alone that differ from one on the other by letter case: of the target, of the background."""
    known, other = set(target), set(background)
    folded = {name.casefold(): name for name in background if name not in known}
    return [(name, folded[name.casefold()]) for name in target if name not in other and name.casefold() in folded]


def _in_one_case(apart: Sequence[tuple[str, str]], first: str = "the target", second: str = "the background") -> str:
    ours, theirs = apart[0]
    return (
        f"{len(apart)} feature names differ by letter case alone ({ours!r} in {first}, {theirs!r} in {second}). Write "
        "both in the same way: names of one species in the case of either (for example .var_names.str.upper()), those "
        "of two species as orthologs of one."
    )


def _refuse_duplicates(names: Names) -> None:
    unique, counts = np.unique(names, return_counts=True)
    if len(unique) < len(names):
        twice = unique[counts > 1]
        raise InputError(
            f"{len(twice)} feature name(s) occur more than once ({shortened(twice)}); expected each once. "
            "Drop or rename the repeated ones, for example with AnnData's .var_names_make_unique()."
        )


def check_matching(features: str) -> None:
    """Refuse a ``features`` that is no way to match.

    Raises
    ------
    InputError
    """
    if features not in ("strict", "intersection"):
        with about("features"):
            raise InputError(
                f'got {features!r}; expected "strict" (both inputs have the same features) or "intersection" '
                "(use those they share)."
            )
