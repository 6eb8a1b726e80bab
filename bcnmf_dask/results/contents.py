"""What the store of a fit holds, without reading any of it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zarr

MEANINGS = {
    "components": "weights of the features; each component sums to one",
    r"(target|background)_usages": "how much of each component a row has",
    r"(target|background)_signal": "sum of the usages",
    r"(target|background)_explained": "sum of the usages beside the mean profile, whose own are the last",
    r"(target|background)_carriers": "rows that have the component",
    "auroc": "how well the usages tell target from background",
    "mean_profile": "of the background (of the target without one)",
    "floor": "what is part of every reconstruction",
    "feature": "names of the features, or their numbers",
    "component": "numbers of the components",
    r"(target|background)_cell": "names of the rows, or their numbers",
    "iteration": "numbers of the sweeps (of the online solver, of the batches)",
    r"history_\w+": "one value for each sweep (of the online solver, for each batch)",
}
"""By patterns of names."""


class ArrayOutline(NamedTuple):
    """An array of a store.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dimensions : tuple of str
    dtype : str
    meaning : str
        In words; empty if the name is not known.
    """

    name: str
    shape: tuple[int, ...]
    dimensions: tuple[str, ...]
    dtype: str
    meaning: str


def stored_arrays(path: str | os.PathLike[str]) -> list[ArrayOutline]:
    """The arrays of a saved fit by name; no value is read.

    Parameters
    ----------
    path : path
        Of a store that `bcnmf_dask.results.result.load_result` can load.
    """
    arrays = zarr.open_group(str(Path(path).expanduser().absolute()), mode="r").arrays()
    return sorted(_described(name, array) for name, array in arrays)


def _described(name: str, array: "zarr.Array[Any]") -> ArrayOutline:
    meaning = next((words for pattern, words in MEANINGS.items() if re.fullmatch(pattern, name)), "")
    dimensions = tuple(map(str, getattr(array.metadata, "dimension_names", None) or ()))
    dtype = "text" if array.dtype.kind in "OTU" else str(array.dtype)
    return ArrayOutline(name, array.shape, dimensions, dtype, meaning)


def stored_bytes(path: str | os.PathLike[str]) -> int:
    """Size of all files of a store together.

    Parameters
    ----------
    path : path
        Of a folder.
    """
    return sum(_sizes(Path(path).expanduser()))


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name).stat().st_size for name in names)
