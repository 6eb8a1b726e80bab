"""The published solver: one multiplicative step of the basis per sweep (arXiv 2602.22387)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.engine.tree import Record
from bcnmf_dask.updates.losses import LOSSES


@dataclass(frozen=True)
class Published:
    """One published update of the basis after every sweep.

    Attributes
    ----------
    loss : str
    alpha : float
        Effective strength of the contrast.
    damping : float
    """

    learns: ClassVar[bool] = True

    loss: str
    alpha: float
    damping: float

    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[np.float64]:
        """See `Solver.next_basis`."""
        update = LOSSES[self.loss].update_basis
        return update(basis, record["target"], record.get("background"), self.alpha, self.damping)


class FixedBasis:
    """Keeps the basis: what remains is to fit the usages of new rows to it."""

    learns: ClassVar[bool] = False

    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[np.float64]:  # noqa: ARG002
        """See `Solver.next_basis`."""
        return basis
