"""A fit as it is kept: its record, and how it is saved and loaded again."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from bcnmf_dask.errors import InputError
from bcnmf_dask.failures.explaining import explained, is_kept_out
from bcnmf_dask.results.factors import StoredNames, cell_dimension, open_array, read_usages, usages_name
from bcnmf_dask.results.layout import FORMAT, FORMAT_VERSION
from bcnmf_dask.results.output import Output
from bcnmf_dask.results.provenance import Provenance
from bcnmf_dask.results.record import HISTORY_COLUMNS, Divergences, FitResult, Side, Status
from bcnmf_dask.results.separation import Separation
from bcnmf_dask.updates.statistics import ROLES, Role

__all__ = ["HISTORY_COLUMNS", "Divergences", "FitResult", "Status", "load_result", "save_result"]

EAGER_BYTES = 64 * 2**20
"""Usages smaller than this are loaded as NumPy, others stay in their store."""


def save_result(result: FitResult, path: str | os.PathLike[str]) -> None:
    """Write a result as one Zarr group, which ``xarray.open_zarr`` opens; it appears whole or not at all.

    Parameters
    ----------
    result : FitResult
        What to save; lazy usages are computed and written in pieces.
    path : path
        Where to; nothing may be there yet.

    Raises
    ------
    InputError
        ``path`` exists, or its folder does not, or cannot be written to.
    OutputError
        Writing fails on the way; nothing is left half-written.
    """
    output = Output.at(path, "path")
    run = {name: value for name, value in result.run.items() if name != "temporary_store"}  # it will not be there
    try:
        output.finish(replace(result, run=run))
    except BaseException:
        output.discard()
        raise


def load_result(path: str | os.PathLike[str]) -> FitResult:
    """Read a saved result.

    Parameters
    ----------
    path : path
        Folder that `save_result` or a fit with ``out=`` wrote.

    Returns
    -------
    FitResult
        Equal to the saved one. Usages are NumPy below 64 MiB, else a lazy Dask array over ``path``; row names
        are read from ``path`` when they are wanted.

    Raises
    ------
    InputError
        ``path`` is missing, is not a saved fit, is from a newer version, or is damaged.
    """
    location = Path(path).expanduser().absolute()
    if not location.exists():
        raise InputError(f"path: there is nothing at {os.fspath(path)!r}. Give the folder of a saved fit.")
    group = _open_fit(location)
    try:
        _check_chunks(group)
        return _read(str(location), dict(group.attrs))
    except Exception as error:  # whatever a damaged file makes a reader raise
        if is_kept_out(error):
            raise InputError(f"path: {explained(str(location), error)}") from error
        raise InputError(
            f"path: the fit at {str(location)!r} is damaged or was copied only in part ({error}). "
            "Copy it again from where it was made, or run the fit again."
        ) from error


def _open_fit(location: Path) -> zarr.Group:
    try:
        group = zarr.open_group(str(location), mode="r")
    except Exception as error:  # Zarr raises many kinds for what is not a readable group
        if is_kept_out(error):
            raise InputError(f"path: {explained(str(location), error)}") from error
        raise InputError(_not_a_fit(location, f"it cannot be opened as a Zarr group: {error}")) from error
    if group.attrs.get("format") != FORMAT:
        raise InputError(_not_a_fit(location, f"its attribute 'format' is not {FORMAT!r}"))
    version = group.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"path: the fit at {str(location)!r} has format version {version}, but this bcnmf-dask reads "
            f"version {FORMAT_VERSION}. Load it with the bcnmf-dask that wrote it."
        )
    return group


def _not_a_fit(location: Path, reason: str) -> str:
    return (
        f"path: {str(location)!r} is not a fit saved by bcnmf-dask ({reason}). "
        "Give the folder that save() or out= has written."
    )


def _check_chunks(group: zarr.Group) -> None:
    """Every chunk of a saved fit is written, zeros too: a missing one was lost, and would read as zeros."""
    for name, array in group.arrays():
        missing = array.nchunks - array.nchunks_initialized
        if missing:
            raise ValueError(f"{missing} of the {array.nchunks} chunks of {name!r} are missing")


def _read(location: str, attributes: dict[str, Any]) -> FitResult:
    n_rows, totals = json.loads(attributes["n_rows"]), json.loads(attributes["totals"])
    sides = {role: _side(location, role, n_rows[role], totals[role]) for role in ROLES if role in n_rows}
    saved = [role for role in sides if usages_name(role) in zarr.open_group(location, mode="r")]
    usages = {role: _usages(location, role) for role in saved}
    return FitResult(
        components=_values(location, "components"),
        target_usages=usages.get("target"),
        background_usages=usages.get("background"),
        sides=sides,
        separation=Separation(_values(location, "auroc"), float(attributes["auroc_error"])),
        profile=_values(location, "mean_profile"),
        floor=_values(location, "floor"),
        history=_history(location),
        divergences=Divergences(**json.loads(attributes["divergences"])),
        status=Status(attributes["status"], attributes["status_sentence"], attributes["converged"]),
        features=_features(location),
        row_names={role: _row_names(location, role) if role in saved else None for role in sides},
        parameters=json.loads(attributes["parameters"]),
        versions=json.loads(attributes["versions"]),
        run=json.loads(attributes["run"]),
        provenance=Provenance.of(json.loads(attributes["provenance"])),
    )


def _values(location: str, name: str) -> NDArray[Any]:
    return np.asarray(open_array(location, name)[...])


def _side(location: str, role: Role, n_rows: int, total: float) -> Side:
    sums = (_values(location, f"{role}_{name}") for name in ("signal", "explained", "carriers"))
    return Side(int(n_rows), float(total), *sums)


def _usages(location: str, role: Role) -> Any:
    small = open_array(location, usages_name(role)).nbytes < EAGER_BYTES
    return _values(location, usages_name(role)) if small else read_usages(location, role)


def _history(location: str) -> pd.DataFrame:
    names = {column: f"history_{column}" for column in HISTORY_COLUMNS} | {"iteration": "iteration"}
    return pd.DataFrame({column: _values(location, name) for column, name in names.items()})


def _features(location: str) -> NDArray[np.object_] | None:
    return _values(location, "feature").astype(object) if _named(location, "feature") else None


def _row_names(location: str, role: Role) -> StoredNames | None:
    dimension = cell_dimension(role)
    return StoredNames(location, dimension) if _named(location, dimension) else None


def _named(location: str, dimension: str) -> bool:
    """Whether a coordinate holds names; what has none was numbered."""
    return not np.issubdtype(open_array(location, dimension).dtype, np.integer)
