"""Dense rows a few at a time, so that what is made of them stays in the cache of one core."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows

TILE = 2**18
"""Values of a tile."""


def tiles(rows: Rows, dtype: np.dtype[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Places and values, in ``dtype``, of some dense rows after the other; always the same for rows of one shape."""
    step = max(TILE // rows.shape[1], 1)
    for start in range(0, rows.shape[0], step):
        place = slice(start, min(start + step, rows.shape[0]))
        yield place, rows[place].astype(dtype, copy=False)
