"""A loss that sleeps instead of computing: statistics, reduction and messages of a real size, no arithmetic.

With it a few cores can show what the orchestration of many workers costs. Whatever is measured with it must be
labelled ``orchestration only``.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows
from bcnmf_dask.updates import kullback_leibler
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.losses import Loss, register_loss
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.optimal import Optimum
from bcnmf_dask.updates.statistics import Optimality, Statistics

NAME = "stand-in"
SECONDS_PER_ROW = 2.0**-11
"""Slept for each row in each sweep."""


def update_usages(rows: Rows, usages: NDArray[Any], basis: Basis, steps: Steps) -> NDArray[Any]:  # noqa: ARG001
    """Sleep for as long as these rows are worth; the usages stay."""
    time.sleep(rows.shape[0] * SECONDS_PER_ROW)
    return usages


def contribute(rows: Rows, usages: NDArray[Any], basis: Basis) -> Statistics:  # noqa: ARG001
    """The Kullback-Leibler statistics of rows that the factors explain exactly, so that the basis stays."""
    mass = usages.sum(axis=0, dtype=np.float64)
    cross = np.tile(mass, (len(basis.values), 1))
    return Statistics(cross, mass, -float(mass @ basis.values.sum(axis=0, dtype=np.float64)))


def sweep(rows: Rows, usages: NDArray[Any], basis: Basis, steps: Steps) -> tuple[NDArray[Any], Statistics]:
    """Both."""
    return update_usages(rows, usages, basis, steps), contribute(rows, usages, basis)


def minimise(rows: Rows, basis: Basis, optimum: Optimum) -> tuple[NDArray[Any], Optimality]:  # noqa: ARG001
    """No arithmetic here, either: usages of zero, as if each were the minimiser."""
    usages = np.zeros((rows.shape[0], basis.values.shape[1]), basis.dtype)
    return usages, Optimality(rows.shape[0], 0, 0, 0, 0.0)


def register() -> None:
    """Make the stand-in known to this process."""
    register_loss(
        Loss(
            NAME,
            1.0,
            kullback_leibler.EPS,
            update_usages,
            contribute,
            sweep,
            kullback_leibler.update_basis,
            kullback_leibler.divergence,
            minimise,
        )
    )
