"""The frozen record of a fit: what came out, how it went, and what it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcnmf_dask.results.factors import RowNames
from bcnmf_dask.updates.statistics import Role

HISTORY_COLUMNS = (
    "iteration",
    "data_visits",
    "target_divergence",
    "background_divergence",
    "objective",
    "basis_change",
    "seconds",
    "compute_seconds",
    "read_seconds",
    "merge_seconds",
    "scheduler_seconds",
    "driver_seconds",
)
"""The columns of a history, one row per sweep; divergences are those of the basis the sweep began with."""


class Status(NamedTuple):
    """How a fit ended.

    Attributes
    ----------
    word : str
        For programs: ``"converged"``, ``"max_iter"``, ``"passed"``, ``"stopped"``, ``"collapsed"``.
    sentence : str
        For people: what happened and what to try.
    converged : bool
        Whether the stopping rule was met.
    """

    word: str
    sentence: str
    converged: bool


class Divergences(NamedTuple):
    """Divergences of the saved factors, in the units of the loss, summed over all entries.

    Attributes
    ----------
    target, background : float
        Divergence of each role from its reconstruction; ``nan`` for a background there is none of.
    objective : float
        Target divergence minus the weighted background divergence.
    """

    target: float
    background: float
    objective: float


@dataclass(frozen=True, eq=False)
class FitResult:
    """Everything a fit leaves behind.

    Attributes
    ----------
    components : ndarray (n_components, n_features)
        Each row sums to one, so that a usage is an amount of signal.
    target_usages : array (n_target, n_components)
        NumPy, CuPy, DataArray, or a lazy Dask array over a store.
    background_usages : array (n_background, n_components) or None
        As ``target_usages``; None without a background.
    target_signal, background_signal : ndarray (n_components,), float64
        Column sums of the usages; None for a background there is none of.
    history : DataFrame
        One row per sweep, columns ``HISTORY_COLUMNS``; ``iteration`` counts from 1, ``seconds`` is wall time.
    divergences : Divergences
        Of the saved factors.
    status : Status
        How the fit ended.
    features : ndarray (n_features,) of str objects, or None
        Names of the features, None if they have none.
    row_names : mapping of role to RowNames or None
        Names of the cells of each role, read in pieces.
    parameters, run : dict
        Parameters given, and what happened (``"resumed_from"``: the sweep, 0 if fresh). JSON can hold them.
    versions : dict
        Versions of the libraries that made the result.
    """

    components: NDArray[Any]
    target_usages: Any
    background_usages: Any | None
    target_signal: NDArray[np.float64]
    background_signal: NDArray[np.float64] | None
    history: pd.DataFrame
    divergences: Divergences
    status: Status
    features: NDArray[np.object_] | None
    row_names: Mapping[Role, RowNames | None]
    parameters: dict[str, Any]
    versions: dict[str, str]
    run: dict[str, Any]
