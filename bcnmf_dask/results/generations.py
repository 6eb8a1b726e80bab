"""One generation of a checkpoint: how fits lie in it, and how it is proved to be as it was written."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bcnmf_dask.errors import CheckpointError
from bcnmf_dask.results.factors import open_array, usages_name
from bcnmf_dask.results.places import Place, checksum
from bcnmf_dask.updates.statistics import ROLES

FORMAT = "bcnmf_dask.checkpoint"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class SavedFit:
    """One fit of a generation.

    Attributes
    ----------
    key : str
        Name of the fit, and of its files in the generation.
    basis : ndarray (n_features, n_components)
        The basis, in the dtype of the run.
    scales : ndarray (n_components,) of float64
        Norms that the basis was last divided by.
    history : list of dict
        One row of numbers per sweep; NaN is allowed, and every float comes back to the bit.
    usages : str or None
        Path or URL of the Zarr group of the usages, as `CheckpointStore.usages_location` gave it; None if no sweep has
        changed them yet.
    checksums : dict of str to int
        Of the pieces of the usages, as the caller names and computes them.
    stamp : int
        Sweeps that the usages have seen.
    solver : dict of str to ndarray
        What the solver must be given back.
    """

    key: str
    basis: NDArray[Any]
    scales: NDArray[np.float64]
    history: list[dict[str, float]]
    usages: str | None
    checksums: dict[str, int]
    stamp: int
    solver: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Generation:
    """All that was saved after one sweep.

    Attributes
    ----------
    location : str
        Path or URL of the generation.
    sweep : int
        The sweep after which it was saved.
    identity : dict
        What the caller recognises its data and parameters by.
    fits : tuple of SavedFit
        The fits, in the order they were given.
    """

    location: str
    sweep: int
    identity: dict[str, Any]
    fits: tuple[SavedFit, ...]


def write_generation(
    place: Place, name: str, number: int, sweep: int, identity: Mapping[str, Any], fits: Sequence[SavedFit]
) -> None:
    """Write the arrays of a generation, and its manifest last.

    Parameters
    ----------
    place : Place
        Where the store is.
    name : str
        Of the generation in ``place``; the usages are there already.
    number : int
        Higher than those of all older generations.
    sweep, identity, fits
        As in `Generation`. The locations of usages are not stored, so that a store can be moved.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "number": number,
        "sweep": sweep,
        "identity": dict(identity),
        "fits": [_write_fit(place, name, fit) for fit in fits],
    }
    manifest = {"format": FORMAT, "checksum": checksum(_to_json(content)), "content": content}
    place.write_last(name, MANIFEST, _to_json(manifest))


def read_manifest(place: Place, name: str) -> dict[str, Any]:
    """Content of the manifest of a generation.

    Raises
    ------
    FileNotFoundError
        There is no manifest: the generation was never finished.
    CheckpointError
        The manifest is not as it was written, or comes from another version of this package.
    """
    try:
        manifest = json.loads(place.read(f"{name}/{MANIFEST}"))
        content: dict[str, Any] = manifest["content"]
        whole = manifest["format"] == FORMAT and manifest["checksum"] == checksum(_to_json(content))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"its {MANIFEST} is cut short or cannot be read ({error})") from error
    if not whole:
        raise CheckpointError(f"its {MANIFEST} was altered (its checksum differs)")
    if content["format_version"] != FORMAT_VERSION:
        raise CheckpointError(f"it has format version {content['format_version']}, not {FORMAT_VERSION}")
    return content


def read_fits(place: Place, name: str, content: dict[str, Any]) -> Iterator[SavedFit]:
    """The fits of a generation, one after the other.

    Parameters
    ----------
    place : Place
        Where the store is.
    name : str
        Of the generation in ``place``.
    content : dict
        Its manifest, as `read_manifest` gave it.

    Raises
    ------
    CheckpointError
        An array or the metadata of usages are not as they were written.
    """
    for entry in content["fits"]:
        key = entry["key"]
        basis = place.read_array(f"{name}/{key}.basis.npy", entry["basis"])
        scales = place.read_array(f"{name}/{key}.scales.npy", entry["scales"])
        usages = None if entry["usages"] is None else usages_location(f"{place.location}/{name}", key)
        if usages is not None:
            _check_usages(usages, entry)
        solver = {
            part: place.read_array(_solver_name(name, key, part), proof) for part, proof in entry["solver"].items()
        }
        yield SavedFit(key, basis, scales, entry["history"], usages, entry["checksums"], entry["stamp"], solver)


def usages_location(generation: str, key: str) -> str:
    """Path or URL of the Zarr group of the usages of a fit."""
    return f"{generation}/{key}"


def _write_fit(place: Place, name: str, fit: SavedFit) -> dict[str, Any]:
    return {
        "key": fit.key,
        "basis": place.write_array(f"{name}/{fit.key}.basis.npy", fit.basis),
        "scales": place.write_array(f"{name}/{fit.key}.scales.npy", fit.scales),
        "history": fit.history,
        "usages": None if fit.usages is None else _describe_usages(fit.usages),
        "checksums": fit.checksums,
        "stamp": fit.stamp,
        "solver": {
            part: place.write_array(_solver_name(name, fit.key, part), np.asarray(value))
            for part, value in fit.solver.items()
        },
    }


def _solver_name(generation: str, key: str, part: str) -> str:
    return f"{generation}/{key}.solver.{part}.npy"


def _describe_usages(location: str) -> dict[str, Any]:
    """Shape and dtype of the usages of each role that the Zarr group at ``location`` holds."""
    group = zarr.open_group(location, mode="r")
    arrays = {role: open_array(location, usages_name(role)) for role in ROLES if usages_name(role) in group}
    return {role: {"shape": list(array.shape), "dtype": str(array.dtype)} for role, array in arrays.items()}


def _check_usages(location: str, entry: dict[str, Any]) -> None:
    try:
        found = _describe_usages(location)
    except Exception as error:  # damaged metadata make Zarr raise nearly anything
        raise CheckpointError(f"the usages of fit {entry['key']!r} are missing or cannot be read ({error})") from error
    if found != entry["usages"]:
        raise CheckpointError(f"the usages of fit {entry['key']!r} are {found} instead of {entry['usages']}")


def _to_json(value: dict[str, Any]) -> bytes:
    # Numbers of NumPy, which JSON does not know, become those of Python; these are written so that no bit is lost.
    return json.dumps(value, default=np.generic.item).encode()
