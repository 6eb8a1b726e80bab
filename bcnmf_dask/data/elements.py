"""Parts of AnnData stores, opened where they are: files of HDF5, and Zarr stores in folders and at URLs."""

from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import anndata.io
import h5py
import numpy as np
import zarr

from bcnmf_dask.data.cf import refuse_coded
from bcnmf_dask.data.handles import CsrRows, DenseRows, StoredRows
from bcnmf_dask.data.hdf5 import missing_part
from bcnmf_dask.data.locations import absolute, is_file, is_url
from bcnmf_dask.errors import InputError


def open_group(location: str) -> Any:
    """The root group of an ``.h5ad`` file or a Zarr store, read-only.

    Of a Zarr store that is here, what its parts themselves say is believed: metadata that were consolidated before a
    layer was added, or an array has grown, tell of what was. Servers may list nothing else.
    """
    path = absolute(location)
    if is_file(path):
        load_filters()
        return h5py.File(path, "r")
    return zarr.open_group(path, mode="r", use_consolidated=None if is_url(path) else False)


def open_element(location: str, element: str) -> Any:
    """One part of an ``.h5ad`` file or a Zarr store, read-only; at a URL, too, whatever was consolidated."""
    path = absolute(location)
    return zarr.open(f"{path}/{element}", mode="r") if is_url(path) else open_group(path)[element]


@cache
def load_filters() -> None:
    """Have the HDF5 library of this process know the filters of hdf5plugin, if that is installed."""
    if find_spec("hdf5plugin"):
        with suppress(Exception):  # one that does not go with this HDF5; what is missing is said when it is wanted
            import_module("hdf5plugin")


def rows_of(element: Any, name: str, location: str) -> StoredRows:
    """An open element of an AnnData as rows.

    Parameters
    ----------
    element : h5py or Zarr array or group
    name, location : str
        What messages call it, and the store it is in.

    Raises
    ------
    InputError
        If it is stored by column, or parts of an HDF5 file are missing, which would read as zeros.
    """
    if isinstance(element, h5py.Dataset | zarr.Array):
        refuse_coded(element, name)
        refuse_unwritten(element, name, location)
        return DenseRows(element)
    matrix = anndata.io.sparse_dataset(element)
    if matrix.format != "csr":
        raise InputError(
            f"{name!r} in {location!r} is stored in {matrix.format.upper()} format; expected CSR, which can be read "
            "row by row. Turn it with `bcnmf-dask ingest`; a matrix that fits in memory can also be read with anndata, "
            "converted with .tocsr() and written again."
        )
    return lines_of(element, matrix.shape, name, location)


def lines_of(element: Any, shape: tuple[int, int], name: str, location: str) -> CsrRows:
    """The lines of an open sparse matrix: rows of CSR, columns of CSC; raises as `rows_of`."""
    refuse_coded(element, name)
    refuse_coded(element["data"], f"{name}/data")
    for part in ("data", "indices", "indptr"):
        refuse_unwritten(element[part], f"{name}/{part}", location)
    indptr = np.asarray(element["indptr"][...]).astype(np.int64)
    return CsrRows(element["data"], element["indices"], indptr, shape)


def refuse_unwritten(stored: Any, name: str, location: str) -> None:
    """Refuse parts of an HDF5 file that are not there, which would read as zeros; those of Zarr tell it elsewhere.

    Parameters
    ----------
    stored : array or group
    name, location : str
        What messages call it, and the file.

    Raises
    ------
    InputError
    """
    if isinstance(stored, h5py.Group):
        for member in stored:
            refuse_unwritten(stored[member], f"{name}/{member}", location)
    lost = missing_part(stored) if isinstance(stored, h5py.Dataset) else None
    if lost is not None:
        raise InputError(
            f"{location!r} is not whole: of {name!r}, {lost}; HDF5 would read zeros. Write it again from where it "
            "came, all of it and zeros too, or bring the files that it refers to."
        )
