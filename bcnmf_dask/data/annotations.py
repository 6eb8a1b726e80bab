"""What is known about each row or each feature of a matrix: a name, and columns of labels.

One form for `obs` and `var` of an AnnData (in memory or on disk), the coordinates of a DataArray and the
index of a DataFrame. Names that nobody gave (pandas' default 0, 1, 2, ...) count as no names.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import anndata
import anndata.io
import h5py
import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.locations import Stamp, shown, stamp_of
from bcnmf_dask.data.patience import patiently
from bcnmf_dask.data.stored import open_element
from bcnmf_dask.data.wording import shortened
from bcnmf_dask.errors import InputError

Names = NDArray[np.object_]


class Annotation(Protocol):
    """Names and columns along one axis of a matrix."""

    @property
    def named(self) -> bool:
        """Whether there are names."""

    def names(self, start: int, stop: int) -> Names:
        """Names ``start:stop`` as an object array of str."""

    def index(self) -> "Annotation":
        """The names alone, which no later change of the columns or of the AnnData they came from can reach."""

    def columns(self) -> list[str]:
        """The columns there are."""

    def column(self, key: str) -> "pd.Series[Any]":
        """The values of one of them."""

    def is_categorical(self, key: str) -> bool:
        """Whether one of them holds a few labels, and for each row which."""

    def whole(self) -> pd.DataFrame:
        """All columns, and the names as index."""


@dataclass(frozen=True, eq=False)
class FrameAnnotation:
    """An annotation held as a pandas DataFrame, its index the names."""

    frame: pd.DataFrame

    @property
    def named(self) -> bool:
        """Whether the index is more than pandas' default."""
        return not isinstance(self.frame.index, pd.RangeIndex)

    def names(self, start: int, stop: int) -> Names:
        """See :meth:`Annotation.names`."""
        return as_names(self.frame.index[start:stop])

    def index(self) -> Annotation:
        """See :meth:`Annotation.index`."""
        return FrameAnnotation(pd.DataFrame(index=self.frame.index))

    def columns(self) -> list[str]:
        """See :meth:`Annotation.columns`."""
        return [str(column) for column in self.frame.columns]

    def column(self, key: str) -> "pd.Series[Any]":
        """See :meth:`Annotation.column`."""
        return self.frame.iloc[:, self.columns().index(key)]  # names may be no text, or occur twice

    def is_categorical(self, key: str) -> bool:
        """See :meth:`Annotation.is_categorical`."""
        return isinstance(self.column(key).dtype, pd.CategoricalDtype)

    def whole(self) -> pd.DataFrame:
        """See :meth:`Annotation.whole`."""
        return self.frame


@dataclass(frozen=True)
class StoredAnnotation:
    """``obs`` or ``var`` of an AnnData on disk, of which only what is asked for is read.

    Attributes
    ----------
    path : str
        Absolute, or a URL.
    element : {"obs", "var"}
    stamp : Stamp
        Of its names as they were at first: those of a store that took its place belong to other rows.
    """

    path: str
    element: str
    stamp: Stamp

    named = True

    def names(self, start: int, stop: int) -> Names:
        """See :meth:`Annotation.names`; waits for a store that is out of reach, as a long fit asks for them last."""
        return patiently(self.path, lambda: self._names(start, stop))

    def _names(self, start: int, stop: int) -> Names:
        with reading(shown(self.path)):
            frame = self._open()
            if _stamp(self.path, self.element, frame) != self.stamp:
                raise InputError(
                    f"{shown(self.path)!r} has changed since it was first opened: its {self.element} may name others "
                    "now. Leave a store alone while it is in use."
                )
            return as_names(_strings(frame[frame.attrs["_index"]])[start:stop])

    def index(self) -> Annotation:
        """See :meth:`Annotation.index`: it holds nothing else."""
        return self

    def columns(self) -> list[str]:
        """See :meth:`Annotation.columns`."""
        with reading(shown(self.path)):
            return [str(column) for column in self._open().attrs["column-order"]]

    def column(self, key: str) -> "pd.Series[Any]":
        """See :meth:`Annotation.column`."""
        with reading(shown(self.path)):
            return pd.Series(anndata.io.read_elem(self._open()[key]))

    def is_categorical(self, key: str) -> bool:
        """See :meth:`Annotation.is_categorical`."""
        with reading(shown(self.path)):
            return bool(self._open()[key].attrs.get("encoding-type") == "categorical")

    def whole(self) -> pd.DataFrame:
        """See :meth:`Annotation.whole`."""
        with reading(shown(self.path)):
            frame: pd.DataFrame = anndata.io.read_elem(self._open())
            return frame

    def _open(self) -> Any:
        return open_element(self.path, self.element)


def stored_annotation(path: str, element: str) -> Annotation:
    """``obs`` or ``var`` of the AnnData at the absolute ``path``; read whole if older than AnnData 0.8."""
    with reading(shown(path)):
        frame = open_element(path, element)
        if frame.attrs.get("encoding-version") == "0.2.0":
            return StoredAnnotation(path, element, _stamp(path, element, frame))
        if not isinstance(frame, h5py.Dataset):
            return FrameAnnotation(anndata.io.read_elem(frame))
        # Before AnnData 0.7 it was one compound array, which only read_h5ad knows how to translate.
        return FrameAnnotation(getattr(anndata.read_h5ad(path, backed="r"), element))


def _stamp(path: str, element: str, frame: Any) -> Stamp:
    return stamp_of(path, f"{element}/{frame.attrs['_index']}")


def _strings(index: Any) -> Any:
    """Something that slices to the stored names; read whole only where AnnData stores more than one array."""
    if isinstance(index, h5py.Group | zarr.Group):
        return anndata.io.read_elem(index)
    return index.asstr() if isinstance(index, h5py.Dataset) else index


def as_names(values: Any) -> Names:
    """``values`` as an object array of str."""
    names: Names = np.empty(len(values), dtype=object)
    names[:] = [str(value) for value in values]
    return names


@dataclass(frozen=True, eq=False)
class RowNames:
    """Names of the rows of one role, read when asked for.

    Attributes
    ----------
    annotation : Annotation
        Of all rows of the store.
    rows : ndarray of int64
        Positions in the store of the role's rows, rising; None if all rows have the role.
    n_rows : int
        The number of rows of the role.
    """

    annotation: Annotation
    rows: NDArray[np.int64] | None
    n_rows: int

    def __len__(self) -> int:
        return self.n_rows

    def read(self, start: int, stop: int) -> Names:
        """Names of the role's rows ``start:stop``, an object array of str."""
        if self.rows is None:
            return self.annotation.names(start, stop)
        rows = self.rows[start:stop]
        if not rows.size:
            return as_names(())
        names: Names = self.annotation.names(rows[0], rows[-1] + 1)[rows - rows[0]]
        return names


def column_of(annotation: Annotation, key: str, argument: str) -> "pd.Series[Any]":
    """The column ``key``.

    Raises
    ------
    InputError
        Naming ``argument`` and the columns there are, if it is not one of them.
    """
    if key not in (columns := annotation.columns()):
        raise InputError(
            f"{argument}={key!r} is not a column of its annotation. The columns are: "
            f"{shortened(columns, 30) or 'none'}."
        )
    return annotation.column(key)
