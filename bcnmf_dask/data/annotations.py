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

from bcnmf_dask.data.elements import open_element, refuse_unwritten
from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.locations import Stamp, is_url, shown, stamp_of
from bcnmf_dask.data.patience import patiently
from bcnmf_dask.data.wording import shortened
from bcnmf_dask.errors import InputError
from bcnmf_dask.kernels.checksum import checksum_of

Names = NDArray[np.object_]

SOME_NAMES = 1000
"""From either end of all names, that tell them from those of another store."""
INDEX_NAMES = ("_index", "index", "obs_names", "var_names", "row_names")
"""What the names of a table without attributes may be called."""


class Annotation(Protocol):
    """Names and columns along one axis of a matrix."""

    @property
    def named(self) -> bool:
        """Whether there are names."""

    def __len__(self) -> int:
        """How many there are, or would be."""

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

    def __len__(self) -> int:
        return len(self.frame)

    def names(self, start: int, stop: int) -> Names:
        """See :meth:`Annotation.names`."""
        try:
            return as_names(self.frame.index[start:stop])
        except UnicodeDecodeError as error:
            raise InputError(
                f"a name of the rows or features is {error.object!r}, which is not UTF-8. Give names as text: "
                "decode them in the encoding that they were written in."
            ) from error

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
        Of its names as they were at first: where it is the same, nothing has changed.
    proof : int
        Of how many names there were at first, and of some: those of a store that took its place belong to other rows.
    """

    path: str
    element: str
    stamp: Stamp
    proof: int

    named = True

    def __len__(self) -> int:
        with reading(shown(self.path)):
            frame = self._open()
            return _length(frame[as_text(frame.attrs["_index"])])

    def names(self, start: int, stop: int) -> Names:
        """See :meth:`Annotation.names`; waits for a store that is out of reach."""
        return patiently(self.path, lambda: self._names(start, stop))

    def _names(self, start: int, stop: int) -> Names:
        with reading(shown(self.path)):
            frame = self._open()
            same = _stamp(self.path, self.element, frame) == self.stamp
            if not same and _proof(frame, self.path) != self.proof:
                raise InputError(
                    f"{shown(self.path)!r} has changed since it was first opened: its {self.element} names others now. "
                    "Leave a store alone while it is in use."
                )
            return _names_of(frame, start, stop, shown(self.path))

    def index(self) -> Annotation:
        """See :meth:`Annotation.index`: it holds nothing else."""
        return self

    def columns(self) -> list[str]:
        """See :meth:`Annotation.columns`."""
        with reading(shown(self.path)):
            return [as_text(column) for column in self._open().attrs["column-order"]]

    def column(self, key: str) -> "pd.Series[Any]":
        """See :meth:`Annotation.column`."""
        with reading(shown(self.path)):
            stored = self._open()[key]
            refuse_unwritten(stored, f"{self.element}/{key}", shown(self.path))
            return pd.Series(anndata.io.read_elem(stored))

    def is_categorical(self, key: str) -> bool:
        """See :meth:`Annotation.is_categorical`."""
        with reading(shown(self.path)):
            return bool(self._open()[key].attrs.get("encoding-type") == "categorical")

    def whole(self) -> pd.DataFrame:
        """See :meth:`Annotation.whole`."""
        with reading(shown(self.path)):
            stored = self._open()
            refuse_unwritten(stored, self.element, shown(self.path))
            frame: pd.DataFrame = anndata.io.read_elem(stored)
            return frame

    def _open(self) -> Any:
        return open_element(self.path, self.element)


def stored_annotation(path: str, element: str) -> Annotation:
    """``obs`` or ``var`` of the AnnData at the absolute ``path``; read whole if not as AnnData has it since 0.8.

    Raises
    ------
    InputError
        If it, or the names in it, cannot be read.
    """
    with reading(shown(path)):
        frame = open_element(path, element)
        if frame.attrs.get("encoding-version") == "0.2.0":
            return StoredAnnotation(path, element, _stamp(path, element, frame), _proof(frame, path))
        refuse_unwritten(frame, element, shown(path))
        if isinstance(frame, h5py.Dataset | zarr.Array):
            # Before AnnData 0.7 it was one compound array, which only read_h5ad knows how to translate.
            return FrameAnnotation(getattr(anndata.read_h5ad(path, backed="r"), element))
        if "encoding-type" in frame.attrs:
            return FrameAnnotation(anndata.io.read_elem(frame))
        return FrameAnnotation(_frame_without_encoding(frame))


def _frame_without_encoding(group: Any) -> pd.DataFrame:
    """A table as converters write it, without the attributes by which AnnData knows one."""
    said = as_text(group.attrs.get("_index", "_index"))
    name = next((one for one in (said, *INDEX_NAMES) if one in group), None)
    columns = {key: column for key in group if key != name and np.ndim(column := _column_of(group[key])) == 1}
    if name is None:
        return pd.DataFrame(columns)
    return pd.DataFrame(columns, index=pd.Index(as_names(anndata.io.read_elem(group[name]))))


def _column_of(stored: Any) -> Any:
    """A column of such a table; codes that refer to their categories, as before AnnData 0.8, become these."""
    values = anndata.io.read_elem(stored)
    if "categories" not in stored.attrs:
        return values
    categories = stored.attrs["categories"]
    categories = stored.file[categories] if isinstance(categories, h5py.Reference) else stored.parent[categories]
    return pd.Categorical.from_codes(values, pd.Index(as_names(anndata.io.read_elem(categories))))


def _stamp(path: str, element: str, frame: Any) -> Stamp:
    return stamp_of(path, f"{element}/{as_text(frame.attrs['_index'])}")


def _proof(frame: Any, path: str) -> int:
    """Of the number of names, the first and the last; refuses names of which some are lost."""
    index = frame[as_text(frame.attrs["_index"])]
    length, last = _length(index), max(_length(index) - SOME_NAMES, 0)
    values = index["values"] if isinstance(index, zarr.Group) and "values" in index else index
    if isinstance(values, zarr.Array) and not is_url(path) and values.nchunks_initialized < values.nchunks:
        raise InputError(
            f"{shown(path)!r} is not whole: of the names in {frame.name}, "
            f"{values.nchunks - values.nchunks_initialized} of {values.nchunks} chunk(s) are not there, and would read "
            "as empty text. Copy the store again, whole, or write it again."
        )
    some = np.concatenate([_names_of(frame, *part, shown(path)) for part in ((0, SOME_NAMES), (last, length))])
    return checksum_of(np.array([length]), np.frombuffer("\n".join(some).encode(), np.uint8))


def _length(index: Any) -> int:
    return int(index.shape[0]) if hasattr(index, "shape") else len(anndata.io.read_elem(index))


def _names_of(frame: Any, start: int, stop: int, location: str) -> Names:
    """Some names of an open table.

    Raises
    ------
    InputError
        If they are no text in UTF-8.
    """
    name = as_text(frame.attrs["_index"])
    refuse_unwritten(frame[name], f"{frame.name.strip('/')}/{name}", location)
    try:
        return as_names(_strings(frame[name])[start:stop])
    except UnicodeDecodeError as error:
        raise InputError(
            f"the names in {frame.name}/{name} of {location!r} cannot be read as text: of the rows {start} to {stop}, "
            f"one holds {error.object!r}, which is not UTF-8. Read it where it was written and write its names again "
            "(with anndata: adata.obs_names = ...; adata.write_h5ad(path)), or give names in UTF-8."
        ) from error


def _strings(index: Any) -> Any:
    """Something that slices to the stored names; read whole only where AnnData stores more than one array."""
    if isinstance(index, h5py.Group | zarr.Group):
        return anndata.io.read_elem(index)
    return index.asstr() if isinstance(index, h5py.Dataset) and index.dtype.kind in "OS" else index


def as_text(value: Any) -> str:
    """Text that a library stored as text or as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def as_names(values: Any) -> Names:
    """``values`` as an object array of str; InputError if one of them cannot be written again."""
    names: Names = np.empty(len(values), dtype=object)
    names[:] = [as_text(value) for value in values]
    try:
        "\n".join(names).encode()
    except UnicodeEncodeError as error:
        bad = next(name for name in names if error.object[error.start : error.end] in name)
        raise InputError(
            f"the name {bad!r} has characters that cannot be written. Give names as text that was decoded in the "
            "encoding that it was written in."
        ) from error
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
