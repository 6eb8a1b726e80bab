"""The online solver: a step of the basis after each batch of rows, for data that can be passed over only a few times.

Usages are fitted to each batch anew and forgotten; what stays is a short memory of the statistics. Stepwise, not in one
go, as in Cappe and Moulines (2009, online EM) and Mairal and others (2010, online dictionary learning), with two
differences that the contrast forces: the memory is two batches long, and of the concave term of the Frobenius
background it keeps the tangent where it was taken. With its Gram matrix, repeated steps on old statistics run away.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import beside, to_host
from bcnmf_dask.data.draws import Draw
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.solvers.base import Solver, State
from bcnmf_dask.solvers.memories import MEMORIES, Sums
from bcnmf_dask.updates.initialise import normalise
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.statistics import Role

PASSES = 3
SMALLEST_BATCH, LARGEST_BATCH = 100, 8192
"""Rows, where none are asked for: a hundredth of all between these."""
CONTRAST_STEPS = {"frobenius": Steps(1, 1.0), "kullback-leibler": Steps(2, 1.0)}
"""More of them fit a batch more closely, and with a contrast lose the interferon genes of real cells."""
PLAIN_STEPS = Steps(10, 1.0)
"""Without one there is nothing to lose: where the structure is strong, fewer end 10 % higher."""
TRANSFORM = Steps(30, 1.0)
EXPONENT = 0.5
NEW_SHARE = 0.5
"""What the last batch counts among all before it."""
LONGEST_STEP = 10.0
"""Factor by which an entry of the basis may change before the exponent."""
UNUSED = 1e-9
"""Share of the most used component below which one has too few usages for a step."""
SMALLEST = 1e-30
"""An entry of the basis that batches without its feature made zero could not come back."""


def default_batch(n_rows: int) -> int:
    """Rows of a batch where none are asked for."""
    return min(max(n_rows // 100, SMALLEST_BATCH), LARGEST_BATCH)


def first_draw(n_rows: Mapping[Role, int], batch_size: int | None, seed: int, piece: int) -> Draw:
    """The first batch of the first pass; the others differ in number and seed.

    Parameters
    ----------
    n_rows : mapping of role to int
    batch_size : int or None
        Rows of both roles, about; None is `default_batch`.
    seed : int
        Of the order of the rows.
    piece : int
        Neighbouring rows that are read together.
    """
    together = sum(n_rows.values())
    return Draw((seed, 0), 0, -(-together // (batch_size or default_batch(together))), n_rows, piece)


class Online(Solver):
    """Passes over the rows in batches, then one sweep at the final basis.

    Parameters
    ----------
    loss : {"frobenius", "kullback-leibler"}
    alpha : float
        Effective strength of the contrast: the factor of the background's sum over all rows.
    first : Draw
        See `first_draw`.
    passes : int
    """

    def __init__(self, loss: str, alpha: float, first: Draw, passes: int) -> None:
        self._loss = loss
        self._alpha = alpha
        self._first = first
        self._n_rows = first.n_rows
        self._last_batch = passes * first.of
        self._passes = passes
        self._batches = 0
        self._memory = MEMORIES[loss]
        self._sums: dict[Role, Sums] = {}
        self._seen: NDArray[np.bool_] | None = None

    @property
    def draw(self) -> Draw | None:
        """See `Solver`."""
        if self._batches >= self._last_batch:
            return None
        passed, number = divmod(self._batches, self._first.of)
        return replace(self._first, seed=(self._first.seed[0], passed), number=number)

    @property
    def done(self) -> bool | None:
        """See `Solver`."""
        return self._batches > self._last_batch

    @property
    def steps(self) -> Steps:
        """See `Solver`."""
        if self.draw is None:
            return TRANSFORM
        return CONTRAST_STEPS[self._loss] if self._alpha > 0 else PLAIN_STEPS

    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[np.float64]:
        """See `Solver.next_basis`."""
        draw = self.draw
        self._batches += 1
        if draw is None:
            return basis
        self._remember(basis, record, draw)
        target = self._sums.get("target")
        if self._batches < 1 / NEW_SHARE or target is None:  # one batch is not enough for a step
            return basis
        stepped = np.maximum(basis * self._ratio(basis, target), SMALLEST)
        stepped[basis == 0] = 0.0  # given as zero, and to stay so
        if self.draw is None and self._seen is not None:
            stepped[~self._seen] = 0.0
        new, scales = normalise(stepped)
        for role, sums in self._sums.items():
            self._sums[role] = self._memory.rescaled(role, sums, scales)
        return new

    def _remember(self, basis: NDArray[np.float64], record: Record, draw: Draw) -> None:
        """Take the sums of a batch among those before; of a role without a row in it, those before stay."""
        share = max(1 / self._batches, NEW_SHARE)
        # A checkpoint brings them back to the host.
        self._sums = {role: sums.beside(basis) for role, sums in self._sums.items()}
        self._seen = None if self._seen is None else beside(self._seen, basis)
        for role, statistics in record.items():
            seen = statistics.cross.any(axis=1)  # features with a positive value
            self._seen = seen if self._seen is None else self._seen | seen
            new, old = self._memory.sums(role, basis, statistics, draw.count(role)), self._sums.get(role)
            self._sums[role] = new if old is None else old.mixed(new, share)

    def _ratio(self, basis: NDArray[np.float64], target: Sums) -> NDArray[np.float64]:
        """What the basis is multiplied by."""
        up, down = self._memory.terms(basis, target)
        background = self._sums.get("background")
        if background is not None and self._alpha > 0:
            # Batches hold the roles in changing shares: alpha is the factor of the sum over all rows.
            share = target.n_rows / background.n_rows * self._n_rows["background"] / self._n_rows["target"]
            more, less = self._memory.contrast(basis, background)
            up, down = up + self._alpha * share * more, down + self._alpha * share * less
        ratio = np.where((up > 0) | (down > 0), up / np.maximum(down, np.finfo(float).tiny), 1.0)
        use = self._memory.use(target)
        kept = use <= UNUSED * use.max()
        return np.where(kept, 1.0, np.clip(ratio, 1 / LONGEST_STEP, LONGEST_STEP) ** EXPONENT)

    def describe(self) -> dict[str, Any]:
        """See `Solver.describe`."""
        return {"passes": self._passes, "batches_per_pass": self._first.of}

    def stop(self) -> bool:
        """See `Solver.stop`: the usages are still those of the start, and are fitted first."""
        if self.draw is None:
            return self._batches > self._last_batch
        self._batches = self._last_batch
        return False

    def state(self) -> State:
        """See `Solver.state`."""
        parts = {f"{role}.{name}": getattr(sums, name) for role, sums in self._sums.items() for name in Sums._fields}
        seen = {} if self._seen is None else {"seen": self._seen}
        numbers = {"batches": self._batches}
        return seen | {name: np.asarray(to_host(part)) for name, part in (parts | numbers).items()}

    def go_on(self, state: State) -> None:
        """See `Solver.go_on`."""
        self._batches, self._seen = int(state["batches"]), state.get("seen")
        for role in self._n_rows:
            if f"{role}.cross" in state:
                cross, moment, n_rows = (state[f"{role}.{name}"] for name in Sums._fields)
                self._sums[role] = Sums(cross, moment, float(n_rows))
