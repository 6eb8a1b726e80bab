"""What a fit asks of a visit of the rows: a sweep of all of them, or the sums over a sample."""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import owned, to_device, to_host
from bcnmf_dask.data.draws import Draw
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.optimal import Optimum
from bcnmf_dask.updates.statistics import Role

Runs = tuple[Role, NDArray[np.int64]]
"""Some rows of a role, counted within it: (first, the one behind the last), rising."""


@dataclass(frozen=True)
class _Visit:
    """A basis on its way to the rows.

    Attributes
    ----------
    basis : ndarray (n_features, n_components)
        In the dtype of the run; columns sum to one (or are zero).
    steps : Steps or Optimum
        What the usages of each row go through.
    floor : ndarray (n_features,) or None
        See `bcnmf_dask.updates.basis.Basis`.
    """

    basis: NDArray[Any]
    steps: Steps | Optimum
    floor: NDArray[Any] | None = field(default=None, kw_only=True)

    @cached_property
    def prepared(self) -> Basis:
        """The basis, and what is made of it for all blocks."""
        return Basis(self.basis, self.floor)

    def __getstate__(self) -> dict[str, Any]:
        """The fields: what is prepared stays here."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def owned(self) -> Self:
        """The same with aligned arrays of its own, as needed after a journey."""
        fields: dict[str, Any] = self.__getstate__()
        arrays: dict[str, Any] = {name: owned(part) for name, part in fields.items() if isinstance(part, np.ndarray)}
        return replace(self, **arrays)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(value.nbytes for value in self.__getstate__().values() if isinstance(value, np.ndarray))


@dataclass(frozen=True)
class Order(_Visit):
    """What one fit wants of the next visit of all rows, whose usages are stepped and kept.

    Attributes
    ----------
    key : str
        Of the fit.
    stamp : int
        Sweeps its usages have seen.
    scales : ndarray (n_components,), float64
        What the usages must be multiplied by to match ``basis`` (its last normalisation).
    """

    key: str
    stamp: int
    scales: NDArray[Any]

    @cached_property
    def factors(self) -> NDArray[Any]:
        """The scales, in the dtype of the run."""
        return self.scales.astype(self.basis.dtype)

    @cached_property
    def factors_on_device(self) -> NDArray[Any]:
        """The same on the device of this process."""
        on_device: NDArray[Any] = to_device(self.factors)
        return on_device

    def unscaled(self) -> "Order":
        """The same for the usages as they are, not yet matched to the basis."""
        return replace(self, scales=np.ones_like(self.scales))


@dataclass(frozen=True)
class Closing(Order):
    """What one fit wants of the last visit: all rows as its finished factors describe them.

    Attributes
    ----------
    profile : ndarray (n_features,)
        The mean profile of the background in the dtype of the run; its sum is one, or zero.
    """

    profile: NDArray[Any]

    @cached_property
    def beside_profile(self) -> Basis:
        """The basis with the profile as one more component."""
        return Basis(np.column_stack([to_host(self.basis), self.profile]), self.floor)


@dataclass(frozen=True)
class Sample(_Visit):
    """What one fit wants of some rows: their sums at usages that are fitted anew and forgotten.

    Attributes
    ----------
    loss : str
        A key of `bcnmf_dask.updates.losses.LOSSES`.
    draw : Draw
        Which rows.
    goes_on : bool
        Whether the next visit is to be of the next draw: blocks that it wants again are then kept.
    """

    loss: str
    draw: Draw
    goes_on: bool = False

    @property
    def wanted(self) -> list[Runs]:
        """Rows that it draws."""
        return [(role, self.draw.runs(role)) for role in self.draw.n_rows]

    @property
    def wanted_later(self) -> list[Runs]:
        """Rows among which the next visit draws, too."""
        lasting = [role for role in self.draw.n_rows if self.goes_on and self.draw.lasts(role)]
        return [(role, self.draw.window(role)) for role in lasting]
