"""The losses by name, each a record of the same pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bcnmf_dask.backend import Rows
from bcnmf_dask.updates import frobenius, kullback_leibler
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.optimal import Optimum, minimise_frobenius, minimise_kullback_leibler
from bcnmf_dask.updates.statistics import Optimality, Statistics
from bcnmf_dask.updates.together import Group, SharedRows

Swept = tuple[NDArray[Any], Statistics]
"""New usages, and what is summed of them."""
SweepTogether = Callable[[SharedRows, Group, Sequence[NDArray[Any]], Sequence[Steps]], Sequence[Swept]]


@dataclass(frozen=True)
class Loss:
    """A divergence and its published updates.

    Attributes
    ----------
    name : str
    default_damping : float
        What ``damping=None`` means: the authors' current default.
    eps : float
        The published guard against division by zero. It is absolute, so values must be far above it.
    update_usages, contribute, sweep, update_basis, divergence : callable
        See `bcnmf_dask.updates.frobenius` and `bcnmf_dask.updates.kullback_leibler`.
    minimise : callable
        See `bcnmf_dask.updates.optimal`.
    sweep_together : callable or None
        See `bcnmf_dask.updates.frobenius`; None where fits have so little in common that they are swept one by one.
    """

    name: str
    default_damping: float
    eps: float
    update_usages: Callable[[Rows, NDArray[Any], Basis, Steps], NDArray[Any]]
    contribute: Callable[[Rows, NDArray[Any], Basis], Statistics]
    sweep: Callable[[Rows, NDArray[Any], Basis, Steps], Swept]
    update_basis: Callable[[NDArray[Any], Statistics, Statistics | None, float, float], NDArray[Any]]
    divergence: Callable[[Statistics, NDArray[Any]], float]
    minimise: Callable[[Rows, Basis, Optimum], tuple[NDArray[Any], Optimality]]
    sweep_together: SweepTogether | None = None


LOSSES: dict[str, Loss] = {
    "frobenius": Loss(
        "frobenius",
        1.0,
        frobenius.EPS,
        frobenius.update_usages,
        frobenius.contribute,
        frobenius.sweep,
        frobenius.update_basis,
        frobenius.divergence,
        minimise_frobenius,
        frobenius.sweep_together,
    ),
    "kullback-leibler": Loss(
        "kullback-leibler",
        0.5,
        kullback_leibler.EPS,
        kullback_leibler.update_usages,
        kullback_leibler.contribute,
        kullback_leibler.sweep,
        kullback_leibler.update_basis,
        kullback_leibler.divergence,
        minimise_kullback_leibler,
    ),
}


def register_loss(loss: Loss) -> None:
    """Make one more loss known to this process by its name; each process that computes with it needs this.

    Parameters
    ----------
    loss : Loss
        Replaces one of the same name.
    """
    LOSSES[loss.name] = loss
