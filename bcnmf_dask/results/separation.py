"""How well usages tell target rows from background rows: the area under the receiver operating characteristic.

That is the probability that a row of the target, drawn at random, has more of a component than one of the background;
rows with as much count half.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import to_host

EXACT_BYTES = 2**30
"""Usages of both sides up to which they are sorted in the memory of this process."""
PIECE_ROWS = 2**20
"""Rows that are counted at once where there are more."""
BIN_BITS = 18
"""Of a float32, so many are left out: bins are an eighth of a power of two, an eighth of that and so on: 3 % wide."""
N_BINS = 2 ** (31 - BIN_BITS)


class Separation(NamedTuple):
    """Areas under the curve.

    Attributes
    ----------
    auroc : ndarray (n_components,), float64
        nan without a background, or without rows on a side.
    error : float
        What no area is off by more; 0 where they are exact.
    """

    auroc: NDArray[np.float64]
    error: float


def separate(target: Any, background: Any | None, exact_bytes: int = EXACT_BYTES) -> Separation:
    """The separation of two sides by each component.

    Parameters
    ----------
    target, background : array (n rows, n_components)
        NumPy, CuPy, or a lazy Dask array; no background is None.
    exact_bytes : int
        Above, usages are counted in bins, a piece of rows at a time.
    """
    n_components = target.shape[1]
    if background is None or not len(target) or not len(background):
        return Separation(np.full(n_components, np.nan), 0.0)
    if target.nbytes + background.nbytes > exact_bytes:
        return _of_counts(_counts(target), _counts(background))
    left, right = (np.asarray(to_host(usages)) for usages in (target, background))
    columns = [auroc(left[:, one], right[:, one]) for one in range(n_components)]
    return Separation(np.array(columns), 0.0)


def auroc(positive: NDArray[Any], negative: NDArray[Any]) -> float:
    """The exact area for two samples of one quantity, by counting for each of ``positive`` what lies below it."""
    ordered = np.sort(negative)
    below, not_above = (int(np.searchsorted(ordered, positive, side).sum()) for side in ("left", "right"))
    return (below + not_above) / (2.0 * len(positive) * len(negative))


def _pieces(usages: Any) -> Iterator[NDArray[Any]]:
    for start in range(0, len(usages), PIECE_ROWS):
        yield np.asarray(to_host(usages[start : start + PIECE_ROWS]))


def _counts(usages: Any) -> NDArray[np.int64]:
    """Rows in each bin (n_components, N_BINS); bits of non-negative floats rise with their value."""
    counts = np.zeros((usages.shape[1], N_BINS), np.int64)
    for piece in _pieces(usages):
        bins = np.ascontiguousarray(piece.T, dtype=np.float32).view(np.uint32) >> BIN_BITS
        for line, found in zip(counts, bins, strict=True):
            line += np.bincount(found, minlength=N_BINS)
    return counts


def _of_counts(positive: NDArray[np.int64], negative: NDArray[np.int64]) -> Separation:
    """Areas as if all rows of a bin had as much; what they can be off by is half of the pairs that share one."""
    left, right = (counts / counts.sum(axis=1, keepdims=True) for counts in (positive, negative))
    below = np.cumsum(right, axis=1) - right
    shared = (left * right).sum(axis=1)
    return Separation((left * below).sum(axis=1) + 0.5 * shared, float(0.5 * shared.max(initial=0.0)))
