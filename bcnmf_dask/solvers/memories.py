"""What the online solver remembers of a batch: sums that stay true while the basis goes on."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import beside
from bcnmf_dask.updates.statistics import Role, Statistics

Array = NDArray[np.float64]


class Sums(NamedTuple):
    """Of the rows of one role.

    Attributes
    ----------
    cross : ndarray (n_features, n_components)
        Frobenius: ``rows.T @ usages``. Kullback-Leibler: expected counts, the basis times the cross of `Statistics`.
    moment : ndarray
        Kullback-Leibler: column sums of the usages. Frobenius: of the target their Gram matrix, of the background the
        tangent of its concave term, ``basis @ gram`` (n_features, n_components).
    n_rows : float
    """

    cross: Array
    moment: Array
    n_rows: float

    def mixed(self, other: "Sums", share: float) -> "Sums":
        """``1 - share`` of these and ``share`` of the other."""
        kept = 1 - share
        return Sums(
            kept * self.cross + share * other.cross,
            kept * self.moment + share * other.moment,
            kept * self.n_rows + share * other.n_rows,
        )

    def beside(self, basis: Array) -> "Sums":
        """These where a basis is."""
        return Sums(beside(self.cross, basis), beside(self.moment, basis), self.n_rows)


class Memory(Protocol):
    """How the sums of a loss are remembered."""

    def sums(self, role: Role, basis: Array, statistics: Statistics, n_rows: int) -> Sums:
        """What to remember of a batch whose statistics were taken at a basis."""

    def terms(self, basis: Array, target: Sums) -> tuple[Array, Array]:
        """What the target adds to numerator and denominator of a multiplicative step of the basis."""

    def contrast(self, basis: Array, background: Sums) -> tuple[Array, Array]:
        """What the background adds, before it is weighted."""

    def use(self, target: Sums) -> Array:
        """How much each component is used (n_components,)."""

    def rescaled(self, role: Role, sums: Sums, scales: Array) -> Sums:
        """The same after the basis was divided by scales, and the usages multiplied."""


class _Frobenius:
    """See `Memory`."""

    def sums(self, role: Role, basis: Array, statistics: Statistics, n_rows: int) -> Sums:
        moment = statistics.moment if role == "target" else basis @ statistics.moment
        return Sums(statistics.cross, moment, n_rows)

    def terms(self, basis: Array, target: Sums) -> tuple[Array, Array]:
        return target.cross, basis @ target.moment

    def contrast(self, basis: Array, background: Sums) -> tuple[Array, Array]:  # noqa: ARG002
        return background.moment, background.cross

    def use(self, target: Sums) -> Array:
        return np.diag(target.moment)

    def rescaled(self, role: Role, sums: Sums, scales: Array) -> Sums:
        moment = sums.moment * (np.outer(scales, scales) if role == "target" else scales)
        return Sums(sums.cross * scales, moment, sums.n_rows)


class _KullbackLeibler:
    """See `Memory`."""

    def sums(self, role: Role, basis: Array, statistics: Statistics, n_rows: int) -> Sums:  # noqa: ARG002
        return Sums(basis * statistics.cross, statistics.moment, n_rows)

    def terms(self, basis: Array, target: Sums) -> tuple[Array, Array]:
        return target.cross, basis * target.moment

    def contrast(self, basis: Array, background: Sums) -> tuple[Array, Array]:
        return basis * background.moment, background.cross

    def use(self, target: Sums) -> Array:
        return target.moment

    def rescaled(self, role: Role, sums: Sums, scales: Array) -> Sums:  # noqa: ARG002
        return Sums(sums.cross, sums.moment * scales, sums.n_rows)


MEMORIES: Mapping[str, Memory] = {"frobenius": _Frobenius(), "kullback-leibler": _KullbackLeibler()}
