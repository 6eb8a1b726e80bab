"""When a fit has converged."""

from dataclasses import dataclass

import numpy as np

PATIENCE = 10
"""Quiet sweeps in a row before a fit has converged: a one-sweep test stops before the structure appears."""
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
