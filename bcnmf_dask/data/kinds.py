"""The one place where the kind of an input is found out: :data:`KINDS` lists all that are accepted."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import scipy.sparse as sp
import xarray as xr
from anndata import AnnData

from bcnmf_dask.backend import is_on_device
from bcnmf_dask.data import readers
from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.locations import exists, holds_zarr, is_file, is_location, is_url, shown
from bcnmf_dask.data.others import other_file, other_object
from bcnmf_dask.data.tables import Labelled, Table
from bcnmf_dask.data.texts import separator_of
from bcnmf_dask.errors import InputError


@dataclass(frozen=True)
class Kind:
    """A kind of input: how to name it, to know it, and to read it (given the name of a layer or None)."""

    words: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any, str | None], Table]


def _is_a(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _ends_with(suffix: str) -> Callable[[Any], bool]:
    return lambda value: is_location(value) and Path(value).suffix.lower() == suffix


def _is_zarr(value: Any) -> bool:
    """By its name, or by the files that make it a Zarr store."""
    return _ends_with(".zarr")(value) or (is_location(value) and holds_zarr(value))


def _is_text(value: Any) -> bool:
    return is_location(value) and separator_of(value) is not None


KINDS: tuple[Kind, ...] = (
    Kind("a NumPy array", _is_a(np.ndarray), lambda value, _: readers.from_array(value)),
    Kind("a SciPy CSR matrix", sp.issparse, lambda value, _: readers.from_array(value)),
    Kind("one of either kind of CuPy", is_on_device, lambda value, _: readers.from_device(value)),
    Kind("an AnnData", _is_a(AnnData), readers.from_anndata),
    Kind("a pandas DataFrame", _is_a(pd.DataFrame), lambda value, _: readers.from_frame(value)),
    Kind("an xarray DataArray", _is_a(xr.DataArray), lambda value, _: readers.from_data_array(value)),
    Kind("a Dask array", _is_a(da.Array), lambda value, _: readers.from_dask(value)),
    Kind("a path or URL of a .zarr", _is_zarr, readers.from_zarr),
    Kind("a path to an .h5ad", _ends_with(".h5ad"), readers.from_anndata_path),
    Kind("to an .npy", _ends_with(".npy"), lambda value, _: readers.from_npy(value)),
    Kind("to an .npz", _ends_with(".npz"), lambda value, _: readers.from_npz(value)),
    Kind("or to a .csv, .tsv or .txt (also with .gz)", _is_text, lambda value, _: readers.from_text(value)),
)


def open_table(value: Any, layer: str | None) -> Table:
    """Read the outline of one input.

    Raises
    ------
    InputError
        If it is of no kind we know, or cannot be used. The message does not name the argument.
    """
    if is_location(value):
        _check_place(value)
        _refuse_other(value)
    for kind in KINDS:
        if kind.accepts(value):
            return kind.read(value, layer)
    got = f"the path {shown(value)!r}" if is_location(value) else f"an object of type {type(value).__name__}"
    instead = None if is_location(value) else other_object(value)
    repair = f" Here: {instead}." if instead else ""
    raise InputError(f"got {got}; expected {', '.join(kind.words for kind in KINDS)}.{repair}")


def refuse_table(y: Any) -> None:
    """Refuse what stands in the place of labels, which are ignored, and may have been meant as the background.

    Raises
    ------
    InputError
        For a path, rows from `split`, and all of two or more dimensions.
    """
    if isinstance(y, list | tuple):
        table = any(isinstance(part, list | tuple | np.ndarray | Labelled) for part in y)
    else:
        table = is_location(y) or isinstance(y, Labelled | AnnData) or getattr(y, "ndim", 0) > 1
    if table:
        raise InputError(
            f"y: got a table ({type(y).__name__}) in the second place, which is for labels and is not used. "
            "Expected the background by its name: fit(target, background=...)."
        )


def _refuse_other(path: str | os.PathLike[str]) -> None:
    """Refuse a local file or folder that is known to be of a kind that is not read."""
    if is_url(path) or holds_zarr(path) or (_is_read(path) and is_file(path) and not _ends_with(".zarr")(path)):
        return
    found = other_file(path, _is_read)
    if found:
        raise InputError(f"{os.fspath(path)!r} is {found}.")


def _is_read(path: Any) -> bool:
    return any(kind.accepts(path) for kind in KINDS)


def _check_place(path: str | os.PathLike[str]) -> None:
    with reading(shown(path)):
        found = exists(path)
    if not found and is_url(path):
        raise InputError(f"{shown(path)!r} does not exist, or may not be read from here. Check the URL.")
    if not found:
        raise InputError(f"{os.fspath(path)!r} does not exist. Check the path; it is seen from {Path.cwd()}.")
    if is_url(path) and not _is_zarr(path):
        raise InputError(
            f"{shown(path)!r} is no Zarr store, and of URLs nothing else is read. Copy the file here; "
            "`bcnmf-dask ingest` then writes it as a store, and a copy of that at a URL can be read."
        )
