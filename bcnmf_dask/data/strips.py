"""Rows of a stored matrix that are read again and again, front to back, without any of it being held whole.

Blocks seldom end where stored chunks do. What is left of a chunk goes into the next block, at the end of a strip into
the next strip of this process; and a strip that begins within a chunk another process reads keeps its part of it. So
each pass reads each stored chunk once, over all strips of a store.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, csr_of
from bcnmf_dask.data.matrices import sparse_dtype

Leftovers = dict[int, NDArray[Any]]
"""What was read of an array beyond the end of a strip, by where it begins; at most one piece."""

Parts = tuple[NDArray[Any], ...]
"""The arrays that rows are stored as."""


class Strip(Protocol):
    """Some rows of an open matrix."""

    def parts(self, bounds: Sequence[int]) -> Iterator[Parts]:
        """What is stored of the rows between any two neighbours of the rising ``bounds``, read as it is taken."""

    def rows(self, parts: Parts, start: int, stop: int) -> Rows:
        """The rows ``start:stop`` made of their parts; ValueError if these contradict each other."""


class Values:
    """Places from ``first`` on of the first axis of a chunked array.

    Parameters
    ----------
    array : array
        NumPy, HDF5 or Zarr.
    first : int
        Where passes from the front begin.
    leftovers : Leftovers
        Shared by all that read this array in this process.
    """

    def __init__(self, array: Any, first: int, leftovers: Leftovers) -> None:
        chunks = getattr(array, "chunks", None)
        self._array = array
        self._chunk = int(chunks[0]) if chunks else 1
        self._first = first
        self._leftovers = leftovers
        self._head: NDArray[Any] | None = None

    def between(self, bounds: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Values between any two neighbours of the rising ``bounds``."""
        carried = self._begin(int(bounds[0]))
        at = int(bounds[0]) + len(carried)
        for _, stop in pairwise(map(int, bounds)):
            pieces = [carried]
            if at < stop:
                pieces.append(self._array[at : self._end_of_chunk(stop)])
                at += len(pieces[-1])
            end = len(pieces[-1]) - (at - stop)
            carried, pieces[-1] = pieces[-1][end:], pieces[-1][:end]
            values = _joined([piece for piece in pieces if len(piece)] or [carried[:0]])
            if len(carried) < len(values):  # else many blocks lie in one chunk
                carried = np.array(carried)
            del pieces  # not to be held while others read
            yield values
            del values
        self._leftovers.clear()
        self._leftovers[int(bounds[-1])] = np.array(carried)

    def _begin(self, first: int) -> NDArray[Any]:
        """What is at hand of the chunk in which a pass begins."""
        if first != self._first or first % self._chunk == 0:
            return np.asarray(self._array[0:0])
        left = self._leftovers.pop(first, None)
        if left is not None and len(left):
            self._head = None
            return left
        if self._head is None:
            self._head = np.array(self._array[first : self._end_of_chunk(first)])
        return self._head.copy()  # rows are sorted in place

    def _end_of_chunk(self, place: int) -> int:
        return min(-(-place // self._chunk) * self._chunk, int(self._array.shape[0]))


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    (first, *others) = pieces
    # A part of something larger is copied, so that blocks that stay do not keep the rest of it.
    alone = not others and (first.base is None or first.base.size == first.size)
    return first if alone else np.concatenate(pieces)


class DenseStrip:
    """See `Strip`: rows of a dense array."""

    def __init__(self, array: Any, leftovers: Leftovers, start: int) -> None:
        self._values = Values(array, start, leftovers)

    def parts(self, bounds: Sequence[int]) -> Iterator[Parts]:
        """See `Strip.parts`."""
        for values in self._values.between(bounds):
            yield (np.asarray(values),)

    def rows(self, parts: Parts, start: int, stop: int) -> Rows:  # noqa: ARG002
        """See `Strip.rows`."""
        return parts[0]


class CsrStrip:
    """See `Strip`: rows of a CSR matrix.

    Parameters
    ----------
    data, indices : (array, Leftovers)
    indptr : int64 array
        In memory.
    n_features, start : int
    """

    def __init__(
        self,
        data: tuple[Any, Leftovers],
        indices: tuple[Any, Leftovers],
        indptr: NDArray[np.int64],
        n_features: int,
        start: int,
    ) -> None:
        first = int(indptr[start])
        self._data, self._indices = (Values(array, first, leftovers) for array, leftovers in (data, indices))
        self._indptr, self._n_features = indptr, n_features

    def parts(self, bounds: Sequence[int]) -> Iterator[Parts]:
        """See `Strip.parts`."""
        places = self._indptr[np.asarray(bounds)]
        indices = self._indices.between(places)
        for data in self._data.between(places):
            yield data, next(indices)
            del data
        next(indices, None)  # to its end, where it leaves what it has read of the next strip

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
    kind = np.int32 if max(n_features, len(indices)) < 2**31 else np.int64  # one for both, as SciPy wants
    columns, pointers = indices.astype(kind, copy=False), (indptr[start : stop + 1] - indptr[start]).astype(kind)
    if columns is not indices and (columns != indices).any():  # cut short, they could pass for others
        raise ValueError(f"a row among {start} to {stop} stores a feature beyond the {n_features} there are")
    rows = csr_of(data.astype(sparse_dtype(data.dtype), copy=False), columns, pointers, n_features)
    rows.check_format(full_check=True)
    rows.sort_indices()
    # A lost chunk of a Zarr array reads as zeros, so lost column numbers show as repeated ones.
    if not rows.has_canonical_format:
        raise ValueError(f"a row among {start} to {stop} stores the same feature more than once")
    return rows
