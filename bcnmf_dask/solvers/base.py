"""What the fitting loop asks of a solver."""

from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.engine.tree import Record


class Solver(Protocol):
    """Turns the statistics of a sweep into the basis of the next one.

    Attributes
    ----------
    learns : bool
        Whether the basis changes: one that is kept cannot collapse.
    """

    learns: ClassVar[bool]

    def next_basis(self, basis: NDArray[np.float64], record: Record) -> NDArray[Any]:
        """The next basis (n_features, n_components), float64, not necessarily normalised."""
        ...
