"""The mean profile that components are held against, and the floor of reconstructions that is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.updates.basis import PUBLISHED_FLOOR
from bcnmf_dask.updates.moments import Moments, mean_profile
from bcnmf_dask.updates.statistics import Role

FLOOR_SHARE = 1e-3
"""Of the floor in a mean row of the background: half of it follows the mean profile, half lies evenly on all features,
so that one which the background lacks has some, too."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What components are held against and that is no component.

    Attributes
    ----------
    profile : ndarray (n_features,), float64
        The mean row of the background, with a sum of one or, without any signal, zero.
    floor : ndarray (n_features,) or None
        Of reconstructions, in the dtype of the run; see `reconstruction_floor`.
    """

    profile: NDArray[np.float64]
    floor: NDArray[Any] | None


def surroundings(settings: Settings, moments: Mapping[Role, Moments], dtype: str) -> Surroundings:
    """Those of a fit of data with these moments."""
    mean = mean_row(moments)
    total = float(mean.sum())
    return Surroundings(mean / total if total > 0 else mean, reconstruction_floor(settings, mean, dtype))


def mean_row(moments: Mapping[Role, Moments]) -> NDArray[np.float64]:
    """The mean of all rows of the background, or of the target where there is no background or it is all zero."""
    role: Role = "background" if "background" in moments and moments["background"].total > 0 else "target"
    return mean_profile(moments[role])


def reconstruction_floor(settings: Settings, mean: NDArray[np.float64], dtype: str) -> NDArray[Any] | None:
    """What is added to the reconstruction of every row at each feature, (n_features,).

    With a contrast most features have next to no weight in any component, and what a component must explain there is
    decided by the floor: without a meaning of its own, it would give usages none.

    Parameters
    ----------
    settings : Settings
    mean : ndarray (n_features,)
        From `mean_row`.
    dtype : {"float32", "float64"}

    Returns
    -------
    ndarray or None
        None is the paper's guard: of the published solver, and of the Frobenius loss, which needs no floor.
    """
    if settings.loss != "kullback-leibler" or settings.solver == "published" or not mean.any():
        return None
    floor = FLOOR_SHARE / 2 * (mean + mean.mean())
    return np.asarray(np.maximum(floor, np.finfo(dtype).tiny), dtype)


def floor_of(loss: str, floor: NDArray[Any] | None, n_features: int, dtype: str) -> NDArray[Any]:
    """The floor as numbers, for the record of a fit."""
    if floor is not None:
        return floor
    return np.full(n_features, PUBLISHED_FLOOR if loss == "kullback-leibler" else 0.0, dtype)
