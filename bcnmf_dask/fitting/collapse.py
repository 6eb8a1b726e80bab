"""Whether the result of a fit is what a factorization should be: collapsed, doubtful, nothing specific, repeated.

Only the result and sums over the rows are looked at, never alpha. Thresholds were chosen on the development half of the
fits of ``benchmarks/collapse.py`` and frozen before the test half was looked at; its results say how often they err.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.results.summary import effective_features
from bcnmf_dask.updates.statistics import Evaluation, Role


@dataclass(frozen=True)
class Bounds:
    """Below which effective number of features a loss has collapsed, and below which that is in doubt."""

    collapsed: float
    doubtful: float


BOUNDS = {"frobenius": Bounds(20.0, 20.0), "kullback-leibler": Bounds(3.0, 5.0)}
FEWEST_FEATURES, FEWEST_SHARE = 3.0, 0.25
"""Of few features, components have collapsed only below so many, or this share of them if that is less."""
SHARE = 0.15
"""Of more features too, components have collapsed only below this share of them."""
RARE = 0.05
"""A feature is rare that fewer target rows have than this share of those that have the features of most values."""
RARE_WEIGHT = 0.33
"""Above this mean weight of components on rare features, a fit has collapsed."""
LARGEST_CORRELATION = 0.99
"""Above this between the usages of all components, a fit has collapsed."""
ALIKE = 1.3
"""Below this ratio of the shares of target and background that are explained, nothing specific was found."""
REPEATED = 0.9
"""Above this cosine, one component repeats another."""
MOST_REPEATED = 2 / 3
"""Where no more than this share of the components is distinct, fewer would do."""


@dataclass(frozen=True)
class Statistics:
    """What a verdict rests on.

    Attributes
    ----------
    effective_features : float
        Median over components of the exponential of their entropy.
    rare_weight : float
        Mean over components of their weight on rare features; see `rare_features`.
    smallest_correlation : float
        Between the usages of two components, over all pairs that vary; -1 where there is no pair.
    target_explained, background_explained : float
        Share of all values, ``sum min(value, reconstruction) / sum value``; nan without a background
        or without values.
    distinct : int
        Components but those that repeat another one.
    """

    effective_features: float
    rare_weight: float
    smallest_correlation: float
    target_explained: float
    background_explained: float
    distinct: int


@dataclass(frozen=True)
class Judgement:
    """What is said of a result.

    Attributes
    ----------
    collapsed : str or None
        How, in words.
    remarks : tuple of str
        Whole sentences on what is doubtful in a result that has not collapsed.
    """

    collapsed: str | None
    remarks: tuple[str, ...]


def statistics_of(
    components: NDArray[Any], evaluation: Mapping[Role, Evaluation], n_rows: Mapping[Role, int]
) -> Statistics:
    """The statistics of a finished fit.

    Parameters
    ----------
    components : ndarray (n_components, n_features)
        Rows sum to one, or are zero.
    evaluation : mapping of role to Evaluation
    n_rows : mapping of role to int
    """
    weights = components.astype(np.float64)
    target = evaluation["target"]
    rare = rare_features(target, n_rows["target"])
    filled = weights[weights.any(axis=1)]
    return Statistics(
        effective_features=float(np.median(effective_features(weights))),
        rare_weight=float(filled[:, rare].sum(axis=1).mean()) if len(filled) else 0.0,
        smallest_correlation=_smallest_correlation(target, n_rows["target"]),
        target_explained=explained(target),
        background_explained=explained(evaluation["background"]) if "background" in evaluation else float("nan"),
        distinct=distinct(weights),
    )


def judge(found: Statistics, n_components: int, n_features: int, loss: str, contrasted: bool) -> Judgement:
    """What to say of a fit.

    Parameters
    ----------
    found : Statistics
    n_components : int
    n_features : int
        Features with a positive value in any row.
    loss : str
        A key of `BOUNDS`.
    contrasted : bool
        Whether a background was contrasted with: without, both sides may well be explained alike.
    """
    alike = contrasted and found.target_explained < ALIKE * found.background_explained
    few = max(min(FEWEST_FEATURES, FEWEST_SHARE * n_features), SHARE * n_features)
    collapsed = _collapsed(found, min(BOUNDS[loss].collapsed, few), alike)
    if collapsed is not None:
        return Judgement(collapsed, ())
    remarks, other = [], "of a smaller alpha" if contrasted else "of fewer components"
    if found.effective_features < min(BOUNDS[loss].doubtful, few):
        remarks.append(
            f"It is doubtful whether the factorization has collapsed: half of the components rest on "
            f"{found.effective_features:.1f} features or fewer; compare it with one {other}."
        )
    if alike:
        remarks.append(
            f"Nothing specific to the target was found: the components explain {found.target_explained:.2%} of it and "
            f"{found.background_explained:.2%} of the background; a larger alpha may find something if there is any."
        )
    if found.distinct <= MOST_REPEATED * n_components:
        remarks.append(
            f"Components repeat each other: only {found.distinct} of {n_components} differ (cosines below "
            f"{REPEATED:g}); fewer would do."
        )
    return Judgement(None, tuple(remarks))


def _collapsed(found: Statistics, fewest: float, alike: bool) -> str | None:
    """How a fit has collapsed, in words. Components on rare features that explain both sides alike are noise."""
    features = found.effective_features
    if features == 0:
        return "half of the components or more are zero"
    if features < fewest:
        return f"half of the components rest on {features:.1f} features or fewer"
    if found.rare_weight > RARE_WEIGHT and not alike:
        return f"{found.rare_weight:.0%} of the weight of the components is on features that hardly any target row has"
    if found.smallest_correlation > LARGEST_CORRELATION:
        return "the usages of all components rise and fall together"
    return None


def rare_features(target: Evaluation, n_rows: int) -> NDArray[np.bool_]:
    """Features that fewer target rows have than `RARE` of the mean over all values of the rows that have theirs."""
    share: NDArray[np.float64] = target.feature_rows / n_rows
    total = target.feature_sums.sum()
    usual = float(target.feature_sums @ share) / total if total > 0 else 0.0
    rare: NDArray[np.bool_] = share < RARE * usual
    return rare


def explained(side: Evaluation) -> float:
    """The share of all values of a side that its reconstruction covers; nan without values."""
    total = float(side.feature_sums.sum())
    return side.overlap / total if total > 0 else float("nan")


def distinct(components: NDArray[np.float64]) -> int:
    """How many components are left when those are dropped whose cosine with one before exceeds `REPEATED`."""
    lengths = np.linalg.norm(components, axis=1, keepdims=True)
    unit = components / np.where(lengths > 0, lengths, 1.0)
    cosines, kept = unit @ unit.T, list[int]()
    for number in range(len(components)):
        if not np.any(cosines[number, kept] > REPEATED):
            kept.append(number)
    return len(kept)


def _smallest_correlation(evaluation: Evaluation, n_rows: int) -> float:
    """Over the pairs of components that are used at all and vary; -1 if there is no such pair."""
    with np.errstate(over="ignore", invalid="ignore"):  # huge values have no correlation that could be judged
        centred = evaluation.usage_gram - np.outer(evaluation.usage_sum, evaluation.usage_sum) / n_rows
        variance = np.diag(centred)
        varying = variance > 1e-12 * np.diag(evaluation.usage_gram)
        if varying.sum() < 2:
            return -1.0
        kept = centred[np.ix_(varying, varying)]
        deviations = np.sqrt(np.diag(kept))
        return float((kept / np.outer(deviations, deviations)).min())
