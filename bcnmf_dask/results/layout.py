"""What a saved fit looks like inside, so that ``xarray.open_zarr`` shows it as one labelled data set."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bcnmf_dask.backend import to_host
from bcnmf_dask.results.factors import (
    RowNames,
    cell_dimension,
    create_array,
    create_usages,
    usages_name,
    writable_usages,
)
from bcnmf_dask.results.record import HISTORY_COLUMNS, FitResult, Side
from bcnmf_dask.updates.statistics import Role

FORMAT = "bcnmf_dask.fit"
FORMAT_VERSION = 3
_SILENCE = Lock()  # the filters of warnings belong to the process: of two threads, one would restore the other's
PIECE_ROWS = 100_000
"""Rows that the driver holds at once: names of 1e8 cells must never be in memory together."""


def write_result(location: str, result: FitResult) -> None:
    """Write all of ``result`` that is not yet in the group at ``location``, and consolidate its metadata.

    Usages whose array is already there were written by the workers and are left as they are.

    Parameters
    ----------
    location : str
        Path of a Zarr group, or of an empty folder that becomes one.
    result : FitResult
        What to write. Of usages that are None, names of rows are left out too.
    """
    # First, because it is quick and the one step that can refuse what a user gave.
    zarr.open_group(location, mode="a", zarr_format=3).attrs.update(_attributes(result))
    _write_components(location, result)
    _write_history(location, result)
    usages = {"target": result.target_usages, "background": result.background_usages}
    for role, side in result.sides.items():
        _write_role(location, result, role, usages[role], side)
    consolidate(location)


def _attributes(result: FitResult) -> dict[str, Any]:
    """Plain values as they are, nested ones as JSON text: every reader of Zarr attributes can show both."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "status": result.status.word,
        "status_sentence": result.status.sentence,
        "converged": bool(result.status.converged),
        "resumed_from": int(result.run.get("resumed_from", 0)),
        "auroc_error": float(result.separation.error),
        "totals": _to_json({role: side.total for role, side in result.sides.items()}),
        "n_rows": _to_json({role: side.n_rows for role, side in result.sides.items()}),
        "divergences": _to_json(result.divergences._asdict()),
        "parameters": _to_json(result.parameters),
        "versions": _to_json(result.versions),
        "run": _to_json(result.run),
        "provenance": _to_json(result.provenance.plain()),
    }


def _to_json(value: dict[str, Any]) -> str:
    # A seed taken from np.arange is a NumPy integer, which JSON does not know.
    return json.dumps(value, default=np.generic.item)


def _write_components(location: str, result: FitResult) -> None:
    n_components, n_features = result.components.shape
    _write_whole(location, "components", result.components, ("component", "feature"))
    _write_labels(location, "component", n_components, np.arange, "int64")
    if result.features is None:
        _write_labels(location, "feature", n_features, np.arange, "int64")
    else:
        _write_whole(location, "feature", result.features, ("feature",), "string")
    _write_whole(location, "mean_profile", result.profile, ("feature",))
    _write_whole(location, "floor", result.floor, ("feature",))
    _write_whole(location, "auroc", result.separation.auroc, ("component",))


def _write_history(location: str, result: FitResult) -> None:
    for column in HISTORY_COLUMNS:
        name = "iteration" if column == "iteration" else f"history_{column}"
        _write_whole(location, name, result.history[column].to_numpy(), ("iteration",))


def _write_role(location: str, result: FitResult, role: Role, usages: Any, side: Side) -> None:
    _write_whole(location, f"{role}_signal", side.signal, ("component",))
    _write_whole(location, f"{role}_explained", side.explained, ("component_or_profile",))
    _write_whole(location, f"{role}_carriers", side.carriers, ("component",))
    there = zarr.open_group(location, mode="r")
    if usages is not None and usages_name(role) not in there:
        _write_usages(location, role, usages)
    elif usages_name(role) not in there:
        return
    if cell_dimension(role) not in there:
        write_row_names(location, role, side.n_rows, result.row_names.get(role))


def write_row_names(location: str, role: Role, n_rows: int, names: RowNames | None) -> None:
    """Write the names of the rows of a role, a piece at a time; their numbers where they have none.

    Parameters
    ----------
    location : str
        Path of a Zarr group, or of an empty folder that becomes one.
    role : {"target", "background"}
    n_rows : int
    names : RowNames or None
    """
    if names is None:
        _write_labels(location, cell_dimension(role), n_rows, np.arange, "int64")
    else:
        _write_labels(location, cell_dimension(role), n_rows, names.read, "string")


def _write_usages(location: str, role: Role, usages: Any) -> None:
    """Write NumPy, CuPy, DataArray or Dask usages, in pieces: any of them can be sliced and made an ndarray."""
    n_rows, n_components = usages.shape
    create_usages(location, role, n_rows, n_components, PIECE_ROWS, usages.dtype)
    for start in range(0, n_rows, PIECE_ROWS):
        writable_usages(location, role)[start : start + PIECE_ROWS] = np.asarray(
            to_host(usages[start : start + PIECE_ROWS])
        )


def _write_whole(
    location: str, name: str, values: NDArray[Any], dimensions: tuple[str, ...], dtype: Any = None
) -> None:
    chunks = tuple(max(length, 1) for length in values.shape)  # of no sweep there is no history
    create_array(location, name, values.shape, chunks, dtype or values.dtype, dimensions)[...] = values


def _write_labels(
    location: str, dimension: str, length: int, read: Callable[[int, int], NDArray[Any]], dtype: str
) -> None:
    # "string" is Zarr's variable-length text; NumPy's fixed-length kind has no Zarr 3 specification yet.
    array = create_array(location, dimension, (length,), (PIECE_ROWS,), dtype, (dimension,))
    for start in range(0, length, PIECE_ROWS):
        stop = min(start + PIECE_ROWS, length)
        array[start:stop] = read(start, stop)


def consolidate(location: str) -> None:
    """Collect all metadata of a store in one file, so that opening takes one read.

    Parameters
    ----------
    location : str
        Path of a Zarr group.
    """
    # Zarr notes that format 3 does not specify consolidated metadata; readers without it ignore it.
    with unwarned("Consolidated metadata is currently not part"):
        zarr.consolidate_metadata(location, zarr_format=3)


@contextmanager
def unwarned(beginning: str) -> Iterator[None]:
    """Keep one warning of a library, which a user can do nothing about, from being shown.

    Parameters
    ----------
    beginning : str
        Of its text.
    """
    with _SILENCE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", beginning, UserWarning)
        yield
