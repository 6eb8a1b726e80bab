"""The last visits of a run: usages fitted to the final components where that is wanted, and what describes the fits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.engine.base import Engine
from bcnmf_dask.engine.orders import Closing
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.fitting.loop import FitProgress
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.updates.optimal import Optimum


def refit_usages(engine: Engine, fits: Sequence[FitProgress], settings: Sequence[Settings]) -> list[Record]:
    """Fit the usages of all rows to the final components, in one visit for the fits that want it.

    Returns
    -------
    list of mapping of role to Optimality
        Of each fit; empty where its usages stay as they are.
    """
    chosen = [fit for fit, one in zip(fits, settings, strict=True) if one.converges_usages or not fit.solver.learns]
    if not chosen:
        return [{} for _ in fits]
    records, _ = engine.sweep([replace(fit.order(), steps=Optimum()) for fit in chosen])
    for fit, record in zip(chosen, records, strict=True):
        fit.refitted(record)
    found = {fit.key: record for fit, record in zip(chosen, records, strict=True)}
    return [found.get(fit.key, {}) for fit in fits]


def describe_fits(engine: Engine, fits: Sequence[FitProgress], profile: NDArray[np.float64]) -> list[Record]:
    """The `Evaluation` of every fit at its final components and usages.

    Parameters
    ----------
    engine : Engine
    fits : sequence of FitProgress
    profile : ndarray (n_features,)
        Of the background, its sum one.
    """
    return engine.evaluate([_closing(fit, profile) for fit in fits])


def _closing(fit: FitProgress, profile: NDArray[np.float64]) -> Closing:
    order = fit.order()
    values: NDArray[Any] = profile.astype(order.basis.dtype)
    return Closing(order.basis, order.steps, order.key, order.stamp, order.scales, values, floor=order.floor)


def described(record: Record) -> dict[str, Any]:
    """What a visit that fitted usages reports, for the record of the run; empty where there was none."""
    if not record:
        return {}
    whole, *others = record.values()
    for other in others:
        whole = whole.merged(other)
    return {
        "usages_iterations": int(whole.most_iterations),
        "usages_mean_iterations": whole.iterations / whole.rows if whole.rows else 0.0,
        "usages_largest_residual": float(whole.largest_residual),
        "usages_unfinished_rows": int(whole.unfinished),
    }
