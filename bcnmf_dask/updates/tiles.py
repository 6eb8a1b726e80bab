"""Dense rows a few at a time, so that what is made of them stays in the cache of one core."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_on_device
from bcnmf_dask.updates.dense import no_cross

TILE = 2**18
"""Values of a tile."""
TILE_ON_DEVICE = 2**25
"""Of rows on a device, where a tile only bounds the memory of what is made of it: as much as the largest shard has."""


def tiles(rows: Rows, dtype: np.dtype[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Places and values, in ``dtype``, of some dense rows after the other; always the same for rows of one shape."""
    step = max((TILE_ON_DEVICE if is_on_device(rows) else TILE) // rows.shape[1], 1)
    for start in range(0, rows.shape[0], step):
        place = slice(start, min(start + step, rows.shape[0]))
        yield place, rows[place].astype(dtype, copy=False)


Step = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""New usages of some rows, from their values and usages."""
Add = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], Any]
"""Adds what some values and usages give to a cross (n_features, n_components or more), and returns their data term."""


def step_tiles(rows: Rows, usages: NDArray[Any], step: Step) -> NDArray[Any]:
    """New usages of all rows."""
    new = np.empty_like(usages)
    for place, values in tiles(rows, usages.dtype):
        new[place] = step(values, usages[place])
    return new


def sum_tiles(rows: Rows, usages: NDArray[Any], add: Add) -> tuple[NDArray[Any], Any]:
    """The cross (n_features, n_components or more) and the data term of all rows."""
    cross, data_term = no_cross(rows, usages), 0.0
    for place, values in tiles(rows, usages.dtype):
        data_term += add(values, usages[place], cross)
    return cross, data_term


def sweep_tiles(rows: Rows, usages: NDArray[Any], step: Step, add: Add) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """`step_tiles`, then `sum_tiles` of the new usages, tile by tile."""
    new, cross, data_term = np.empty_like(usages), no_cross(rows, usages), 0.0
    for place, values in tiles(rows, usages.dtype):
        new[place] = step(values, usages[place])
        data_term += add(values, new[place], cross)
    return new, cross, data_term
