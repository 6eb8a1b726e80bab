"""One reader for each kind of input: what a user holds -> a :class:`~.tables.Table`.

Values are looked at later, by whoever computes on them: here no path or Dask array is read (but for
``.npz`` and tables of text).
"""

import os
from dataclasses import replace
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset

from bcnmf_dask.data.annotations import Annotation, FrameAnnotation, stored_annotation
from bcnmf_dask.data.archives import read_archive
from bcnmf_dask.data.cf import refuse_coded
from bcnmf_dask.data.elements import open_group
from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.hdf5 import path_of
from bcnmf_dask.data.locations import Location, absolute, holds_zarr, is_url
from bcnmf_dask.data.matrices import as_rows, check_matrix
from bcnmf_dask.data.others import layout_of
from bcnmf_dask.data.sources import DaskSource, MemorySource, Source
from bcnmf_dask.data.stored import AnnDataSource, NpySource, OpenSource, ZarrArraySource
from bcnmf_dask.data.tables import IntoDataArray, IntoDevice, Table
from bcnmf_dask.data.texts import read_text
from bcnmf_dask.data.wording import shortened
from bcnmf_dask.errors import InputError


def unnamed(source: Source, *, lazy: bool) -> Table:
    """A table of rows and features that have no names."""
    n_rows, n_features = source.shape
    return Table(source, no_names(n_rows), no_names(n_features), lazy=lazy)


def from_array(array: Any) -> Table:
    """A NumPy array or SciPy CSR matrix."""
    return unnamed(MemorySource(as_rows(array)), lazy=False)


def from_device(array: Any) -> Table:
    """A dense array or CSR matrix of CuPy."""
    return replace(from_array(array), into=IntoDevice())


def from_dask(array: Any) -> Table:
    """A Dask array."""
    return unnamed(DaskSource(array), lazy=True)


