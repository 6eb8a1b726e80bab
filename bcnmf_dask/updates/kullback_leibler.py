"""Generalised Kullback-Leibler (Poisson) loss: ``sum x log(x / r) - x + r`` (arXiv 2602.22387).

The reconstruction is ``r = usages @ basis.T + floor``, with a floor for each feature that is part of the model: the
paper's guard of 1e-16, or a share of a mean row (`bcnmf_dask.fitting.profiles`). As one more component that stays as it
is, it leaves every step a majorise-minimise step. It decides what usages mean wherever components have no weight.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, column_sums, is_sparse, parts_of
from bcnmf_dask.kernels import csr
from bcnmf_dask.updates import device_csr
from bcnmf_dask.updates.basis import PUBLISHED_FLOOR, Basis
from bcnmf_dask.updates.dense import add_cross, sum_of_logarithms, times_basis
from bcnmf_dask.updates.device_csr import DeviceCSR
from bcnmf_dask.updates.multiplicative import Steps, multiply
from bcnmf_dask.updates.statistics import Statistics
from bcnmf_dask.updates.tiles import step_tiles, sum_tiles, sweep_tiles

EPS = PUBLISHED_FLOOR


def update_usages(rows: Rows, usages: NDArray[Any], basis: Basis, steps: Steps) -> NDArray[Any]:
    """Multiplicative steps of the usages at a fixed basis.

    Parameters
    ----------
    rows : ndarray or csr_array (n, n_features)
        Non-negative data of any real type. Of a CSR array only stored values are visited.
    usages : ndarray (n, n_components)
        In the type of the basis, as is the result.
    basis : Basis
    steps : Steps

    Returns
    -------
    ndarray (n, n_components)
        New usages; with an exponent of at most 1, their divergence is never larger.
    """
    if isinstance(rows, DeviceCSR):
        stepped: NDArray[Any] = device_csr.step_kullback_leibler(rows, usages, basis.on_device, _step_of(usages, steps))
        return stepped
    if is_sparse(rows):
        new, step = np.empty_like(usages), _step_of(usages, steps)
        csr.step_kullback_leibler(parts_of(rows), usages, basis.lanes, basis.sums, basis.floor, step, new, basis.width)
        return new
    return step_tiles(rows, usages, partial(_step, basis.beside(rows), steps))


def contribute(rows: Rows, usages: NDArray[Any], basis: Basis) -> Statistics:
    """What these rows add to the `Statistics` of a sweep, at the new usages and the same basis."""
    if isinstance(rows, DeviceCSR):
        return _statistics(usages, basis, *device_csr.sum_kullback_leibler(rows, usages, basis.on_device))
    if is_sparse(rows):
        cross = np.zeros_like(basis.lanes)
        data_term = csr.sum_kullback_leibler(parts_of(rows), usages, basis.lanes, basis.floor, cross, basis.width)
        return _statistics(usages, basis, cross, data_term)
    return _statistics(usages, basis, *sum_tiles(rows, usages, partial(_sum, basis.beside(rows))))


def sweep(rows: Rows, usages: NDArray[Any], basis: Basis, steps: Steps) -> tuple[NDArray[Any], Statistics]:
    """`update_usages`, then `contribute`; on a CPU while a few rows are at hand, with the same bits."""
    if isinstance(rows, DeviceCSR):
        new = update_usages(rows, usages, basis, steps)
        return new, contribute(rows, new, basis)
    if is_sparse(rows):
        new = np.empty_like(usages)
        cross, step = np.zeros_like(basis.lanes), _step_of(usages, steps)
        given = parts_of(rows), usages, basis.lanes, basis.sums, basis.floor, step
        return new, _statistics(new, basis, cross, csr.sweep_kullback_leibler(*given, new, cross, basis.width))
    basis = basis.beside(rows)
    new, cross, data_term = sweep_tiles(rows, usages, partial(_step, basis, steps), partial(_sum, basis))
    return new, _statistics(new, basis, cross, data_term)


def _step(basis: Basis, steps: Steps, values: NDArray[Any], usages: NDArray[Any]) -> NDArray[Any]:
    for _ in range(steps.times):
        numerator = times_basis(_quotients(values, usages, basis), basis)
        usages = multiply(usages, numerator, basis.sums, EPS, steps.exponent)
    return usages


def _step_of(usages: NDArray[Any], steps: Steps) -> tuple[Any, float, int]:
    """As the kernels want it."""
    return usages.dtype.type(EPS), steps.exponent, steps.times


def _sum(basis: Basis, values: NDArray[Any], usages: NDArray[Any], cross: NDArray[Any]) -> Any:
    quotients = _quotients(values, usages, basis)
    add_cross(quotients, usages, cross)
    return sum_of_logarithms(values, quotients)


def _quotients(values: NDArray[Any], usages: NDArray[Any], basis: Basis) -> NDArray[Any]:
    reconstruction: NDArray[Any] = usages @ basis.values.T
    reconstruction += basis.floor
    np.divide(values, reconstruction, out=reconstruction)
    return reconstruction


def _statistics(usages: NDArray[Any], basis: Basis, cross: NDArray[Any], data_term: Any) -> Statistics:
    """Of sums over rows; what pads the cross is cut off. The floor is part of the sum of every reconstruction."""
    data_term = data_term + usages.shape[0] * basis.floor_sum
    mass = column_sums(usages, np.float64)
    return Statistics(cross[:, : usages.shape[1]].astype(np.float64, order="C", copy=False), mass, data_term)


def update_basis(
    basis: NDArray[np.float64],
    target: Statistics,
    background: Statistics | None,
    alpha: float,
    exponent: float,
) -> NDArray[np.float64]:
    """One majorise-minimise step of ``D(target) - alpha D(background)`` at fixed usages.

    The term of the background is concave in the basis, so its tangent bounds it: with an exponent of at most 1 the
    step never raises the objective.

    Parameters
    ----------
    basis : ndarray (n_features, n_components), float64
        The basis at which the statistics were taken.
    target, background : Statistics
        Of the new usages. No background is the same as ``alpha = 0``.
    alpha : float
        Effective strength of the contrast: the factor of the background's sum.
    exponent : float
        Of the multiplicative step.

    Returns
    -------
    ndarray (n_features, n_components), float64, not normalised
    """
    numerator, denominator = target.cross, target.moment
    if background is not None and alpha > 0:
        numerator = numerator + alpha * background.moment
        denominator = alpha * background.cross
        denominator += target.moment
    return multiply(basis, numerator, denominator, EPS, exponent)


def divergence(statistics: Statistics, basis: NDArray[np.float64]) -> float:
    """Divergence of the rows behind ``statistics``, which must have been taken at this ``basis``."""
    return max(float(statistics.data_term) + float(statistics.moment @ column_sums(basis)), 0.0)
