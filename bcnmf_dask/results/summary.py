"""The table a biologist reads first: whether each component is stronger in the target, and by which features."""

from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.record import FitResult, Side

NAMES = ("top_features", "specific_features")
"""Columns that hold text."""


class Summary(pd.DataFrame):
    """A data frame that prints all of its columns under a line that says which sides it compares."""

    @property
    def _constructor(self) -> type["Summary"]:
        return Summary

    def __repr__(self) -> str:
        """All columns: first the numbers, then the names of features."""
        if "component" not in self.columns:
            return super().__repr__()
        named = [column for column in NAMES if column in self.columns]
        numbers = self.drop(columns=named).to_string(index=False, float_format=_short, line_width=120)
        names = [
            f"{row['component']}  {column.replace('_', ' ')}: {row[column]}"
            for _, row in self.iterrows()
            for column in named
        ]
        return "\n".join([self.heading, "", numbers, "", *names])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return f"<p>{escape(self.heading)}</p>{self.to_html(index=False, float_format=_short)}"

    @property
    def heading(self) -> str:
        """Which sides are compared, and how far off areas may be where they are not exact."""
        target, background = (self.attrs.get(role, role) for role in ("target", "background"))
        heading = f"target: {target}; background: {background}"
        error = self.attrs.get("auroc_error", 0.0)
        return heading + (f"; auroc to within {error:.1g}" if error else "")


def _short(number: float) -> str:
    return f"{number:.4g}"


def summarise(result: FitResult, n_top: int = 10) -> Summary:
    """One row per component, in the order of the components.

    Parameters
    ----------
    result : FitResult
        The fit to describe.
    n_top : int
        How many features to name per component.

    Returns
    -------
    DataFrame
        ``component`` : number of the component, from 0.

        ``target_mean``, ``background_mean`` : usage per row (cell), empty rows included; nan without a background.

        ``log2_fold_change`` : log2 of their ratio. 1: twice as much in the target; inf: none in the background; -inf:
        none in the target; nan: in neither, or no background.

        ``log2_fold_change_per_count`` : the same of usage as a share of the sum of all values of a side, which does not
        depend on how deeply a side was sequenced.

        ``auroc`` : the probability that a target row has more of it than a background row, ties counted half.

        ``target_fraction``, ``background_fraction`` : share of the rows that have it: rows in which it takes at least
        1 % when usages are fitted together with the mean profile of the background (of the target without one).

        ``target_explained``, ``background_explained`` : what it then takes of all data of that side. Over the
        components they sum to the share of the side that the fit explains and the mean profile does not.

        ``largest_cosine`` : with any other component; nan of a single one. Near 1: two components are the same.

        ``effective_features`` : exponential of the entropy of the weights; 0 of a zero component.

        ``top_features`` : the features of largest weight, largest first, joined by ``", "``; features without
        names by their index. Features of weight zero are never listed.

        ``specific_features`` : those in which it exceeds every other component and the mean profile (all with a sum of
        one) by most, weight times log2 of the ratio to the largest of them, largest first.

        Its ``attrs`` hold the labels of the sides (``"target"``, ``"background"``), ``"auroc_error"``, 0 where exact,
        and ``"n_target"`` and ``"n_background"`` rows.

    Raises
    ------
    InputError
        ``n_top`` is below 1.
    """
    if n_top < 1:
        raise InputError(f"n_top is {n_top}, but must be 1 or more: the number of features to name per component.")
    components, sides = result.components.astype(np.float64), result.sides
    means = {role: _per_row(sides.get(role), len(components)) for role in ("target", "background")}
    shares = {role: _per_count(sides.get(role), len(components)) for role in ("target", "background")}
    scores = _specificity(components, result.profile)
    table = Summary(
        {
            "component": np.arange(len(components)),
            "target_mean": means["target"],
            "background_mean": means["background"],
            "log2_fold_change": _log2_ratio(means["target"], means["background"]),
            "log2_fold_change_per_count": _log2_ratio(shares["target"], shares["background"]),
            "auroc": result.separation.auroc,
            "target_fraction": _fraction(sides.get("target"), len(components)),
            "background_fraction": _fraction(sides.get("background"), len(components)),
            "target_explained": _explained(sides.get("target"), len(components)),
            "background_explained": _explained(sides.get("background"), len(components)),
            "largest_cosine": largest_cosines(components),
            "effective_features": effective_features(components),
            "top_features": [_highest(row, result.features, n_top) for row in components],
            "specific_features": [_highest(row, result.features, n_top) for row in scores],
        }
    )
    table.attrs.update(_attributes(result))
    return table


def _attributes(result: FitResult) -> dict[str, Any]:
    labels: dict[str, str] = {role: side.label or role for role, side in result.provenance.sides.items()}
    rows = {f"n_{role}": side.n_rows for role, side in result.sides.items()}
    return {
        "target": labels["target"],
        "background": labels.get("background", "none"),
        "auroc_error": result.separation.error,
        **rows,
    }


def _per_row(side: Side | None, n_components: int) -> NDArray[np.float64]:
    return np.full(n_components, np.nan) if side is None else side.signal / side.n_rows


def _per_count(side: Side | None, n_components: int) -> NDArray[np.float64]:
    if side is None or side.total == 0:
        return np.full(n_components, np.nan)
    return side.signal / side.total


def _fraction(side: Side | None, n_components: int) -> NDArray[np.float64]:
    return np.full(n_components, np.nan) if side is None else side.carriers / side.n_rows


def _explained(side: Side | None, n_components: int) -> NDArray[np.float64]:
    if side is None or side.total == 0:
        return np.full(n_components, np.nan)
    return side.explained[:-1] / side.total


def _log2_ratio(target: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    # log2(0) = -inf gives inf, -inf and nan exactly where they are promised.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(target) - np.log2(background)


def largest_cosines(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each component with any other, (n_components,); nan where there is no other, or it is zero."""
    norms = np.linalg.norm(components, axis=1)
    with np.errstate(invalid="ignore"):
        cosines = (components / norms[:, None]) @ (components / norms[:, None]).T
    np.fill_diagonal(cosines, np.nan)
    known = ~np.isnan(cosines).all(axis=1)
    largest = np.full(len(components), np.nan)
    largest[known] = np.nanmax(cosines[known], axis=1)
    return largest


def effective_features(components: NDArray[Any]) -> NDArray[np.float64]:
    """Exponential of the entropy of each component, (n_components,); 0 for a zero component."""
    weights = components.astype(np.float64)
    logarithms = np.log(np.where(weights > 0, weights, 1.0))
    effective: NDArray[np.float64] = np.exp(-(weights * logarithms).sum(axis=1)) * (weights.sum(axis=1) > 0)
    return effective


def _specificity(components: NDArray[np.float64], profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights times log2 of their ratio to the largest of the other components and the profile; 0 where not above."""
    scores = np.zeros_like(components)
    for one, weights in enumerate(components):
        highest = np.max([profile, *np.delete(components, one, axis=0)], axis=0)
        above = weights > highest
        # What nothing else has at all is as specific as can be: the ratio is bounded by the precision of a float32.
        rival = np.maximum(highest[above], weights[above] * np.finfo(np.float32).eps)
        scores[one, above] = weights[above] * np.log2(weights[above] / rival)
    return scores


def _highest(weights: NDArray[np.floating], features: NDArray[np.object_] | None, n_top: int) -> str:
    heaviest = np.argsort(-weights, kind="stable")[:n_top]
    present = heaviest[weights[heaviest] > 0]
    return ", ".join(str(name) for name in (present if features is None else features[present]))
