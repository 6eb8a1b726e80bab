"""Where a table came from, in words that are true months later."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from anndata import AnnData

from bcnmf_dask.data.kinds import open_table
from bcnmf_dask.data.locations import absolute, is_file, is_location, shown
from bcnmf_dask.data.sources import DaskSource
from bcnmf_dask.data.tables import Table
from bcnmf_dask.results.provenance import Origin

NOUNS = {
    "anndata": "AnnData",
    "cupy": "CuPy array",
    "cupyx": "CuPy matrix",
    "dask": "Dask array",
    "numpy": "NumPy array",
    "pandas": "pandas DataFrame",
    "scipy": "SciPy matrix",
    "xarray": "xarray DataArray",
}
"""What is called so, by the library that its type is of."""


def open_with_origin(value: Any, layer: str | None) -> Table:
    """Read the outline of one input, see `open_table`, and note where it came from.

    Raises
    ------
    InputError
        If it is of no kind we know, or cannot be used. The message does not name the argument.
    """
    table = open_table(value, layer)
    n_rows, n_features = table.source.shape
    place = _place(value)
    return replace(
        table,
        origin=Origin(
            kind=_kind_in_memory(value, table) if place is None else _kind_of_place(place, table),
            location=None if place is None else shown(absolute(place)),
            matrix=None if table.layers is None else f"layers/{layer}" if layer else "X",
            n_rows=n_rows,
            n_features=n_features,
            n_bytes=None if place is None else _size(place),
        ),
    )


def _place(value: Any) -> str | None:
    """The path or URL that is read from."""
    if is_location(value):
        return str(os.fspath(value))
    return str(value.filename) if isinstance(value, AnnData) and value.isbacked else None


def _kind_of_place(place: str, table: Table) -> str:
    whose = "" if table.layers is None else "AnnData "
    if is_file(place):
        return f"{whose}{Path(place).suffix.lower()} file"
    return f"{whose or 'array in a '}Zarr store"


def _kind_in_memory(value: Any, table: Table) -> str:
    library = type(value).__module__.partition(".")[0]
    noun = NOUNS.get(library, type(value).__name__)
    if not isinstance(table.source, DaskSource):
        return f"{noun} in memory"
    return noun if library == "dask" else f"{noun} of Dask chunks"


def _size(place: str) -> int | None:
    """Bytes of a local file; what a store of many holds takes long to add up."""
    with suppress(OSError):
        return Path(absolute(place)).stat().st_size if is_file(place) else None
    return None
