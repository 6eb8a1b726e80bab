"""Compressed sparse matrices by their stored values: CSR and CSC alike, sorted or not, wherever they lie."""

import os
from dataclasses import dataclass
from typing import Any, Protocol

import anndata.io
import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.elements import lines_of, open_element
from bcnmf_dask.data.handles import CsrRows, StoredRows, reading
from bcnmf_dask.data.locations import Location
from bcnmf_dask.data.matrices import whole_numbers
from bcnmf_dask.data.stored import AnnDataSource

Values = tuple[NDArray[Any], NDArray[Any]]
"""Stored values, and where in its line each stands."""


class Compressed(Protocol):
    """Lines (rows of a CSR matrix, features of a CSC matrix) of stored values, cut anywhere."""

    @property
    def by_row(self) -> bool:
        """Whether lines are rows."""

    @property
    def n_rows(self) -> int:
        """Rows of the matrix."""

    @property
    def n_features(self) -> int:
        """Features of the matrix."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values."""

    def pointers(self) -> NDArray[np.int64]:
        """Stored values before each line, and in all (lines + 1,)."""

    def values(self, first: int, last: int) -> Values:
        """Stored values ``first:last``."""


@dataclass(frozen=True, eq=False)
class MemoryCompressed:
    """One in this process.

    Attributes
    ----------
    matrix : csr or csc matrix or array
    """

    matrix: Any

    @property
    def by_row(self) -> bool:
        """See `Compressed`."""
        return bool(self.matrix.format == "csr")

    @property
    def n_rows(self) -> int:
        """See `Compressed`."""
        return int(self.matrix.shape[0])

    @property
    def n_features(self) -> int:
        """See `Compressed`."""
        return int(self.matrix.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `Compressed`."""
        dtype: np.dtype[Any] = self.matrix.dtype
        return dtype

    def pointers(self) -> NDArray[np.int64]:
        """See `Compressed.pointers`."""
        return np.asarray(self.matrix.indptr, dtype=np.int64)

    def values(self, first: int, last: int) -> Values:
        """See `Compressed.values`: views."""
        return self.matrix.data[first:last], self.matrix.indices[first:last]


class StoredCompressed(AnnDataSource):
    """One in an AnnData on disk; as a `Source` it would be a matrix of lines."""

    def __init__(self, location: Location, element: str) -> None:
        self.by_row = stored_format(location, element) == "csr"
        super().__init__(location, element)

    @property
    def n_rows(self) -> int:
        """See `Compressed`."""
        return self.shape[0 if self.by_row else 1]

    @property
    def n_features(self) -> int:
        """See `Compressed`."""
        return self.shape[1 if self.by_row else 0]

    def pointers(self) -> NDArray[np.int64]:
        """See `Compressed.pointers`."""
        return self.cuts()[1]

    def values(self, first: int, last: int) -> Values:
        """See `Compressed.values`.

        Raises
        ------
        InputError
            If they cannot be read.
        """
        with reading(self.location):
            rows = self._rows()
            assert isinstance(rows, CsrRows)
            return rows.data[first:last].astype(rows.dtype, copy=False), whole_numbers(rows.indices[first:last])

    def _open(self) -> StoredRows:
        element = open_element(self.path, self.element)
        n_rows, n_features = anndata.io.sparse_dataset(element).shape
        lines = (n_rows, n_features) if self.by_row else (n_features, n_rows)
        return lines_of(element, lines, self.element, self.location)


def stored_format(location: Location, element: str) -> str:
    """``"csr"``, ``"csc"``, or ``"dense"``: how an element of an AnnData on disk is stored."""
    with reading(os.fspath(location)):
        stored = open_element(os.fspath(location), element)
        if hasattr(stored, "shape"):
            return "dense"
        return str(anndata.io.sparse_dataset(stored).format)
