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
LARGEST_CORRELATION = 0.99
"""Above this between the usages of all components, a fit has collapsed."""


@dataclass(frozen=True)
class SweepRecord:
    """One row of the history of a fit.

    Attributes
    ----------
    iteration : int
        Counted from 1.
    target_divergence, background_divergence : float
        At the new usages and the basis the sweep began with; nan without a background.
    objective : float
        Target divergence minus effective alpha times background divergence. Not monotone: never compare
        fits by it.
    basis_change : float
        ``|basis - previous| / |previous|``, Frobenius norms, normalised columns.
    seconds : float
        Wall time of the sweep and the update of the basis.
    """

    iteration: int
    target_divergence: float
    background_divergence: float
    objective: float
    basis_change: float
    seconds: float


class Convergence:
    """Basis change and both relative divergence changes below ``tol`` for `PATIENCE` sweeps in a row.

    Parameters
    ----------
    tol : float
        0 never converges.
    """

    def __init__(self, tol: float) -> None:
        self._tol = tol
        self._quiet = 0
        self._previous: SweepRecord | None = None

    def reached(self, record: SweepRecord) -> bool:
        """Take the record of one more sweep, and say whether the fit has converged."""
        previous, self._previous = self._previous, record
        quiet = previous is not None and all(change < self._tol for change in _changes(previous, record))
        self._quiet = self._quiet + 1 if quiet else 0
        return self._quiet >= PATIENCE


def _changes(previous: SweepRecord, record: SweepRecord) -> list[float]:
    pairs = [
        (previous.target_divergence, record.target_divergence),
        (previous.background_divergence, record.background_divergence),
    ]
    divergences = [abs(new - old) / max(abs(old), np.finfo(float).tiny) for old, new in pairs if not np.isnan(new)]
    return [record.basis_change, *divergences]


def collapse(components: NDArray[Any], evaluation: Mapping[Role, Evaluation], n_rows: int) -> str | None:
    """How a fit has collapsed, in words, or None; too large an alpha is the usual cause.

    Parameters
    ----------
    components : ndarray (n_components, n_features)
        Rows sum to one.
    evaluation : mapping of role to Evaluation
    n_rows : int
        Target rows.
    """
    features = float(np.median(effective_features(components)))
    if features < FEWEST_FEATURES:
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
    centred = evaluation.usage_gram - np.outer(evaluation.usage_sum, evaluation.usage_sum) / n_rows
    variance = np.diag(centred)
    varying = variance > 1e-12 * np.diag(evaluation.usage_gram)
    if varying.sum() < 2:
        return -1.0
    kept = centred[np.ix_(varying, varying)]
    return float((kept / np.sqrt(np.outer(np.diag(kept), np.diag(kept)))).min())
