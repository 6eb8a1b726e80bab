"""Frobenius loss: the sum of squared residuals, ``sum (x - r)^2`` (arXiv 2602.22387)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_sparse, parts_of
from bcnmf_dask.kernels import csr, products
from bcnmf_dask.kernels.lanes import padded, width_of
from bcnmf_dask.updates import device_csr
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.dense import add_cross, sum_of_squares, times_basis
from bcnmf_dask.updates.device_csr import DeviceCSR
from bcnmf_dask.updates.multiplicative import Steps, multiply
from bcnmf_dask.updates.statistics import Statistics
from bcnmf_dask.updates.tiles import step_tiles, sum_tiles, sweep_tiles
from bcnmf_dask.updates.together import Group, SharedRows

EPS = 1e-10


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
        stepped: NDArray[Any] = device_csr.step_frobenius(rows, usages, basis.on_device, _step_of(usages, steps))
        return stepped
    if is_sparse(rows):
        new, step = np.empty_like(usages), _step_of(usages, steps)
        csr.step_frobenius(parts_of(rows), usages, basis.lanes, basis.gram_lanes, step, new, basis.width)
        return new
    return step_tiles(rows, usages, partial(_step, basis.beside(rows), steps))


def contribute(rows: Rows, usages: NDArray[Any], basis: Basis) -> Statistics:
    """What these rows add to the `Statistics` of a sweep, at the new usages."""
    if isinstance(rows, DeviceCSR):
        return _statistics(usages, *device_csr.sum_frobenius(rows, usages))
    if is_sparse(rows):
        cross = np.zeros_like(basis.lanes)
        csr.sum_frobenius(parts_of(rows), usages, cross, basis.width)
        return _statistics(usages, cross, sum_of_squares(rows.data, usages.dtype))
    return _statistics(usages, *sum_tiles(rows, usages, _sum))


def sweep(rows: Rows, usages: NDArray[Any], basis: Basis, steps: Steps) -> tuple[NDArray[Any], Statistics]:
    """`update_usages`, then `contribute`; on a CPU while a few rows are at hand, with the same bits."""
    if isinstance(rows, DeviceCSR):
        new = update_usages(rows, usages, basis, steps)
        return new, contribute(rows, new, basis)
    if is_sparse(rows):
        new = np.empty_like(usages)
        cross, step = np.zeros_like(basis.lanes), _step_of(usages, steps)
        csr.sweep_frobenius(parts_of(rows), usages, basis.lanes, basis.gram_lanes, step, new, cross, basis.width)
        return new, _statistics(new, cross, sum_of_squares(rows.data, usages.dtype))
    new, cross, squares = sweep_tiles(rows, usages, partial(_step, basis.beside(rows), steps), _sum)
    return new, _statistics(new, cross, squares)


def sweep_together(
    shared: SharedRows, group: Group, usages: Sequence[NDArray[Any]], steps: Sequence[Steps]
) -> list[tuple[NDArray[Any], Statistics]]:
    """`sweep` of each fit of a group; the same bits. Only CSR rows of the host gain by it.

    Parameters
    ----------
    shared : SharedRows
    group : Group
    usages : sequence of ndarray (n, n_components)
        Of each fit, as are the steps.
    steps : sequence of Steps

    Returns
    -------
    list of (usages, statistics)
    """
    if not is_sparse(shared.rows):
        return [sweep(shared.rows, *one) for one in zip(usages, group.bases, steps, strict=True)]
    new = _step_together(shared, group, usages, steps)
    cross = np.empty_like(group.lanes)
    products.multiply(shared.transposed, padded(*new), cross, group.width)
    crosses = [cross[:, columns] for columns in group.columns]
    return [(one, _statistics(one, part, shared.squares)) for one, part in zip(new, crosses, strict=True)]


def _step_together(
    shared: SharedRows, group: Group, usages: Sequence[NDArray[Any]], steps: Sequence[Steps]
) -> list[NDArray[Any]]:
    """New usages of CSR rows."""
    numerators = np.empty((shared.rows.shape[0], group.lanes.shape[1]), group.lanes.dtype)
    products.multiply_halves(parts_of(shared.rows), group.lanes, numerators, group.width)
    new = [np.empty_like(old) for old in usages]
    for old, one, basis, columns, each in zip(usages, new, group.bases, group.columns, steps, strict=True):
        step, width = _step_of(old, each), width_of(basis.gram_lanes)
        csr.step_frobenius_at(numerators[:, columns], old, basis.gram_lanes, step, one, width)
    return new


def _step(basis: Basis, steps: Steps, values: NDArray[Any], usages: NDArray[Any]) -> NDArray[Any]:
    numerator = times_basis(values, basis)
    for _ in range(steps.times):
        usages = multiply(usages, numerator, usages @ basis.gram, EPS, steps.exponent)
    return usages


def _step_of(usages: NDArray[Any], steps: Steps) -> tuple[Any, float, int]:
    """As the kernels want it."""
    return usages.dtype.type(EPS), steps.exponent, steps.times


def _sum(values: NDArray[Any], usages: NDArray[Any], cross: NDArray[Any]) -> Any:
    add_cross(values, usages, cross)
    return sum_of_squares(values, usages.dtype)


def _statistics(usages: NDArray[Any], cross: NDArray[Any], squares: Any) -> Statistics:
    """Of sums over rows; what pads the cross is cut off."""
    gram = (usages.T @ usages).astype(np.float64)
    return Statistics(cross[:, : usages.shape[1]].astype(np.float64, order="C", copy=False), gram, squares)


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
    numerator, denominator = target.cross, basis @ target.moment
    if background is not None and alpha > 0:
        numerator = basis @ background.moment
        numerator *= alpha
        numerator += target.cross
        denominator += alpha * background.cross
    return multiply(basis, numerator, denominator, EPS, exponent)


def divergence(statistics: Statistics, basis: NDArray[np.float64]) -> float:
    """Sum of squared residuals of the rows behind ``statistics``; float64, as the three terms cancel."""
    model = float(np.vdot(basis.T @ basis, statistics.moment))
    overlap = float(np.vdot(basis, statistics.cross))
    return max(float(statistics.data_term) - 2.0 * overlap + model, 0.0)
