"""The published solver: one multiplicative step of usages and basis per sweep (arXiv 2602.22387)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.engine.tree import Record
from bcnmf_dask.solvers.base import Solver
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.optimal import Optimum


@dataclass(frozen=True)
class Published(Solver):
    """One published update after every sweep.

    Attributes
    ----------
    loss : str
    alpha : float
        Effective strength of the contrast.
    damping : float
    """

    loss: str
    alpha: float
    damping: float

    @property
    def steps(self) -> Steps:
        """See `Solver`."""
        return Steps(1, self.damping)

    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[np.float64]:
        """See `Solver.next_basis`."""
        update = LOSSES[self.loss].update_basis
        return update(basis, record["target"], record.get("background"), self.alpha, self.damping)


@dataclass(frozen=True)
class FixedBasis(Solver):
    """Keeps the basis: what remains is to fit the usages of new rows to it, in one visit."""

    learns: ClassVar[bool] = False

    @property
    def steps(self) -> Optimum:
        """See `Solver`."""
        return Optimum()

    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[np.float64]:  # noqa: ARG002
        """See `Solver.next_basis`."""
        return basis
