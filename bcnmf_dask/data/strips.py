"""Rows of a stored matrix that are read again and again, front to back, without any of it being held whole.

Blocks seldom end where stored chunks do. What is left of a chunk goes into the next block, and what a strip shares
with the next one is kept: so each pass reads each stored chunk once, over all strips of a store.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, csr_of

MOST_KEPT = 2**20
"""Values; the end of a strip in a chunk that reaches beyond it is kept up to this size, else read each time."""

Parts = tuple[NDArray[Any], ...]
"""The arrays that rows are stored as."""


class Strip(Protocol):
    """Some rows of an open matrix."""

    def parts(self, bounds: Sequence[int]) -> Iterator[Parts]:
        """What is stored of the rows between any two neighbours of the rising ``bounds``, read as it is taken."""

    def rows(self, parts: Parts, start: int, stop: int) -> Rows:
        """The rows ``start:stop`` made of their parts; ValueError if these contradict each other."""


class Values:
    """Places ``first:last`` of the first axis of a chunked array.

    Parameters
    ----------
    array : array
        NumPy, HDF5 or Zarr.
    first, last : int
    """

    def __init__(self, array: Any, first: int, last: int) -> None:
        chunks = getattr(array, "chunks", None)
        self._array = array
        self._chunk = int(chunks[0]) if chunks else 1
        self._length = int(array.shape[0])
        whole = last if last == self._length else last // self._chunk * self._chunk
        self._kept_from = max(whole, first) if last - whole <= MOST_KEPT else last
        self._last = last
        self._kept: NDArray[Any] | None = None

    def between(self, bounds: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Values between any two neighbours of the rising ``bounds``."""
        at, carried = int(bounds[0]), self._array[0:0]
        for _, stop in pairwise(map(int, bounds)):
            pieces = [carried]
            while at < stop:
                piece, at = self._next(at, stop)
                pieces.append(piece)
            end = len(pieces[-1]) - (at - stop)
            carried, pieces[-1] = pieces[-1][end:], pieces[-1][:end]
            yield _joined([piece for piece in pieces if len(piece)] or [carried[:0]])

    def _next(self, at: int, stop: int) -> tuple[NDArray[Any], int]:
        """Values from ``at`` to the end of the chunk that holds ``stop - 1``, or as far as they are of one kind."""
        if at >= self._kept_from:
            if self._kept is None:
                self._kept = np.array(self._array[self._kept_from : self._last])
            return self._kept[at - self._kept_from :], self._last
        end = min(-(-stop // self._chunk) * self._chunk, self._kept_from)
        return self._array[at:end], end


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    (first, *others) = pieces
    # A part of something larger is copied, so that blocks that stay do not keep the rest of it.
    alone = not others and (first.base is None or first.base.size == first.size)
    return first if alone else np.concatenate(pieces)


class DenseStrip:
    """See `Strip`: rows of a dense array."""

    def __init__(self, array: Any, start: int, stop: int) -> None:
        self._values = Values(array, start, stop)

    def parts(self, bounds: Sequence[int]) -> Iterator[Parts]:
        """See `Strip.parts`."""
        for values in self._values.between(bounds):
            yield (np.asarray(values),)

    def rows(self, parts: Parts, start: int, stop: int) -> Rows:  # noqa: ARG002
        """See `Strip.rows`."""
        return parts[0]


class CsrStrip:
    """See `Strip`: rows of a CSR matrix whose row pointers are in memory."""

    def __init__(
        self, data: Any, indices: Any, indptr: NDArray[np.int64], n_features: int, start: int, stop: int
    ) -> None:
        first, last = int(indptr[start]), int(indptr[stop])
        self._data, self._indices = Values(data, first, last), Values(indices, first, last)
        self._indptr, self._n_features = indptr, n_features

    def parts(self, bounds: Sequence[int]) -> Iterator[Parts]:
        """See `Strip.parts`."""
        places = self._indptr[np.asarray(bounds)]
        yield from zip(self._data.between(places), self._indices.between(places), strict=True)

    def rows(self, parts: Parts, start: int, stop: int) -> Rows:
        """See `Strip.rows`; columns come sorted."""
        data, indices = parts
        return sorted_rows(data, indices, self._indptr, self._n_features, start, stop)


def sorted_rows(
    data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[np.int64], n_features: int, start: int, stop: int
) -> sp.csr_array:
    """Rows ``start:stop`` of a CSR matrix of which ``data`` and ``indices`` were read.

    Raises
    ------
    ValueError
        If the parts contradict each other.
    """
    kind = np.int64 if indices.dtype.itemsize > 4 else np.int32  # one for both, as SciPy wants
    pointers = (indptr[start : stop + 1] - indptr[start]).astype(kind)
    rows = csr_of(data, indices.astype(kind, copy=False), pointers, n_features)
    rows.check_format(full_check=True)
    rows.sort_indices()
    # A lost chunk of a Zarr array reads as zeros, so lost column numbers show as repeated ones.
    if not rows.has_canonical_format:
        raise ValueError(f"a row among {start} to {stop} stores the same feature more than once")
    return rows
