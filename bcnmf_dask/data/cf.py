"""Zarr arrays whose attributes change the meaning of their values, by the CF conventions that xarray writes."""

import base64
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.conventions import decode_cf_variable

from bcnmf_dask.errors import InputError

CHANGING = ("scale_factor", "add_offset", "missing_value", "_FillValue", "_Unsigned")
"""Attributes with which stored values stand for others."""
MISSING = ("_FillValue", "missing_value")


class DecodedArray:
    """An array of which slices come as their attributes say: scaled; values that are missing are refused.

    Attributes
    ----------
    shape : tuple of int
    chunks : tuple of int
    dtype : dtype
        Of the decoded values.
    """

    def __init__(self, array: "zarr.Array[Any]", attributes: dict[str, Any]) -> None:
        self._array = array
        self._attributes = attributes
        self.shape = array.shape
        self.chunks = array.chunks
        self.dtype: np.dtype[Any] = self._decoded(np.empty((0,) * array.ndim, array.dtype)).dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Values as they are meant.

        Raises
        ------
        InputError
            If some are missing.
        """
        stored = np.asarray(self._array[key])
        values = self._decoded(stored)
        if values.dtype.kind == "f" and (lost := np.isnan(values) & (stored == stored)).any():
            missing = {name: self._attributes[name] for name in MISSING if name in self._attributes}
            raise InputError(
                f"{int(lost.sum())} of the values read stand for missing ones, by its attributes or fill value "
                f"({missing}). Fill or drop them, for example with xarray's .fillna(0), and write the array again; if "
                "they are values, take these attributes away (of format 2, and its fill_value)."
            )
        return values

    def _decoded(self, values: NDArray[Any]) -> NDArray[Any]:
        dimensions = [f"axis_{number}" for number in range(values.ndim)]
        stored = xr.Variable(dimensions, values, dict(self._attributes))
        return np.asarray(decode_cf_variable("values", stored, decode_times=False).values)


def refuse_coded(stored: Any, name: str) -> None:
    """Refuse an array of an AnnData with such attributes: AnnData ignores them, but whoever wrote them did not.

    Parameters
    ----------
    stored : h5py or Zarr array or group
    name : str
        What messages call it.

    Raises
    ------
    InputError
    """
    found = {one: _plain(stored.attrs[one]) for one in CHANGING if one in stored.attrs}
    if found and not _only_nan(found):
        raise InputError(
            f"{name!r} has attributes that change the meaning of its values ({found}), which AnnData does not heed. "
            "Write what is meant, values * scale_factor + add_offset and nothing missing, as an AnnData again; or take "
            "the attributes away if they mean nothing."
        )


def decoded(array: "zarr.Array[Any]") -> Any:
    """The array itself, or a `DecodedArray` where its attributes change the meaning of its values.

    Raises
    ------
    InputError
        If an attribute is none that can be followed.
    """
    attributes: dict[str, Any] = {name: _plain(array.attrs[name]) for name in CHANGING if name in array.attrs}
    attributes = {name: value for name, value in attributes.items() if value is not None}
    for name in ("scale_factor", "add_offset"):
        if not isinstance(attributes.get(name, 0), Real):
            raise InputError(f"its attribute {name} is {attributes[name]!r}. Expected a number: write it as one.")
    if isinstance(attributes.get("_FillValue"), str):
        attributes["_FillValue"] = _from_text(attributes["_FillValue"], array.dtype)
    written_by_xarray = "_ARRAY_DIMENSIONS" in array.attrs
    if array.metadata.zarr_format == 2 and written_by_xarray and array.fill_value is not None:
        attributes.setdefault("_FillValue", array.fill_value)  # where xarray keeps it in this format
    return DecodedArray(array, attributes) if attributes and not _only_nan(attributes) else array


def _only_nan(attributes: dict[str, Any]) -> bool:
    """A value that is not a number is none already."""
    fill = attributes.get("_FillValue")
    return attributes.keys() == {"_FillValue"} and isinstance(fill, Real) and bool(np.isnan(float(fill)))


def _plain(value: Any) -> Any:
    """Of a list or array of one, as other writers have it, the one."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _from_text(encoded: str, dtype: np.dtype[Any]) -> Any:
    """A fill value as xarray writes it in format 3: whole numbers as they are, real ones as base64 of a double."""
    kind = np.dtype(np.int64) if dtype.kind in "iu" else np.dtype("<f8")
    try:
        return np.frombuffer(base64.standard_b64decode(encoded), kind)[0].astype(dtype)
    except ValueError:
        pass
    try:
        return np.float64(encoded).astype(dtype) if dtype.kind == "f" else dtype.type(encoded)
    except ValueError as error:
        raise InputError(f"its attribute _FillValue is {encoded!r}. Expected a value of type {dtype}.") from error
