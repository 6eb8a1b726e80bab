"""Random starts that do not depend on how rows are cut, and the normalisation of the basis."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, column_sums
from bcnmf_dask.updates.rows import row_sums
from bcnmf_dask.updates.statistics import ROLES, Role

_BASIS_STREAM = len(ROLES)
_NUMBERS_PER_COUNT = 4  # a Philox counter yields four 64-bit numbers


def draw_usages(seed: int, role: Role, start: int, stop: int, n_components: int) -> NDArray[np.float64]:
    """Start usages of rows ``start:stop`` of a role, uniform in [0, 1), shape (stop - start, n_components).

    A row's numbers depend on the seed, the role and the row's place in the role alone, so any worker can
    draw any rows and gets the same.
    """
    return _draw(seed, ROLES.index(role), start, stop, n_components)


def draw_basis(seed: int, n_features: int, n_components: int) -> NDArray[np.float64]:
    """Start basis, uniform in [0, 1), shape (n_features, n_components)."""
    return _draw(seed, _BASIS_STREAM, 0, n_features, n_components)


def _draw(seed: int, stream: int, start: int, stop: int, width: int) -> NDArray[np.float64]:
    counts_per_row = -(-width // _NUMBERS_PER_COUNT)
    key = np.random.SeedSequence([seed, stream]).generate_state(2, np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=start * counts_per_row))
    numbers = generator.random((stop - start, counts_per_row * _NUMBERS_PER_COUNT))
    return np.ascontiguousarray(numbers[:, :width])


def even_usages(rows: Rows, basis: NDArray[Any]) -> NDArray[Any]:
    """Usages that share the sum of each row evenly among the components, in the dtype of the basis.

    Where the columns of the basis sum to one, the reconstruction has the right size from the start.
    """
    n_components = basis.shape[1]
    return np.repeat(row_sums(rows, basis.dtype)[:, None] / n_components, n_components, axis=1).astype(basis.dtype)


def normalise(basis: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The basis with columns that sum to one, and the sums that the usages must be multiplied by.

    Changes no reconstruction: the updates of the contrast are scale-invariant per component. Without it
    factors drift to over- and underflow. A zero column is left alone, with scale one.
    """
    sums = column_sums(basis)
    scales = np.where(sums > 0, sums, 1.0)
    return basis / scales, scales
