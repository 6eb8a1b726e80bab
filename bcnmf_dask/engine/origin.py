"""The start of the usages of a shard: given, drawn, or read from where they were saved."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.shards import Shard
from bcnmf_dask.engine.base import FitSpec, Recipe, Saved, Starts
from bcnmf_dask.engine.digests import checksum
from bcnmf_dask.errors import CheckpointError
from bcnmf_dask.results.factors import open_array, usages_name
from bcnmf_dask.updates.initialise import draw_usages
from bcnmf_dask.updates.statistics import Role


def start_usages(recipe: Recipe, shard: Shard, dtype: np.dtype[Any]) -> dict[Role, NDArray[Any]]:
    """Usages (rows of the role in the shard, n_components) of each role, before the sweeps of the recipe.

    Raises
    ------
    CheckpointError
        If saved usages cannot be read or do not match their checksums.
    """
    if recipe.saved is not None:
        return {role: _saved(recipe.saved, role, rows, dtype) for role, rows in shard.role_rows.items()}
    given = recipe.given.get(shard.index, {})
    return {role: _fresh(recipe.spec, given, role, rows, dtype) for role, rows in shard.role_rows.items()}


def _fresh(spec: FitSpec, given: Starts, role: Role, rows: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    if role in given:
        return np.array(given[role], dtype=dtype, order="C")
    return draw_usages(spec.seed, role, *rows, spec.n_components).astype(dtype)


def _saved(saved: Saved, role: Role, rows: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    first, last = rows
    try:
        usages = np.array(open_array(saved.location, usages_name(role))[first:last], dtype=dtype, order="C")
    except Exception as error:
        raise CheckpointError(
            f"{saved.location}: the {role} usages {first}:{last} cannot be read ({error}). Expected them whole."
        ) from error
    if checksum(usages) != saved.checksums.get(f"{role}:{first}"):
        raise CheckpointError(
            f"{saved.location}: the {role} usages {first}:{last} are not those that were saved (checksums differ)."
        )
    return usages
