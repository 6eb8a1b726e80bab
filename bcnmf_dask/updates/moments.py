"""Sums over all rows of a side that need no factors, and what follows from them in closed form."""

import math
import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Moments(NamedTuple):
    """Sums over the rows of one role. Those of two disjoint sets of rows add up to those of both.

    Attributes
    ----------
    n_rows : int
    zero_rows : int
        Rows without a positive value.
    positive : int
        Values above zero.
    fractional : int
        Values that are not integers.
    total : float
        The sum of all values.
    squares : float
        The sum of their squares.
    value_logs : float
        The sum of ``x log x`` over all values, 0 for 0.
    row_logs : float
        The sum of ``t log t`` over the totals ``t`` of rows, 0 for 0.
    row_squares : float
        The sum of ``t**2`` over the totals of rows.
    feature_sums : ndarray (n_features,), float64
        The sum of each feature.
    """

    n_rows: int
    zero_rows: int
    positive: int
    fractional: int
    total: float
    squares: float
    value_logs: float
    row_logs: float
    row_squares: float
    feature_sums: NDArray[np.float64]


def both(left: Moments, right: Moments) -> Moments:
    """The moments of two disjoint sets of rows together, in fresh arrays."""
    return Moments(*map(operator.add, left, right))


def mean_profile(moments: Moments) -> NDArray[np.float64]:
    """The mean of all rows, (n_features,)."""
    return moments.feature_sums / moments.n_rows


def kullback_leibler_deviance(moments: Moments) -> float:
    """The Kullback-Leibler divergence of rows from their best model of rank one.

    With row totals ``t``, feature sums ``s`` and their common sum ``N``, that model is ``t s / N``: every row a
    multiple of the mean profile. Its divergence is
    ``sum(x log x) - sum(t log t) - sum(s log s) + N log N``, half the deviance of independence; never below 0.
    """
    filled = moments.feature_sums[moments.feature_sums > 0]
    if not filled.size:
        return 0.0
    feature_logs = float(filled @ np.log(filled))
    all_logs = moments.total * math.log(moments.total)
    return max(moments.value_logs - moments.row_logs - feature_logs + all_logs, 0.0)
