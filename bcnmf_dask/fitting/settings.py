"""The parameters of one fit, checked, and what they mean for given data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.engine.base import FitSpec, Starts
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting.parameters import check_parameters
from bcnmf_dask.fitting.stopping import PATIENCE
from bcnmf_dask.updates.initialise import draw_basis, normalise
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.statistics import ROLES, Role


@dataclass(frozen=True)
class Settings:
    """One fit.

    Attributes
    ----------
    n_components : int
    alpha : float
        Strength of the contrast.
    weighting : {"deviance", "mean", "sum"}
        Whether ``alpha`` weighs the sides by how far their rows are from being all alike, by means over cells, or, as
        published, by sums.
    loss : str
        A key of `bcnmf_dask.updates.losses.LOSSES`.
    damping : float or None
        None: the default of the loss.
    max_iter : int
        Sweeps at most.
    tol : float
        See `bcnmf_dask.fitting.stopping.Convergence`.
    seed : int
    solver : {"published", "accelerated", "online"}
    batch_size : int or None
        Rows of a batch of the online solver; None: a default.
    converged_usages : bool or None
        Whether usages are fitted to the final components entirely; None: but for the published solver.
    start : mapping
        Any of ``components`` (n_components, n_features), ``target_usages`` and ``background_usages``
        (rows, n_components); what is missing is drawn from ``seed``.
    """

    n_components: int
    alpha: float
    weighting: str
    loss: str
    damping: float | None
    max_iter: int
    tol: float
    seed: int
    solver: str = "published"
    batch_size: int | None = None
    converged_usages: bool | None = None
    start: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that no data could be fitted with."""
        check_parameters(self)

    def is_weighed_by_deviance(self, inputs: Inputs) -> bool:
        """Whether the deviances of both sides are needed."""
        return self.weighting == "deviance" and self.alpha > 0 and "background" in inputs.n_rows

    def effective_alpha(self, inputs: Inputs, deviances: Mapping[Role, float] | None = None) -> float:
        """The factor of the background's sum in the objective: what alpha is per row, or per deviance, of both sides.

        Parameters
        ----------
        inputs : Inputs
        deviances : mapping of role to float, optional
            Needed where the fit is weighed by them.
        """
        if "background" not in inputs.n_rows or self.weighting == "sum":
            return self.alpha
        sizes = deviances if self.is_weighed_by_deviance(inputs) else inputs.n_rows
        if sizes is None:
            raise ValueError("weighting='deviance' needs the deviances of both sides")
        return self.alpha * sizes["target"] / sizes["background"]

    @property
    def converges_usages(self) -> bool:
        """What ``converged_usages`` means: the published solver is followed to the bit, its usages too."""
        return self.solver != "published" if self.converged_usages is None else self.converged_usages

    def effective_damping(self) -> float:
        """The damping, or the default of the loss."""
        return LOSSES[self.loss].default_damping if self.damping is None else self.damping

    def spec(self, key: str) -> FitSpec:
        """What an engine must know of the fit."""
        return FitSpec(key, self.loss, self.n_components, self.seed)

    def start_basis(self, n_features: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The normalised start basis, float64, and the scales that the start usages must be multiplied by."""
        if "components" in self.start:
            return normalise(np.asarray(self.start["components"], dtype=np.float64).T)
        return normalise(draw_basis(self.seed, n_features, self.n_components))

    def kept_basis(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The basis of a former fit to the bit, which is normalised already, and scales of one."""
        basis = np.ascontiguousarray(np.asarray(self.start["components"]).T)
        return basis, np.ones(basis.shape[1])

    def start_usages(self) -> Starts:
        """The start usages that were given."""
        return {role: np.asarray(self.start[f"{role}_usages"]) for role in ROLES if f"{role}_usages" in self.start}

    def described(self) -> dict[str, Any]:
        """The parameters by the names of the estimator, as JSON can hold them; of given starts, the names."""
        return {
            "n_components": int(self.n_components),
            "alpha": float(self.alpha),
            "weighting": self.weighting,
            "loss": self.loss,
            "solver": self.solver,
            "batch_size": None if self.batch_size is None else int(self.batch_size),
            "converged_usages": self.converged_usages,
            "damping": None if self.damping is None else float(self.damping),
            "effective_damping": self.effective_damping(),
            "init": sorted(self.start) or "random",
            "max_iter": int(self.max_iter),
            "tol": float(self.tol),
            "patience": PATIENCE,
            "random_state": int(self.seed),
        }

    def check_against(self, inputs: Inputs) -> None:
        """Refuse what this data cannot be fitted with.

        Raises
        ------
        InputError
            More components than features or (unless the components are given) target rows, a contrast
            without a background, start arrays of other shapes.
        """
        n_target, n_features = inputs.n_rows["target"], inputs.n_features
        most = n_features if "components" in self.start else min(n_features, n_target)
        if self.n_components > most:
            raise InputError(
                f"n_components: got {self.n_components}, with {n_features} features and {n_target} target rows. "
                f"Expected at most {most}: ask for fewer components."
            )
        if self.alpha > 0 and "background" not in inputs.n_rows:
            raise InputError(
                f"background: none given, but alpha={self.alpha:g}. Expected a background to contrast with: "
                "give background=..., or set alpha=0 for plain NMF."
            )
        self._check_start(inputs)

    def _check_start(self, inputs: Inputs) -> None:
        shapes = {"components": (self.n_components, inputs.n_features)}
        shapes |= {f"{role}_usages": (count, self.n_components) for role, count in inputs.n_rows.items()}
        for name, array in self.start.items():
            if name not in shapes:
                raise InputError(f"init: {name!r} was given without a background. Expected only {sorted(shapes)}.")
            if np.shape(array) != shapes[name]:
                raise InputError(f"init: {name!r} has shape {np.shape(array)}. Expected {shapes[name]} for this data.")
            values = np.asarray(array)
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise InputError(f"init: {name!r} has negative or non-finite values. Expected finite values >= 0.")
