"""Matrices whose rows can be sliced: the protocol, and the two kinds that are already somewhere in memory.

Files are in :mod:`bcnmf_dask.data.stored`. Nothing below this module cares where rows come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask.base import compute
from dask.delayed import Delayed
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, holds_stored_values, is_sparse, slice_rows
from bcnmf_dask.data.matrices import as_declared, check_chunks, check_matrix, refuse_other_sparse
from bcnmf_dask.errors import InputError

Cuts = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows where reading may cheaply start or stop, and the number of stored values before each."""


class Source(Protocol):
    """Rows of one matrix that can be sliced."""

    @property
    def location(self) -> str | None:
        """The path as the user gave it; None for what lies in memory and for Dask arrays."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, features)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values as stored: boolean, integer or real."""

    @property
    def sparse(self) -> bool:
        """Whether ``read`` returns CSR rows."""

    def cuts(self) -> Cuts:
        """Rows where reading may cheaply start or stop, and the stored values before each.

        Returns
        -------
        rows, values : ndarray of int64
            ``rows`` rises from 0 to the number of rows; ``values`` begins with 0 and never falls.
        """

    def read(self, start: int, stop: int) -> Rows:
        """Rows ``start:stop`` as stored: a NumPy array or a ``scipy.sparse.csr_array``."""


@dataclass(frozen=True)
class MemorySource:
    """A NumPy or CSR array in this process; ``read`` returns views of it.

    Attributes
    ----------
    rows : ndarray or csr_array (rows, features)
    location : str or None
        Where the rows were read from, for messages.
    """

    rows: Rows
    location: str | None = None

    def __post_init__(self) -> None:
        check_matrix(self.rows.shape, self.rows.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, features)."""
        return self.rows.shape[0], self.rows.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        dtype: np.dtype[Any] = self.rows.dtype
        return dtype

    @property
    def sparse(self) -> bool:
        """Whether the rows are CSR."""
        return is_sparse(self.rows)

    def cuts(self) -> Cuts:
        """Every row; see :meth:`Source.cuts`."""
        if is_sparse(self.rows):
            return np.arange(self.shape[0] + 1), self.rows.indptr.astype(np.int64)
        return dense_cuts(self.shape, every=1)

    def read(self, start: int, stop: int) -> Rows:
        """Rows ``start:stop`` as a view; see :meth:`Source.read`."""
        return slice_rows(self.rows, start, stop)


@dataclass(frozen=True)
class DaskSource:
    """A Dask array of NumPy, CSR or CuPy blocks, each holding whole rows.

    Attributes
    ----------
    array : dask.array.Array (rows, features)
    """

    array: da.Array

    location = None

    def __post_init__(self) -> None:
        check_chunks(self.array)
        check_matrix(self.array.shape, self.array.dtype)
        refuse_other_sparse(self.array._meta)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, features)."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the Dask array declares it."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def sparse(self) -> bool:
        """Whether the blocks are CSR, as the Dask array declares."""
        return holds_stored_values(self.array._meta)

    def cuts(self) -> Cuts:
        """The chunk boundaries, every value of a row counted; see :meth:`Source.cuts`."""
        rows = np.unique(self._bounds)
        return rows, rows * self.shape[1]

    def blocks(self, start: int, stop: int) -> list[Delayed]:
        """The chunks that cover exactly rows ``start:stop``, in order; both must be cuts.

        A task that takes them as arguments receives the blocks as they lie in the array: CSR as matrix or
        array.
        """
        first, last = np.searchsorted(self._bounds, [start, stop])
        return self._chunks[first:last]

    def read(self, start: int, stop: int) -> Rows:
        """Rows ``start:stop``, computed by threads of this process from the chunks they touch.

        Raises
        ------
        InputError
            If the chunks are not what the array declares, or lie on a cluster.
        """
        self._refuse_remote()
        first = min(int(np.searchsorted(self._bounds, start, side="right")), len(self._chunks)) - 1
        last = max(int(np.searchsorted(self._bounds, stop, side="left")), first + 1)
        computed = compute(*self._chunks[first:last], scheduler="threads")
        offset = int(self._bounds[first])
        blocks = as_declared(computed, (int(self._bounds[last]) - offset, self.shape[1]))
        return slice_rows(stack(blocks), start - offset, stop - offset)

    def _refuse_remote(self) -> None:
        if self._remote:
            raise InputError(
                "got a persisted Dask array, which lies on a cluster; this process cannot compute it. Give "
                "client=<the client of that cluster>, or bring it here first with .compute()."
            )

    @cached_property
    def _remote(self) -> bool:
        """Whether any chunk is made from what a cluster holds."""
        # By name: only the engine may know Dask's clusters.
        return any(type(task).__name__ == "Future" for task in dict(self.array.__dask_graph__()).values())

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        return np.cumsum([0, *self.array.chunks[0]], dtype=np.int64)

    @cached_property
    def _chunks(self) -> list[Delayed]:
        return list(self.array.to_delayed().ravel())


def stack(blocks: Sequence[Rows]) -> Rows:
    """Blocks of the same kind under one another."""
    if len(blocks) == 1:
        return blocks[0]
    return sp.vstack(blocks, format="csr") if is_sparse(blocks[0]) else np.concatenate(blocks)


def dense_cuts(shape: tuple[int, int], every: int) -> Cuts:
    """Cuts of a dense matrix that can be entered each ``every`` rows."""
    n_rows, n_features = shape
    rows = np.append(np.arange(0, n_rows, every), n_rows).astype(np.int64)
    return rows, rows * n_features
