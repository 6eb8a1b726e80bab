"""When a fit has converged, and when it has collapsed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.updates.statistics import Evaluation, Role

PATIENCE = 10
"""Quiet sweeps in a row before a fit has converged: a one-sweep test stops before the structure appears."""
FEWEST_FEATURES = 3.0
"""Below this median effective number of features per component, a fit has collapsed."""
FEWEST_SHARE = 0.25
"""Of few features (fewer than 12), a fit has collapsed only below this share of them."""
LARGEST_CORRELATION = 0.99
"""Above this between the usages of all components, a fit has collapsed."""


ROUNDING = 4096
"""Roundings of the first divergence below which a divergence is zero in effect: from sweep to sweep it varies by one
or two of them, which must be quiet at the default ``tol`` of 1e-3."""


@dataclass(frozen=True)
class SweepRecord:
    """One row of the history of a fit.

    Attributes
    ----------
    iteration : int
        Counted from 1.
    data_visits : float
        Of all rows since the start, looks at some of them included.
    target_divergence, background_divergence : float
        At the new usages and the basis the sweep began with; nan without a background. Of a batch of rows, times the
        number of batches.
    objective : float
        Target divergence minus effective alpha times background divergence. Not monotone: never compare
        fits by it.
    basis_change : float
        ``|basis - previous| / |previous|``, Frobenius norms, normalised columns.
    seconds : float
        Wall time of the sweep and the update of the basis; the sum of the following.
    compute_seconds, read_seconds, merge_seconds, scheduler_seconds, driver_seconds : float
        Visiting blocks on the slowest worker; of that, waiting for rows; summing on workers; messages, waiting
        and the repair of losses; updating the basis here.
    """

    iteration: int
    data_visits: float
    target_divergence: float
    background_divergence: float
    objective: float
    basis_change: float
    seconds: float
    compute_seconds: float
    read_seconds: float
    merge_seconds: float
    scheduler_seconds: float
    driver_seconds: float


class Convergence:
    """Basis change and both relative divergence changes below ``tol`` for `PATIENCE` sweeps in a row.

    Parameters
    ----------
    tol : float
        0 never converges.
    dtype : {"float32", "float64"}
        Of rows and factors. Divergences below `ROUNDING` times its precision (about 1e-12 for float64) of the first
        one are the rounding errors of data that the factors explain exactly: changes are relative to no less.
    """

    def __init__(self, tol: float, dtype: str) -> None:
        self._tol = tol
        self._negligible = ROUNDING * float(np.finfo(dtype).eps)
        self._first: SweepRecord | None = None
        self._quiet = 0
        self._previous: SweepRecord | None = None

    def restart(self) -> None:
        """Count quiet sweeps from none: the basis is another one."""
        self._quiet = 0

    def reached(self, record: SweepRecord) -> bool:
        """Take the record of one more sweep, and say whether the fit has converged."""
        previous, self._previous = self._previous, record
        self._first = self._first or record
        quiet = previous is not None and all(change < self._tol for change in self._changes(previous, record))
        self._quiet = self._quiet + 1 if quiet else 0
        return self._quiet >= PATIENCE

    def _changes(self, previous: SweepRecord, record: SweepRecord) -> list[float]:
        changes = [record.basis_change]
        for first, old, new in zip(*map(_divergences, (self._first or record, previous, record)), strict=True):
            changes.append(abs(new - old) / max(old, self._negligible * first, np.finfo(float).tiny))
        return changes


def _divergences(record: SweepRecord) -> list[float]:
    """Of the sides there are."""
    both = (record.target_divergence, record.background_divergence)
    return [divergence for divergence in both if not np.isnan(divergence)]


def collapse(
    components: NDArray[Any], evaluation: Mapping[Role, Evaluation], n_rows: int, n_features: int
) -> str | None:
    """How a fit has collapsed, in words, or None.

    Half of the components are zero, or rest on fewer than `FEWEST_FEATURES` features (of few features, on less than
    `FEWEST_SHARE` of them); or the usages of all components are correlated above `LARGEST_CORRELATION`.

    Parameters
    ----------
    components : ndarray (n_components, n_features)
        Rows sum to one.
    evaluation : mapping of role to Evaluation
    n_rows : int
        Target rows.
    n_features : int
        Features with a positive value in any row.
    """
    features = float(np.median(effective_features(components)))
    if features == 0:
        return "half of the components or more are zero"
    if features < min(FEWEST_FEATURES, FEWEST_SHARE * n_features):
        return f"half of the components rest on {features:.1f} features or fewer"
    if _smallest_correlation(evaluation["target"], n_rows) > LARGEST_CORRELATION:
        return "the usages of all components rise and fall together"
    return None


def effective_features(components: NDArray[Any]) -> NDArray[np.float64]:
    """Exponential of the entropy of each component, (n_components,); 0 for a zero component."""
    weights = components.astype(np.float64)
    logarithms = np.log(np.where(weights > 0, weights, 1.0))
    effective: NDArray[np.float64] = np.exp(-(weights * logarithms).sum(axis=1)) * (weights.sum(axis=1) > 0)
    return effective


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
