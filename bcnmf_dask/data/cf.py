"""Zarr arrays whose attributes change the meaning of their values, by the CF conventions that xarray writes."""

import base64
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.conventions import decode_cf_variable

CHANGING = ("scale_factor", "add_offset", "missing_value", "_FillValue", "_Unsigned")
"""Attributes with which stored values stand for others."""


class DecodedArray:
    """An array of which slices come as their attributes say: scaled, and NaN where values are missing.

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
        return self._decoded(np.asarray(self._array[key]))

    def _decoded(self, values: NDArray[Any]) -> NDArray[Any]:
        dimensions = [f"axis_{number}" for number in range(values.ndim)]
        stored = xr.Variable(dimensions, values, dict(self._attributes))
        return np.asarray(decode_cf_variable("values", stored, decode_times=False).values)


def decoded(array: "zarr.Array[Any]") -> Any:
    """The array itself, or a `DecodedArray` where its attributes change the meaning of its values."""
    attributes: dict[str, Any] = {name: array.attrs[name] for name in CHANGING if name in array.attrs}
    if isinstance(attributes.get("_FillValue"), str):
        attributes["_FillValue"] = _from_text(attributes["_FillValue"], array.dtype)
    written_by_xarray = "_ARRAY_DIMENSIONS" in array.attrs
    if array.metadata.zarr_format == 2 and written_by_xarray and array.fill_value is not None:
        attributes.setdefault("_FillValue", array.fill_value)  # where xarray keeps it in this format
    if attributes.keys() == {"_FillValue"} and attributes["_FillValue"] != attributes["_FillValue"]:
        return array  # a value that is not a number is none already
    return DecodedArray(array, attributes) if attributes else array


def _from_text(encoded: str, dtype: np.dtype[Any]) -> Any:
    """A fill value as xarray writes it in format 3: whole numbers as they are, real ones as base64 of a double."""
    kind = np.dtype(np.int64) if dtype.kind in "iu" else np.dtype("<f8")
    try:
        return np.frombuffer(base64.standard_b64decode(encoded), kind)[0].astype(dtype)
    except ValueError:
        return dtype.type(encoded)
