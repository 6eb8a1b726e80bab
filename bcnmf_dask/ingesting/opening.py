"""Anything a user holds -> its values, and what is known of its rows and features. CSC is welcome here."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp
import zarr
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset

from bcnmf_dask.backend import is_sparse
from bcnmf_dask.data.annotations import Annotation, FrameAnnotation, stored_annotation
from bcnmf_dask.data.archives import read_archive
from bcnmf_dask.data.elements import open_group
from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.hdf5 import path_of
from bcnmf_dask.data.kinds import open_table
from bcnmf_dask.data.locations import Location, absolute, holds_zarr, is_file, is_location, stamp_of
from bcnmf_dask.data.matrices import check_matrix
from bcnmf_dask.data.readers import anndata_element, backed_file, no_names
from bcnmf_dask.data.sources import DaskSource, MemorySource, Source
from bcnmf_dask.data.stored import AnnDataSource, PathSource
from bcnmf_dask.data.wording import about
from bcnmf_dask.errors import InputError
from bcnmf_dask.ingesting.compressed import MemoryCompressed, StoredCompressed, stored_format

BESIDES = ("layers", "obsm", "varm", "obsp", "varp", "uns")
"""Parts of an AnnData that are not copied."""


@dataclass(frozen=True, eq=False)
class Opened:
    """One matrix to ingest.

    Attributes
    ----------
    values : MemoryCompressed, StoredCompressed, DaskSource, or another Source, of dense rows
    shape : (int, int)
        Rows and features.
    dtype : dtype
    obs, var : Annotation
    name : str
        What the report calls it.
    left_out : tuple of str
        What else there is, and is not copied.
    """

    values: MemoryCompressed | Source
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    obs: Annotation
    var: Annotation
    name: str
    left_out: tuple[str, ...] = ()

    @property
    def sparse(self) -> bool:
        """Whether the store will hold CSR."""
        return isinstance(self.values, MemoryCompressed) or self.values.sparse

    @property
    def travels(self) -> bool:
        """Whether other processes can read the values."""
        return isinstance(self.values, PathSource | DaskSource)

    def identity(self) -> str:
        """The same for the same values, in any process; another for others, as far as can be told without reading."""
        found = hashlib.blake2b(f"{self.shape} {self.dtype}".encode(), digest_size=16)
        for part in _proof(self.values):
            found.update(part)
        return found.hexdigest()


def open_source(source: Any, layer: str | None) -> Opened:
    """Read the outline of what is to be ingested.

    Raises
    ------
    InputError
        Naming the argument, if it cannot be used.
    """
    with about("source"):
        opened = _opened(source, layer)
        if opened.dtype.itemsize > np.dtype(np.float64).itemsize:
            raise InputError(
                f"got values of type {opened.dtype}, which no Zarr store holds. Expected at most float64: convert them "
                "with .astype('float64')."
            )
        return opened


def _opened(source: Any, layer: str | None) -> Opened:
    if isinstance(source, AnnData) and source.isbacked and layer is None:
        path = path_of(backed_file(source))
        if path is not None:
            return replace(_stored(path, None), obs=_frame(source.obs), var=_frame(source.var))
    if isinstance(source, AnnData):
        return _in_memory(source, layer)
    if is_location(source) and _holds_anndata(source):
        return _stored(source, layer)
    if layer is not None:
        raise InputError(f"layer={layer!r} was given, but only an AnnData has layers. Leave it out.")
    return _without_layers(source)


def _in_memory(adata: AnnData, layer: str | None) -> Opened:
    values = adata.X if layer is None else adata.layers.get(layer)
    left_out = tuple(_others(((part, getattr(adata, part)) for part in BESIDES), layer, adata.X is not None))
    left_out += ("raw",) if adata.raw is not None else ()
    if isinstance(values, CSRDataset | CSCDataset) or _is_csc(values):
        matrix = values if _is_csc(values) else values.to_memory()  # of a file that nobody else can open
        compressed = _compressed(matrix, _frame(adata.obs), _frame(adata.var), "data in memory")
        return replace(compressed, left_out=left_out)
    table = open_table(adata, layer)
    return replace(_of_source(table.source, table.obs, table.var), left_out=left_out)


def _stored(path: Location, layer: str | None) -> Opened:
    location = os.fspath(path)
    element, _ = anndata_element(path, layer)
    dense = stored_format(path, element) == "dense"
    values = AnnDataSource(path, element) if dense else StoredCompressed(path, element)
    shape = (values.n_rows, values.n_features) if isinstance(values, StoredCompressed) else values.shape
    with reading(location):
        root = open_group(location)
        parts = ((part, root[part]) for part in BESIDES if part in root)
        left_out = tuple(_others(parts, layer, "X" in root and root["X"].attrs.get("encoding-type") != "null"))
        if "raw" in root and root["raw"].attrs.get("encoding-type") != "null":
            left_out += ("raw",)
    obs, var = (stored_annotation(absolute(path), part) for part in ("obs", "var"))
    return Opened(values, shape, values.dtype, obs, var, location, left_out)


def _without_layers(source: Any) -> Opened:
    if _is_csc(source):
        return _by_feature(source)
    if isinstance(source, da.Array) and _is_csc(source._meta):  # whole rows in each block: each can be turned alone
        empty = sp.csr_array((0, 0), dtype=source.dtype)
        source = da.map_blocks(sp.csr_array, source, dtype=source.dtype, meta=empty)
    if is_location(source) and Path(source).suffix.lower() == ".npz" and is_file(source):
        archive = read_archive(source, "csr", "csc")
        return _compressed(archive.matrix, archive.obs, archive.var, os.fspath(source))
    table = open_table(source, None)
    return _of_source(table.source, table.obs, table.var)


def _of_source(source: Source, obs: Annotation, var: Annotation) -> Opened:
    """What the other readers opened."""
    kind = "a Dask array" if isinstance(source, DaskSource) else "data in memory"
    in_memory = isinstance(source, MemorySource) and is_sparse(source.rows)
    values = MemoryCompressed(source.rows) if isinstance(source, MemorySource) and in_memory else source
    return Opened(values, source.shape, source.dtype, obs, var, source.location or kind)


def _compressed(matrix: Any, obs: Annotation, var: Annotation, name: str) -> Opened:
    """A CSR or CSC matrix in memory."""
    check_matrix(matrix.shape, matrix.dtype)
    n_rows, n_features = matrix.shape
    return Opened(MemoryCompressed(matrix), (int(n_rows), int(n_features)), matrix.dtype, obs, var, name)


def _by_feature(matrix: Any) -> Opened:
    """A CSC matrix of a user, who gave no names with it."""
    return _compressed(matrix, no_names(matrix.shape[0]), no_names(matrix.shape[1]), "data in memory")


def _is_csc(values: Any) -> bool:
    return bool(sp.issparse(values) and values.format == "csc")


def _holds_anndata(path: Location) -> bool:
    """Whether it is an ``.h5ad``, or a Zarr group; one that is no AnnData is refused as one."""
    if is_file(path):
        return Path(path).suffix.lower() == ".h5ad"
    with reading(os.fspath(path)):
        return holds_zarr(path) and isinstance(zarr.open(absolute(path), mode="r"), zarr.Group)


def _frame(frame: Any) -> FrameAnnotation:
    return FrameAnnotation(frame)


def _others(parts: Iterable[tuple[str, Mapping[str, Any]]], layer: str | None, has_x: bool) -> Iterator[str]:
    if layer is not None and has_x:
        yield "X"
    for part, members in parts:
        for name in members:
            if (part, name) != ("layers", layer):
                yield f"{part}/{name}"


def _proof(values: MemoryCompressed | Source) -> Iterator[Any]:
    if isinstance(values, PathSource):
        yield f"{values.path} {values.element} {stamp_of(values.path, values.element)}".encode()
    elif isinstance(values, DaskSource):
        yield f"{values.array.name} {values.array.chunks}".encode()
    elif isinstance(values, MemorySource):
        yield np.ascontiguousarray(values.rows)
    elif isinstance(values, MemoryCompressed):
        matrix = values.matrix
        yield from (np.ascontiguousarray(part) for part in (matrix.indptr, matrix.indices, matrix.data))
