"""``.npz`` archives: the parts of a compressed sparse matrix, and the names that lie beside them."""

import io
import os
import pickle
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from bcnmf_dask.data.annotations import FrameAnnotation
from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.locations import Location, absolute
from bcnmf_dask.data.matrices import csr_from, sparse_dtype
from bcnmf_dask.errors import InputError

PARTS = ("data", "indices", "indptr", "shape")

FEATURE_NAMES = (
    *("genes", "features", "var_names", "gene_names", "feature_names", "gene_symbols", "symbols", "gene_ids"),
    *("feature_ids", "gene", "feature", "columns", "var/_index", "var/index", "features/name", "features/id"),
)
ROW_NAMES = (
    *("barcodes", "cells", "obs_names", "cell_names", "cell_ids", "barcode", "cell", "row_names", "index"),
    *("obs/_index", "obs/index"),
)
"""Arrays that hold names, also as the last of a nested name; of several that fit, the first in this order is used."""

OBJECTS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
"""All that a pickle of an array of text is made from; nothing of it runs anything else."""


@dataclass(frozen=True, eq=False)
class Archive:
    """The matrix of an ``.npz``, with its names.

    Attributes
    ----------
    matrix : csr_array or csc_array
    obs, var : FrameAnnotation
    """

    matrix: Any
    obs: FrameAnnotation
    var: FrameAnnotation


def read_archive(path: Location, *formats: str) -> Archive:
    """Read an ``.npz`` whole (``scipy.sparse.save_npz``, or its four arrays), with the names that lie beside them.

    Parameters
    ----------
    path : str or os.PathLike
    *formats : {"csr", "csc"}
        The formats that are wanted.

    Raises
    ------
    InputError
        If it cannot be read, holds no matrix in one of these formats, or names that do not fit it.
    """
    location = os.fspath(path)
    with reading(location), Path(absolute(path)).open("rb") as file, np.load(file) as arrays:
        kind = str(arrays["format"].astype(str)) if "format" in arrays else "csr"
        missing = sorted(set(PARTS) - set(arrays))
        if kind not in formats or missing:
            has = f"a {kind.upper()} matrix" if kind not in formats else f"no {', '.join(missing)}"
            raise InputError(
                f"{location!r} has {has}; expected a CSR matrix (arrays data, indices, indptr and shape). Write it "
                "with scipy.sparse.save_npz(path, matrix.tocsr()), or a dense array with numpy.save to a .npy "
                "file; `bcnmf-dask ingest` turns a CSC matrix into a store."
            )
        data, indices, indptr, shape = (arrays[part] for part in PARTS)
        if kind == "csr":
            matrix = csr_from(data, indices, indptr, shape)
        else:
            matrix = sp.csc_array(
                (data.astype(sparse_dtype(data.dtype), copy=False), indices, indptr), shape=tuple(shape), copy=False
            )
        return Archive(matrix, *(_names(location, arrays, axis, matrix.shape) for axis in (0, 1)))


def _names(location: str, arrays: Any, axis: int, shape: tuple[int, int]) -> FrameAnnotation:
    """The names of rows (axis 0) or features (axis 1)."""
    length, misfits = shape[axis], list[str]()
    for key in _candidates(arrays.files, (ROW_NAMES, FEATURE_NAMES)[axis]):
        values = _values(location, arrays, key)
        if values.shape == (length,):
            return FrameAnnotation(pd.DataFrame(index=pd.Index([_text(value) for value in values], dtype=object)))
        if values.ndim:  # a number alone names nothing
            misfits.append(f"{key!r} of shape {values.shape}")
            if values.shape == (shape[1 - axis],):
                misfits[-1] += f", as many as there are {('features', 'rows')[axis]}: the matrix looks transposed"
    if misfits:
        raise InputError(
            f"{location!r} has names that do not fit its matrix of {shape[0]} rows (cells) and {shape[1]} features "
            f"(genes): {'; '.join(misfits)}. Expected one name for each of the {length} {('rows', 'features')[axis]}: "
            "write matrix and names again together, or leave the names out."
        )
    return FrameAnnotation(pd.DataFrame(index=pd.RangeIndex(length)))


def _candidates(keys: Iterable[str], known: Iterable[str]) -> list[str]:
    """The arrays that may hold the names, best first."""
    paths = {key: "/" + key.lower().replace(".", "/").strip("/") for key in keys}
    return [key for name in known for key, path in paths.items() if path.endswith(f"/{name}")]


def _values(location: str, arrays: Any, key: str) -> NDArray[Any]:
    """One of the arrays; text that was pickled, as NumPy does with names from pandas, is read without running any."""
    try:
        return np.asarray(arrays[key])
    except ValueError:
        with zipfile.ZipFile(absolute(location)) as archive:
            return _unpickled(io.BytesIO(archive.read(f"{key}.npy")))


def _unpickled(file: io.BytesIO) -> NDArray[Any]:
    """An array of objects, if they are text, numbers and the like."""
    version = np.lib.format.read_magic(file)
    (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
    return np.asarray(_Texts(file).load())


class _Texts(pickle.Unpickler):
    """Reads arrays of text, and refuses whatever else a pickle may hold."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """See `pickle.Unpickler.find_class`."""
        if (module_name.replace("numpy._core", "numpy.core"), global_name) in OBJECTS:
            return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)
        raise ValueError(f"object arrays cannot be loaded if they hold {module_name}.{global_name}")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
