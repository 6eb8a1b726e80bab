"""What the pass that loads the rows sees in their values, and what is refused or reported because of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_sparse
from bcnmf_dask.data.contents import Contents
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.errors import InputError
from bcnmf_dask.kernels.inspection import first_fault, look_at
from bcnmf_dask.updates.moments import Moments, both
from bcnmf_dask.updates.statistics import ROLES, Role

T = TypeVar("T")


class Place(NamedTuple):
    """One value: role, row within the role, feature."""

    role: Role
    row: int
    feature: int


@dataclass(frozen=True)
class Faults:
    """How many values are at fault, and the first of them in the order of roles and rows."""

    count: int
    first: Place | None

    def merge(self, other: "Faults") -> "Faults":
        """Both together."""
        places = [place for place in (self.first, other.first) if place is not None]
        return Faults(self.count + other.count, max(places, key=_from_the_top) if places else None)


def _from_the_top(place: Place) -> tuple[bool, int, int]:
    return (place.role == "target", -place.row, -place.feature)


@dataclass(frozen=True)
class Findings:
    """What was seen in some rows.

    Attributes
    ----------
    n_features : int
    negative, non_finite : Faults
    peaks : mapping of role to float
        The largest value; 0 if there is none above.
    moments : mapping of role to Moments
        Sums over rows. Of a whole run they are added along its tree: the same bits whoever saw the rows.
    contents : mapping of role to Contents
        Empty where there is no other side to compare with.
    """

    n_features: int
    negative: Faults
    non_finite: Faults
    peaks: Mapping[Role, float]
    moments: Mapping[Role, Moments]
    contents: Mapping[Role, Contents] = field(default_factory=dict)

    @classmethod
    def none(cls, n_features: int) -> "Findings":
        """Nothing seen yet: the identity of `merge`."""
        return cls(n_features, Faults(0, None), Faults(0, None), {}, {})

    def merge(self, other: "Findings") -> "Findings":
        """Both together."""
        return Findings(
            self.n_features,
            self.negative.merge(other.negative),
            self.non_finite.merge(other.non_finite),
            _joined(self.peaks, other.peaks, max),
            _joined(self.moments, other.moments, both),
            _joined(self.contents, other.contents, Contents.merge),
        )

    @property
    def largest(self) -> float:
        """The largest value of any role; 0 if there is none above."""
        return max(self.peaks.values(), default=0.0)

    @property
    def fractional(self) -> int:
        """Values that are not integers."""
        return sum(one.fractional for one in self.moments.values())

    @property
    def squares(self) -> float:
        """Sum of the squares of all values."""
        return sum(one.squares for one in self.moments.values())

    @property
    def zero_rows(self) -> Mapping[Role, int]:
        """Rows without a positive value, by role."""
        return {role: one.zero_rows for role, one in self.moments.items()}

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Features with a positive value in any row, (n_features,)."""
        sums = [one.feature_sums for one in self.moments.values()]
        return np.sum(sums, axis=0) > 0 if sums else np.zeros(self.n_features, dtype=bool)


def _joined(left: Mapping[Role, T], right: Mapping[Role, T], join: Callable[[T, T], T]) -> dict[Role, T]:
    """By role, what both have joined, in the order of roles."""
    found = {**left, **right, **{role: join(one, right[role]) for role, one in left.items() if role in right}}
    return {role: found[role] for role in ROLES if role in found}


def inspect(rows: Rows, role: Role, first_row: int) -> Findings:
    """Look at every stored value of some rows of a role, the first of which is row ``first_row`` of it."""
    sums = np.zeros(rows.shape[1])
    seen = look_at(rows, sums)
    moments = Moments(
        n_rows=rows.shape[0],
        zero_rows=seen.zero_rows,
        positive=seen.positive,
        fractional=seen.fractional,
        total=seen.total,
        squares=seen.squares,
        value_logs=seen.value_logs,
        row_logs=seen.row_logs,
        row_squares=seen.row_squares,
        feature_sums=sums,
    )
    return Findings(
        rows.shape[1],
        _faults(rows, seen.negative, role, first_row, negative=True),
        _faults(rows, seen.non_finite, role, first_row, negative=False),
        {role: seen.largest},
        {role: moments},
    )


def _faults(rows: Rows, count: int, role: Role, first_row: int, *, negative: bool) -> Faults:
    return Faults(count, _place(rows, first_fault(rows, negative), role, first_row) if count else None)


def _place(rows: Rows, flat: int, role: Role, first_row: int) -> Place:
    """Where the stored value number ``flat`` of some rows stands."""
    if is_sparse(rows):
        row = int(np.searchsorted(rows.indptr, flat, side="right")) - 1
        return Place(role, first_row + row, int(rows.indices[flat]))
    row, feature = divmod(flat, rows.shape[1])
    return Place(role, first_row + row, feature)


def refuse_bad_values(findings: Findings, inputs: Inputs) -> None:
    """Raise for values no non-negative factorization can take.

    Raises
    ------
    InputError
        With how many values, and the first row and feature by name.
    """
    if findings.non_finite.count:
        raise InputError(
            f"{_located(findings.non_finite, 'not finite (NaN or infinite)', inputs)} Expected finite numbers: "
            "replace or drop them, or scale the data if they overflow the dtype of the fit."
        )
    if findings.negative.count:
        raise InputError(
            f"{_located(findings.negative, 'negative', inputs)} Expected counts, intensities or other non-negative "
            "numbers: give unscaled data (not z-scores or residuals)."
        )


def _located(faults: Faults, what: str, inputs: Inputs) -> str:
    place = faults.first
    assert place is not None
    names = inputs.row_names[place.role]
    row = f"row {place.row}" + (f" ({names.read(place.row, place.row + 1)[0]!r})" if names is not None else "")
    feature = f"feature {place.feature}"
    if inputs.features is not None:
        feature += f" ({inputs.features[place.feature]!r})"
    values = "1 value is" if faults.count == 1 else f"{faults.count} values are"
    return f"{inputs.called[place.role]}: {values} {what}, the first at {row}, {feature}."
