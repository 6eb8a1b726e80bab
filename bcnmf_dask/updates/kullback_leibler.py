"""Generalised Kullback-Leibler (Poisson) loss: ``sum x log(x / r) - x + r`` (arXiv 2602.22387)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from bcnmf_dask.backend import Rows, is_sparse
from bcnmf_dask.kernels.csr import quotient_statistics, quotient_times_basis
from bcnmf_dask.updates.multiplicative import multiply
from bcnmf_dask.updates.statistics import Statistics

EPS = 1e-16


def update_usages(rows: Rows, usages: NDArray[Any], basis: NDArray[Any], damping: float) -> NDArray[Any]:
    """One multiplicative step of the usages at a fixed basis.

    Parameters
    ----------
    rows : ndarray or csr_array (n, n_features)
        Non-negative data. Of a CSR array only stored values are visited.
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
    eps = usages.dtype.type(EPS)
    if is_sparse(rows):
        numerator = np.zeros_like(usages)
        quotient_times_basis(rows.indptr, rows.indices, rows.data, usages, basis, eps, numerator)
    else:
        numerator = (rows / (usages @ basis.T + eps)) @ basis
    return multiply(usages, numerator, basis.sum(axis=0), EPS, damping)


def contribute(rows: Rows, usages: NDArray[Any], basis: NDArray[Any]) -> Statistics:
    """What these rows add to the `Statistics` of a sweep, at the new usages and the same basis."""
    eps = usages.dtype.type(EPS)
    mass = usages.sum(axis=0, dtype=np.float64)
    if is_sparse(rows):
        cross = np.zeros_like(basis)
        data_term = quotient_statistics(rows.indptr, rows.indices, rows.data, usages, basis, eps, cross)
    else:
        quotient = rows / (usages @ basis.T + eps)
        cross = quotient.T @ usages
        data_term = float(np.sum(xlogy(rows, quotient) - rows, dtype=np.float64))
    return Statistics(cross.astype(np.float64), mass, data_term)


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
        The basis at which the statistics were taken.
    target, background : Statistics
        Of the new usages. No background is the same as ``alpha = 0``.
    alpha : float
        Effective strength of the contrast: the factor of the background's sum.
    damping : float

    Returns
    -------
    ndarray (n_features, n_components), float64, not normalised
    """
    numerator, denominator = target.cross, target.moment
    if background is not None and alpha > 0:
        numerator = numerator + alpha * background.moment
        denominator = denominator + alpha * background.cross
    return multiply(basis, numerator, denominator, EPS, damping)


def divergence(statistics: Statistics, basis: NDArray[np.float64]) -> float:
    """Divergence of the rows behind ``statistics``, which must have been taken at this ``basis``."""
    return max(statistics.data_term + float(statistics.moment @ basis.sum(axis=0)), 0.0)
