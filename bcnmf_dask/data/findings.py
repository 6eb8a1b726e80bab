"""What the pass that loads the rows sees in their values, and what is refused or reported because of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_sparse
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.errors import InputError
from bcnmf_dask.kernels.inspection import look_at
from bcnmf_dask.updates.statistics import Role


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
    negative, non_finite : Faults
    fractional : int
        Values that are not integers.
    zero_rows : mapping of role to int
        Rows without a positive value.
    seen : bool array (n_features,)
        Features with a positive value in any row.
    largest : float
        The largest value; 0 if there is none above.
    squares : float
        Sum of the squares of all values.
    """

    negative: Faults
    non_finite: Faults
    fractional: int
    zero_rows: Mapping[Role, int]
    seen: NDArray[np.bool_]
    largest: float
    squares: float

    @classmethod
    def none(cls, n_features: int) -> "Findings":
        """Nothing seen yet: the identity of `merge`."""
        return cls(Faults(0, None), Faults(0, None), 0, {}, np.zeros(n_features, dtype=bool), 0.0, 0.0)

    def merge(self, other: "Findings") -> "Findings":
        """Both together."""
        roles = self.zero_rows.keys() | other.zero_rows.keys()
        return Findings(
            self.negative.merge(other.negative),
            self.non_finite.merge(other.non_finite),
            self.fractional + other.fractional,
            {role: self.zero_rows.get(role, 0) + other.zero_rows.get(role, 0) for role in sorted(roles)},
            self.seen | other.seen,
            max(self.largest, other.largest),
            self.squares + other.squares,
        )


def inspect(rows: Rows, role: Role, first_row: int) -> Findings:
    """Look at every stored value of some rows of a role, the first of which is row ``first_row`` of it."""
    features = np.zeros(rows.shape[1], dtype=bool)
    seen = look_at(rows, features)
    return Findings(
        Faults(seen.negative, _place(rows, seen.first_negative, role, first_row)),
        Faults(seen.non_finite, _place(rows, seen.first_non_finite, role, first_row)),
        seen.fractional,
        {role: seen.zero_rows},
        features,
        seen.largest,
        seen.squares,
    )


def _place(rows: Rows, flat: int, role: Role, first_row: int) -> Place | None:
    """Where the stored value number ``flat`` of some rows stands; None if that is -1."""
    if flat < 0:
        return None
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
