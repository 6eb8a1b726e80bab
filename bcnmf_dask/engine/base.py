"""What the fitting loop asks of an engine, and the messages that pass between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from numpy.typing import NDArray

from bcnmf_dask.backend import owned
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.updates.statistics import Role

Starts = Mapping[Role, NDArray[Any]]
"""Start usages given by the caller, (rows of the role, n_components) each."""


@dataclass(frozen=True)
class FitSpec:
    """What stays the same during a fit, as far as rows and usages are concerned.

    Attributes
    ----------
    key : str
        Names the fit among those of a run.
    loss : str
        A key of `bcnmf_dask.updates.losses.LOSSES`.
    n_components : int
    damping : float
    seed : int
        Start usages not given are drawn from it.
    """

    key: str
    loss: str
    n_components: int
    damping: float
    seed: int


@dataclass(frozen=True)
class Order:
    """What one fit wants of the next visit of the rows.

    Attributes
    ----------
    key : str
        Of the fit.
    stamp : int
        Sweeps its usages have seen.
    basis : ndarray (n_features, n_components)
        In the dtype of the run; columns sum to one (or are zero).
    scales : ndarray (n_components,), float64
        What the usages must be multiplied by to match ``basis`` (its last normalisation).
    """

    key: str
    stamp: int
    basis: NDArray[Any]
    scales: NDArray[Any]

    def owned(self) -> "Order":
        """The same with aligned arrays of its own, as needed after a journey."""
        return replace(self, basis=owned(self.basis), scales=owned(self.scales))


class Engine(Protocol):
    """Where rows live and sweeps run. Rows are visited for a list of fits; a single fit is a list of one."""

    def load(self) -> Findings:
        """Bring every shard where it will be computed, and look at every value."""
        ...

    def start(self, spec: FitSpec, starts: Starts) -> None:
        """Give a fit its start usages, at stamp 0: those in ``starts``, the others drawn."""
        ...

    def sweep(self, orders: Sequence[Order]) -> list[Record]:
        """Step the usages of every fit from ``order.stamp`` to the next, and return its summed `Statistics`."""
        ...

    def evaluate(self, orders: Sequence[Order]) -> list[Record]:
        """The summed `Evaluation` of every fit at its usages and the basis given. Changes nothing."""
        ...

    def usages(self, order: Order, role: Role) -> NDArray[Any]:
        """The scaled usages of a role, (rows of the role, n_components), in this process."""
        ...

    def write_usages(self, order: Order, role: Role, location: str) -> None:
        """Write the scaled usages of a role into the array that `results.factors.create_usages` made."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for the record of the run: engine, shards per worker."""
        ...

    def close(self) -> None:
        """Free everything the run holds. Safe to call twice."""
        ...
