"""The frozen record of a fit: what came out, how it went, and what it was made with."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcnmf_dask.results.factors import RowNames
from bcnmf_dask.results.methods import methods_of
from bcnmf_dask.results.places import checksum
from bcnmf_dask.results.provenance import Provenance, as_json
from bcnmf_dask.results.separation import Separation
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
        For programs: ``"converged"``, ``"max_iter"``, ``"passed"``, ``"stopped"``, ``"collapsed"``, of new rows
        ``"fitted"`` or ``"unfinished"``, and ``"interrupted"`` by an error.
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


class Side(NamedTuple):
    """Sums over the rows of one role that tell how much of them a fit describes.

    Attributes
    ----------
    n_rows : int
    total : float
        Of all values.
    signal : ndarray (n_components,), float64
        Of the usages.
    explained : ndarray (n_components + 1,), float64
        Of usages that are fitted together with the mean profile, whose own are the last.
    carriers : ndarray (n_components,), float64
        Rows that then have the component, see `bcnmf_dask.updates.statistics.CARRIED`.
    """

    n_rows: int
    total: float
    signal: NDArray[np.float64]
    explained: NDArray[np.float64]
    carriers: NDArray[np.float64]


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
    sides : mapping of role to Side
        Of each role that there is.
    separation : Separation
        Of the target from the background, by each component.
    profile : ndarray (n_features,), float64
        The mean profile of the background (of the target without one): its sum is one, or zero.
    floor : ndarray (n_features,)
        What is part of every reconstruction: with it, usages minimise the divergence of `transform`.
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
    provenance : Provenance
        What it was made from, when, and by which command.
    """

    components: NDArray[Any]
    target_usages: Any
    background_usages: Any | None
    sides: Mapping[Role, Side]
    separation: Separation
    profile: NDArray[np.float64]
    floor: NDArray[Any]
    history: pd.DataFrame
    divergences: Divergences
    status: Status
    features: NDArray[np.object_] | None
    row_names: Mapping[Role, RowNames | None]
    parameters: dict[str, Any]
    versions: dict[str, str]
    run: dict[str, Any]
    provenance: Provenance

    @property
    def target_signal(self) -> NDArray[np.float64]:
        """Column sums of the usages of the target (n_components,)."""
        return self.sides["target"].signal

    @property
    def background_signal(self) -> NDArray[np.float64] | None:
        """Column sums of the usages of the background (n_components,); None without one."""
        return self.sides["background"].signal if "background" in self.sides else None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a new Zarr store, from which `BCNMF.load` makes an estimator.

        Raises
        ------
        InputError
            If ``path`` exists or cannot be written.
        """
        from bcnmf_dask.results.result import save_result  # which is written in terms of this class

        save_result(self, path)

    def described(self) -> dict[str, Any]:
        """All that is known of the fit but its arrays, as JSON can hold it; what is not finite is None.

        Returns
        -------
        dict
            ``n_components``, ``n_features``; ``n_rows`` of each role; ``sweeps`` (of the online solver batches, and one
            sweep; none where usages alone were fitted); ``usages_saved``; ``components_checksum``, of their bytes;
            ``status`` (``word``, ``sentence``, ``converged``), ``divergences``, ``parameters``, ``versions``, ``run``
            and ``provenance``, as in this record.
        """
        n_components, n_features = self.components.shape
        described: dict[str, Any] = as_json(
            {
                "n_components": n_components,
                "n_features": n_features,
                "n_rows": {role: side.n_rows for role, side in self.sides.items()},
                "sweeps": len(self.history),
                "usages_saved": self.target_usages is not None,
                "components_checksum": checksum(np.ascontiguousarray(self.components).tobytes()),
                "status": self.status._asdict(),
                "divergences": self.divergences._asdict(),
                "parameters": self.parameters,
                "versions": self.versions,
                "run": self.run,
                "provenance": self.provenance.plain(),
            }
        )
        return described

    def methods(self) -> str:
        """A paragraph for the methods section of a paper; all that it says comes from this record."""
        return methods_of(self.described())
