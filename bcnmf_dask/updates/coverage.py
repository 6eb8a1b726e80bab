"""Sums of the visit that closes a fit: what it explains of some rows, and which features they have."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_sparse, parts_of, to_host
from bcnmf_dask.kernels import coverage
from bcnmf_dask.updates.rows import rows_to_host

VALUES_AT_ONCE = 2**20
"""Of dense rows, whose reconstruction is a temporary."""


class Coverage(NamedTuple):
    """Sums over rows of one role.

    Attributes
    ----------
    overlap : float
        Over all entries, of the smaller of value and reconstruction: the amount of data that is explained.
    feature_sums : ndarray (n_features,), float64
        Of the values of each feature.
    feature_rows : ndarray (n_features,), float64
        Rows in which each feature has a positive value.
    """

    overlap: float
    feature_sums: NDArray[np.float64]
    feature_rows: NDArray[np.float64]


def cover(rows: Rows, usages: NDArray[Any], basis: NDArray[np.float64]) -> Coverage:
    """The sums of ``rows`` at finished factors, on the host wherever the rows are.

    Parameters
    ----------
    rows : dense or CSR rows (n_rows, n_features)
    usages : array (n_rows, n_components)
    basis : ndarray (n_features, n_components), float64
    """
    rows = rows_to_host(rows)
    usages, basis = to_host(usages).astype(np.float64), np.ascontiguousarray(basis)
    if is_sparse(rows):
        sums, positive = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
        coverage.count_features(parts_of(rows), sums, positive)
        return Coverage(coverage.sum_overlap(parts_of(rows), usages, basis), sums, positive)
    overlap, step = 0.0, max(1, VALUES_AT_ONCE // rows.shape[1])
    for start in range(0, rows.shape[0], step):
        overlap += float(np.minimum(rows[start : start + step], usages[start : start + step] @ basis.T).sum())
    return Coverage(overlap, rows.sum(axis=0, dtype=np.float64), np.count_nonzero(rows > 0, axis=0).astype(np.float64))
