"""The accelerated solver: longer steps along the way of the published rule, watched by what cannot be gamed.

Steps that fit usages and basis closely to each other at once make the contrast swing and lose the biology, however
good the logged objective looks. So the way stays the published one, multiplicative and in small changes, and only its
pace grows: over-relaxed exponents of both factors, and for the Frobenius loss, where they are nearly free, three steps
of the usages per visit. ``benchmarks/solvers.py`` measures it; exponents of 1.5 and more of the usages, eight steps,
coordinate descent, and momentum were tried, and lost the interferon genes of a contrast of 10 or did not settle.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.draws import Draw
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.solvers.base import Solver, State
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.statistics import Role

logger = logging.getLogger(__name__)

USAGE_STEPS = {"frobenius": Steps(3, 1.25), "kullback-leibler": Steps(1, 1.25)}
BASIS_EXPONENT = 1.75
FIRST_LOOK = 20
"""Sweeps before the first look; each look doubles them, so that looks stay cheap."""
SAMPLE_ROWS = 4000
"""Rows that are looked at, about; all where there are fewer than twice as many."""
REFIT = Steps(15, 1.25)
"""How usages of the sample are fitted, from the same start at every look."""
TOLERANCE = 5e-3
"""Rise of the refitted objective, as a share of the divergences it is the difference of, that is no rise: what a sample
may err by. Where steps were too long it rose by 0.03 and more."""


class Accelerated(Solver):
    """Over-relaxed steps, until the refitted objective of a fixed sample of rows rises.

    Then the basis of the last good look is taken again, and the published rule goes on from there.

    Parameters
    ----------
    loss : str
    alpha : float
        Effective strength of the contrast.
    damping : float
        Of the published rule.
    n_rows : mapping of role to int
    seed : int
        Of the sample.
    piece : int
        Neighbouring rows that are read together.
    """

    def __init__(
        self, loss: str, alpha: float, damping: float, n_rows: Mapping[Role, int], seed: int, piece: int
    ) -> None:
        self._loss = LOSSES[loss]
        self._alpha = alpha
        self._damping = damping
        of = max(1, sum(n_rows.values()) // SAMPLE_ROWS)
        self._sample = Draw((seed,), 0, max(1, min(of, *(count // 2 for count in n_rows.values()))), n_rows, piece)
        self._sweeps = 0
        self._next_look = FIRST_LOOK
        self._lowest = np.inf
        self._accepted: NDArray[np.float64] | None = None
        self.fallen_back = False

    @property
    def steps(self) -> Steps:
        """See `Solver`."""
        return Steps(1, self._damping) if self.fallen_back else USAGE_STEPS[self._loss.name]

    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[np.float64]:
        """See `Solver.next_basis`."""
        self._sweeps += 1
        exponent = self._damping if self.fallen_back else BASIS_EXPONENT
        return self._loss.update_basis(basis, record["target"], record.get("background"), self._alpha, exponent)

    def look(self) -> tuple[Draw, Steps] | None:
        """See `Solver.look`."""
        return None if self.fallen_back or self._sweeps < self._next_look else (self._sample, REFIT)

    def judge(self, basis: NDArray[np.float64], record: Record) -> NDArray[np.float64]:
        """See `Solver.judge`."""
        self._next_look *= 2
        weight, divergence = self._sample.weight, self._loss.divergence
        divergences = {role: weight(role) * divergence(sums, basis) for role, sums in record.items()}
        contrast = self._alpha * divergences.get("background", 0.0)
        objective, size = divergences["target"] - contrast, divergences["target"] + contrast
        if self._accepted is not None and not objective <= self._lowest + TOLERANCE * size:
            self._fall_back()
            return self._accepted
        self._lowest, self._accepted = min(objective, self._lowest), basis
        return basis

    def _fall_back(self) -> None:
        self.fallen_back = True
        logger.warning(
            "After sweep %d the objective of a sample of rows has risen: the steps of solver='accelerated' are too "
            "long for this data. The fit goes on with those of solver='published', from the last basis that was good.",
            self._sweeps,
        )

    def describe(self) -> dict[str, Any]:
        """See `Solver.describe`."""
        return {"fallen_back": self.fallen_back}

    def state(self) -> State:
        """See `Solver.state`."""
        accepted = {} if self._accepted is None else {"accepted": self._accepted}
        numbers = {
            "sweeps": self._sweeps,
            "next_look": self._next_look,
            "lowest": self._lowest,
            "fallen_back": self.fallen_back,
        }
        return accepted | {name: np.asarray(number) for name, number in numbers.items()}

    def go_on(self, state: State) -> None:
        """See `Solver.go_on`."""
        self._sweeps, self._next_look = int(state["sweeps"]), int(state["next_look"])
        self._lowest = float(state["lowest"])
        self.fallen_back = bool(state["fallen_back"])
        self._accepted = state.get("accepted")
