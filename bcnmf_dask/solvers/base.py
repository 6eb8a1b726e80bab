"""What the fitting loop asks of a solver, and what most solvers answer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.draws import Draw
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.optimal import Optimum

State = Mapping[str, NDArray[Any]]


class Solver(ABC):
    """Says what the next visit of the rows does, and turns its statistics into the basis after it.

    Attributes
    ----------
    learns : bool
        Whether the basis changes: one that is kept cannot collapse.
    steps : Steps or Optimum
        What the usages of each row go through in the next visit.
    draw : Draw or None
        The rows of the next visit, whose usages are fitted anew and forgotten. None is a sweep: all rows, whose usages
        go on from where they are.
    done : bool or None
        Whether there is nothing left to do; None leaves it to the stopping rule.
    """

    learns: ClassVar[bool] = True

    @property
    @abstractmethod
    def steps(self) -> Steps | Optimum:
        """See above."""

    @property
    def draw(self) -> Draw | None:
        """See above."""
        return None

    @property
    def done(self) -> bool | None:
        """See above."""
        return None

    @abstractmethod
    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[Any]:
        """The next basis (n_features, n_components), float64, not necessarily normalised."""

    def look(self) -> tuple[Draw, Steps] | None:
        """Rows whose sums at the next basis are wanted before it is used; None if it is good without."""
        return None

    def judge(self, basis: NDArray[np.float64], record: Record) -> NDArray[Any]:  # noqa: ARG002
        """The basis to go on with, normalised, now that ``record`` tells of the ``basis`` that was looked at."""
        return basis

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for the record of the run."""
        return {}

    def stop(self) -> bool:
        """Do no more than the usages need to match the basis; says whether that is nothing."""
        return True

    def state(self) -> State:
        """What else it must be given back to go on from a checkpoint; the basis is saved anyway."""
        return {}

    def go_on(self, state: State) -> None:  # noqa: B027
        """Go on from a state."""
