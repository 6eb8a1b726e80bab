"""What a visit of some rows leaves behind: sums over rows, and nothing whose size depends on their number."""

from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

Role = Literal["target", "background"]
ROLES: tuple[Role, ...] = get_args(Role)


class Statistics(NamedTuple):
    """Sums over the rows of one role that the basis update needs and nothing more; of rows on a device they are there.

    Attributes
    ----------
    cross : ndarray (n_features, n_components), float64
        Frobenius: ``rows.T @ usages``. Kullback-Leibler: ``(rows / reconstruction).T @ usages``.
    moment : ndarray, float64
        Frobenius: the Gram matrix of the usages (n_components, n_components).
        Kullback-Leibler: their column sums (n_components,).
    data_term : float
        Frobenius: the sum of squares of the rows. Kullback-Leibler: the sum of
        ``x log(x / reconstruction) - x``.
    """

    cross: NDArray[np.float64]
    moment: NDArray[np.float64]
    data_term: float


class Evaluation(NamedTuple):
    """Sums over the rows of one role that describe finished factors.

    Attributes
    ----------
    divergence : float
    usage_sum : ndarray (n_components,), float64
        Amount of signal per component.
    usage_gram : ndarray (n_components, n_components), float64
    overlap : float
        Over all entries, of the smaller of value and reconstruction: the amount of data that is explained.
    feature_sums : ndarray (n_features,), float64
        Of the values of each feature.
    feature_rows : ndarray (n_features,), float64
        Rows in which each feature has a positive value.
    explained : ndarray (n_components + 1,), float64
        Amounts when usages are fitted together with the mean profile of the background, whose own is the last.
    carriers : ndarray (n_components,), float64
        Rows in which the component then takes at least `CARRIED`.
    """

    divergence: float
    usage_sum: NDArray[np.float64]
    usage_gram: NDArray[np.float64]
    overlap: float
    feature_sums: NDArray[np.float64]
    feature_rows: NDArray[np.float64]
    explained: NDArray[np.float64]
    carriers: NDArray[np.float64]


CARRIED = 0.01
"""Share of a row's fitted usages from which on the row is said to have a component."""


class Optimality(NamedTuple):
    """How near some rows came to their minima.

    Attributes
    ----------
    rows : int
    iterations : int
        Newton steps of all rows together.
    unfinished : int
        Rows that stopped above the tolerance.
    most_iterations : int
        Of any row.
    largest_residual : float
        Of any row; see `bcnmf_dask.kernels.optimal`.
    """

    rows: int
    iterations: int
    unfinished: int
    most_iterations: int
    largest_residual: float

    def merged(self, other: "Optimality") -> "Optimality":
        """Of the rows of both."""
        sums = [own + theirs for own, theirs in zip(self[:3], other[:3], strict=True)]
        return Optimality(*sums, *map(max, self[3:], other[3:]))


Sums = TypeVar("Sums", Statistics, Evaluation, Optimality)


def merge(left: Sums, right: Sums) -> Sums:
    """The record of two disjoint sets of rows together. The arrays of ``left`` are reused for the result."""
    if isinstance(left, Optimality):
        return left.merged(right)
    return type(left)(*map(_add, left, right))


def _add(left: Any, right: Any) -> Any:
    return np.add(left, right, out=left) if isinstance(left, np.ndarray) else left + right