def from_frame(frame: pd.DataFrame) -> Table:
    """A pandas DataFrame: index and columns are names, every column must be numeric."""
    text = [str(name) for name, kind in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if text:
        raise InputError(
            f"got {len(text)} DataFrame column(s) that are not numeric ({shortened(text)}); expected numbers "
            "only. Drop them, or move them to the index."
        )
    values = frame.to_numpy()
    if values.dtype == object:  # columns of several kinds, some of which may hold missing values
        values = frame.astype(np.float64).to_numpy()
    features = FrameAnnotation(pd.DataFrame(index=frame.columns))
    return Table(MemorySource(as_rows(values)), FrameAnnotation(pd.DataFrame(index=frame.index)), features)


def from_data_array(array: xr.DataArray) -> Table:
    """An xarray DataArray, NumPy- or Dask-backed; coordinates of a dimension are its names and columns."""
    if array.ndim != 2:
        check_matrix(array.shape, array.dtype)
    refuse_coded(array, str(array.name or "the DataArray"))
    rows, features = (str(dim) for dim in array.dims)
    if rows == "component":
        raise InputError("got a row dimension named 'component', a name that usages need. Rename it with .rename().")
    source = _array_source(array.data)
    into = IntoDataArray(rows, {str(name): c for name, c in array.coords.items() if c.dims == (rows,)})
    return Table(
        source,
        _coordinates(array, rows),
        _coordinates(array, features),
        lazy=array.chunks is not None,
        into=into,
    )


def from_anndata(adata: AnnData, layer: str | None) -> Table:
    """An AnnData as it is in memory; of one opened with ``backed``, ``X`` is read from its file."""
    obs, var = (FrameAnnotation(_in_memory(frame)) for frame in (adata.obs, adata.var))
    layers = tuple(adata.layers)
    if adata.isbacked and layer is None:
        return Table(backed_x(adata), obs, var, layers, lazy=True)
    values = adata.X if layer is None else adata.layers.get(layer)
    if values is None:
        raise no_values(layer, layers, has_raw=getattr(adata, "raw", None) is not None)
    source = _array_source(values, "X" if layer is None else f"layers[{layer!r}]")
    # What is kept on disk gives usages on disk, whichever of its matrices is taken.
    return Table(source, obs, var, layers, layer, lazy=adata.isbacked or isinstance(source, DaskSource))


def from_anndata_path(path: Location, layer: str | None) -> Table:
    """An AnnData in a Zarr store or ``.h5ad`` file, of which only the outline is read here."""
    element, layers = anndata_element(path, layer)
    source = AnnDataSource(path, element)
    obs, var = (stored_annotation(source.path, part) for part in ("obs", "var"))
    _refuse_other_lengths(source.shape, obs, var)
    return Table(source, obs, var, layers, layer, lazy=True)


def _refuse_other_lengths(shape: tuple[int, int], obs: Annotation, var: Annotation) -> None:
    for what, length, annotation in (("rows", shape[0], obs), ("features", shape[1], var)):
        if (found := len(annotation)) != length:
            raise InputError(
                f"it has {found} names of {what} ({'obs' if what == 'rows' else 'var'}) for {length} {what} of values. "
                "Expected one for each: write it again, whole."
            )


def anndata_element(path: Location, layer: str | None) -> tuple[str, tuple[str, ...]]:
    """Where the values of an AnnData on disk are (``X``, or a layer), and the names of its layers.

    Raises
    ------
    InputError
        If the store is no AnnData, or has no such values.
    """
    location = os.fspath(path)
    with reading(location):
        root = open_group(location)
        if other := layout_of(location, root):
            raise InputError(f"{location!r} is {other}.")
        if not {"obs", "var"} <= set(root):
            raise InputError(
                f"{location!r} is not an AnnData: it holds {shortened(sorted(root)) or 'nothing'}. Expected "
                "a store written by AnnData (with obs and var), or the path of a two-dimensional array "
                "inside it."
            )
        layers = tuple(root["layers"]) if "layers" in root else ()
        if layer and layer not in layers and is_url(location) and holds_zarr(f"{location.rstrip('/')}/layers/{layer}"):
            layers += (layer,)  # added after the metadata, which alone list what is at a URL, were consolidated
        has_x, has_raw = (part in root and root[part].attrs.get("encoding-type") != "null" for part in ("X", "raw"))
    if layer not in layers and not (layer is None and has_x):
        raise no_values(layer, layers, has_raw=has_raw)
    return (f"layers/{layer}" if layer else "X"), layers


def from_npy(path: Location) -> Table:
    """A NumPy ``.npy`` file."""
    return unnamed(NpySource(path), lazy=True)


def from_npz(path: Location) -> Table:
    """A CSR matrix in an ``.npz`` file, read whole, with its names."""
    archive = read_archive(path, "csr")
    return Table(MemorySource(archive.matrix, os.fspath(path)), archive.obs, archive.var, lazy=True)


def from_text(path: Location) -> Table:
    """A table of numbers as text (CSV or TSV), read whole, with its names."""
    table = from_frame(read_text(path))
    rows = np.ascontiguousarray(table.source.read(0, table.source.shape[0]))
    return replace(table, source=MemorySource(rows, os.fspath(path)), lazy=True)


def from_zarr(path: Location, layer: str | None) -> Table:
    """A Zarr store: a two-dimensional array, or an AnnData."""
    with reading(os.fspath(path)):
        is_array = isinstance(zarr.open(absolute(path), mode="r"), zarr.Array)
    return unnamed(ZarrArraySource(path), lazy=True) if is_array else from_anndata_path(path, layer)


def no_values(layer: str | None, layers: tuple[str, ...], *, has_raw: bool) -> InputError:
    """The error for an AnnData without ``X``, or without the layer that was asked for."""
    there_are = f"its layers are: {shortened(layers) or 'none'}"
    raw = (
        " Its raw, which is an AnnData of its own, has values: give adata.raw.to_adata(), where adata may be "
        "anndata.read_h5ad(path), and write that with .write_h5ad() for later."
    )
    if layer is None:
        return InputError(f"the AnnData has no X, and {there_are}. Name one with layer=.{raw if has_raw else ''}")
    repair = raw if has_raw and layer == "raw" else ""
    return InputError(f"layer={layer!r} is not in the AnnData; {there_are}. Leave layer out for X.{repair}")


def backed_x(adata: AnnData) -> Source:
    """``X`` of an AnnData opened with ``backed``: by its path where that still leads to the open file, else by itself.

    Raises
    ------
    InputError
        If the AnnData is a selection, has no ``X``, or its file cannot be read.
    """
    file = backed_file(adata)
    path = path_of(file)
    return AnnDataSource(path, "X") if path is not None else OpenSource(file["X"], f"the open file of {file.filename}")


def backed_file(adata: AnnData) -> h5py.File:
    """The open file of an AnnData opened with ``backed``; raises as `backed_x`."""
    if adata.is_view:
        raise InputError(
            "got a selection of an AnnData opened with backed, expected a whole one. Load the selection with "
            ".to_memory(), or give the file to bcnmf_dask.split to choose rows and features."
        )
    with reading(str(adata.filename)):
        if not adata.file.is_open:
            adata.file.open()
        file = adata.file._file  # AnnData shows it in no other way
        if "X" not in file:
            raise no_values(None, tuple(adata.layers), has_raw=adata.raw is not None)
    return file


def _array_source(values: Any, name: str = "the array") -> Source:
    if isinstance(values, h5py.Dataset | zarr.Array | CSRDataset | CSCDataset):
        return OpenSource(values, name)
    return DaskSource(values) if isinstance(values, da.Array) else MemorySource(as_rows(values))


def _in_memory(frame: Any) -> pd.DataFrame:
    """``obs`` or ``var`` as pandas: AnnData's lazy reader gives something that has yet to be read."""
    return frame if isinstance(frame, pd.DataFrame) else frame.to_memory()


def _coordinates(array: xr.DataArray, dim: str) -> FrameAnnotation:
    """The one-dimensional coordinates along ``dim``; the one of the same name holds the names."""
    columns = {str(name): coord.values for name, coord in array.coords.items() if coord.dims == (dim,)}
    index = pd.Index(columns.pop(dim)) if dim in columns else pd.RangeIndex(array.sizes[dim])
    return FrameAnnotation(pd.DataFrame(columns, index=index))


def no_names(length: int) -> FrameAnnotation:
    """The annotation of ``length`` rows or features of which nothing is known."""
    return FrameAnnotation(pd.DataFrame(index=pd.RangeIndex(length)))
