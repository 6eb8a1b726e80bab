"""Usages that minimise the divergence of each row at a fixed basis, wherever the rows are: they are solved on the host.

With the floor of the reconstruction as part of the model both problems are convex. A row's answer depends on no other
row and on no start that was drawn.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, csr_of, is_sparse, parts_of, to_device
from bcnmf_dask.kernels import optimal
from bcnmf_dask.kernels.lanes import width_of
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.rows import rows_to_host
from bcnmf_dask.updates.statistics import Optimality
from bcnmf_dask.updates.tiles import tiles


class Optimum(NamedTuple):
    """What the usages of each row go through in a visit that fits them entirely.

    Attributes
    ----------
    tolerance : float
        Residual (see `bcnmf_dask.kernels.optimal`) at which a row is done.
    max_iter : int
        Newton steps of a row at most.
    """

    tolerance: float = 1e-6
    max_iter: int = 200


Solve = Callable[[Rows, NDArray[Any], Any], None]
"""Fills in usages of CSR rows of the host, and what is to be reported of each row."""


def minimise_kullback_leibler(rows: Rows, basis: Basis, optimum: Optimum) -> tuple[NDArray[Any], Optimality]:
    """The minimisers of the generalised Kullback-Leibler divergence, the floor part of the reconstruction.

    Parameters
    ----------
    rows : ndarray, csr_array or their likes on a device (n, n_features)
    basis : Basis
    optimum : Optimum

    Returns
    -------
    usages : ndarray (n, n_components)
        In the dtype of the basis, where the rows are.
    optimality : Optimality
    """
    exact, highest = basis.exact, basis.exact.highest

    def solve(csr: Rows, usages: NDArray[Any], report: Any) -> None:
        given = exact.wide_lanes, exact.sums, exact.floor, highest, (optimum.tolerance, optimum.max_iter)
        optimal.fit_kullback_leibler(parts_of(csr), *given, usages, report, width_of(exact.wide_lanes))

    return _solve_rows(rows, basis, optimum, solve)


def minimise_frobenius(rows: Rows, basis: Basis, optimum: Optimum) -> tuple[NDArray[Any], Optimality]:
    """The minimisers of the sum of squared residuals; see `minimise_kullback_leibler`. There is no floor."""
    exact, squares = basis.exact, np.ascontiguousarray(np.diag(basis.exact.gram))

    def solve(csr: Rows, usages: NDArray[Any], report: Any) -> None:
        lanes = exact.wide_lanes
        optimal.fit_frobenius(parts_of(csr), lanes, exact.wide_gram_lanes, squares, usages, report, width_of(lanes))

    return _solve_rows(rows, basis, optimum, solve)


def _solve_rows(rows: Rows, basis: Basis, optimum: Optimum, solve: Solve) -> tuple[NDArray[Any], Optimality]:
    here = rows_to_host(rows)
    usages = np.empty((here.shape[0], basis.values.shape[1]))
    steps, residuals = np.zeros(len(usages), np.int64), np.zeros(len(usages))
    for place, csr in _as_csr(here, basis.dtype):
        solve(csr, usages[place], (steps[place], residuals[place]))
    unfinished = int(np.count_nonzero(~(residuals <= optimum.tolerance)))
    most = int(steps.max(initial=0)), float(residuals.max(initial=0.0))
    rounded = usages.astype(basis.dtype, copy=False)
    return (rounded if here is rows else to_device(rounded)), Optimality(
        len(usages), int(steps.sum()), unfinished, *most
    )


def _as_csr(rows: Rows, dtype: np.dtype[Any]) -> Iterator[tuple[slice, Rows]]:
    """Rows of the host as CSR of one type, for which alone the kernels are compiled; dense ones a few at a time.

    Values are rounded to the dtype of the basis, so that it is the same in which type they are held.
    """
    if is_sparse(rows):
        yield slice(None), _of_one_type(rows, dtype)
    else:
        for place, values in tiles(rows, dtype):
            yield place, _of_one_type(sp.csr_array(values), dtype)


def _of_one_type(csr: Rows, dtype: np.dtype[Any]) -> Rows:
    indptr, indices, data = parts_of(csr)
    data = data.astype(dtype, copy=False)
    pointers, places = (part.astype(np.int64, copy=False) for part in (indptr, indices))
    return csr_of(data.astype(np.float64, copy=False), places, pointers, csr.shape[1])
