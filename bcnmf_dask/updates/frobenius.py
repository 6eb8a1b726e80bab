"""Frobenius loss: the sum of squared residuals, ``sum (x - r)^2`` (arXiv 2602.22387)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, stored_values
from bcnmf_dask.kernels.csr import sum_of_squares
from bcnmf_dask.updates.multiplicative import multiply
from bcnmf_dask.updates.statistics import Statistics

EPS = 1e-10


def update_usages(rows: Rows, usages: NDArray[Any], basis: NDArray[Any], damping: float) -> NDArray[Any]:
    """One multiplicative step of the usages at a fixed basis.

    Parameters
    ----------
    rows : ndarray or csr_array (n, n_features)
        Non-negative data.
    usages : ndarray (n, n_components)
        Of the same dtype, as are the result and ``basis``.
    basis : ndarray (n_features, n_components)
    damping : float
        Exponent of the multiplicative step, in (0, 1].

    Returns
    -------
    ndarray (n, n_components)
        New usages; their divergence is never larger.
    """
    return multiply(usages, rows @ basis, usages @ (basis.T @ basis), EPS, damping)


def contribute(rows: Rows, usages: NDArray[Any], basis: NDArray[Any]) -> Statistics:  # noqa: ARG001
    """What these rows add to the `Statistics` of a sweep; ``basis`` plays no part in this loss."""
    cross = np.asarray(rows.T @ usages)
    gram = usages.T @ usages
    squares = sum_of_squares(stored_values(rows).ravel())
    return Statistics(cross.astype(np.float64), gram.astype(np.float64), squares)


def update_basis(
    basis: NDArray[np.float64],
    target: Statistics,
    background: Statistics | None,
    alpha: float,
    damping: float,
) -> NDArray[np.float64]:
    """One majorise-minimise step of ``D(target) - alpha D(background)`` at fixed usages.

    The term of the background is concave in the basis, so its tangent bounds it: the step never raises the
    objective.

    Parameters
    ----------
    basis : ndarray (n_features, n_components), float64
    target, background : Statistics
        Of the new usages. No background is the same as ``alpha = 0``.
    alpha : float
        Effective strength of the contrast: the factor of the background's sum.
    damping : float

    Returns
    -------
    ndarray (n_features, n_components), float64, not normalised
    """
    numerator, denominator = target.cross, basis @ target.moment
    if background is not None and alpha > 0:
        numerator = numerator + alpha * (basis @ background.moment)
        denominator = denominator + alpha * background.cross
    return multiply(basis, numerator, denominator, EPS, damping)


def divergence(statistics: Statistics, basis: NDArray[np.float64]) -> float:
    """Sum of squared residuals of the rows behind ``statistics``; float64, as the three terms cancel."""
    model = float(np.vdot(basis.T @ basis, statistics.moment))
    overlap = float(np.vdot(basis, statistics.cross))
    return max(statistics.data_term - 2.0 * overlap + model, 0.0)
