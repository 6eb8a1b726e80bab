"""Units of alpha: how far the rows of each side are from being all alike, by which the sides can be weighed."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.draws import Draw
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.engine.base import Engine
from bcnmf_dask.engine.orders import Sample
from bcnmf_dask.engine.tree import on_host
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.updates.initialise import normalise
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.moments import Moments, kullback_leibler_deviance, mean_profile
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.statistics import Role, Statistics

VISITS = 3
"""Of all rows, at most, of the power iteration for the Frobenius loss."""
SETTLED = 1e-4
"""Relative change of the deviances below which no further visit is made."""
EXACT = Steps(1, 1.0)
"""With one component, an undamped step of the Frobenius loss solves the least squares of a row, wherever it starts."""
ROUNDINGS = 256
"""Of the type of the run: a deviance of fewer, as a share of the sum of squares, may be nothing but these. 16 million
constant values gave 134."""
LEAST_SHARE = 1e-12
"""The same for Kullback-Leibler, as a share of the total: its sums are float64, whatever the type of the rows."""


class Deviances(NamedTuple):
    """Divergences of both sides from their best models of rank one: every row the same up to a factor.

    Attributes
    ----------
    of : mapping of role to float
    change : float
        Relative, by the last visit, of the side where it is larger: what they may be too large by. 0 in closed form.
    visits : int
        Of all rows, that were made for them.
    """

    of: Mapping[Role, float]
    change: float
    visits: int

    def described(self) -> dict[str, Any]:
        """JSON-able facts for the record of the run."""
        return {"deviances": dict(self.of), "deviance_change": self.change, "deviance_visits": self.visits}


def deviances_of(
    engine: Engine, findings: Findings, inputs: Inputs, piece: int, dtype: str, settings: Iterable[Settings]
) -> dict[str, Deviances]:
    """The deviances that fits are weighed by, for each loss: none, and no visit, where none is.

    Parameters
    ----------
    engine : Engine
        Loaded.
    findings : Findings
        Of all rows.
    inputs : Inputs
    piece : int
        Neighbouring rows that are read together.
    dtype : {"float32", "float64"}
        Of the run.
    settings : iterable of Settings

    Raises
    ------
    InputError
        The rows of a side are all alike, or the loss has no such deviance.
    """
    found: dict[str, Deviances] = {}
    for loss in sorted({one.loss for one in settings if one.is_weighed_by_deviance(inputs)}):
        if loss not in _MEASURES:
            raise InputError(
                f"weighting: got 'deviance', which loss={loss!r} does not have. Expected one of the losses "
                f"{', '.join(map(repr, _MEASURES))}, or weighting='mean'."
            )
        everything = Draw((0,), 0, 1, inputs.n_rows, piece)
        found[loss] = _MEASURES[loss](engine, findings.moments, everything, dtype)
        for role, moments in findings.moments.items():
            _refuse_alike(inputs.called[role], found[loss].of[role], _ROUNDING[loss](moments, dtype))
    return found


def effective_alphas(settings: Iterable[Settings], inputs: Inputs, deviances: Mapping[str, Deviances]) -> list[float]:
    """The factor of the background's sum in the objective of each fit, by the deviances for each loss."""
    return [one.effective_alpha(inputs, deviances[one.loss].of if one.loss in deviances else None) for one in settings]


def _refuse_alike(side: str, deviance: float, least: float) -> None:
    if deviance <= least:
        raise InputError(
            f"{side}: its rows are all the same up to a factor (their divergence from one profile is {deviance:.2g}, "
            f"and up to {least:.2g} may be rounding), so there is nothing to contrast, and nothing for "
            "weighting='deviance' to weigh this side by. Expected rows that differ: check which rows, layer or file it "
            "comes from, set weighting='mean', or where the differences are only small dtype='float64'."
        )


def _closed_form(_engine: Engine, moments: Mapping[Role, Moments], _everything: Draw, _dtype: str) -> Deviances:
    return Deviances({role: kullback_leibler_deviance(one) for role, one in moments.items()}, 0.0, 0)


def _by_iteration(engine: Engine, moments: Mapping[Role, Moments], everything: Draw, dtype: str) -> Deviances:
    """Sums of squares less the largest squared singular value, by power iteration from the mean profiles.

    A visit gives the residuals of the profiles it was made with, which fall from one to the next, and better profiles.
    """
    profiles = {role: mean_profile(one) for role, one in moments.items()}
    found = dict.fromkeys(profiles, np.inf)
    visits, change = 0, np.inf
    while visits < VISITS and change > SETTLED:
        before, visits = found, visits + 1
        bases = {role: normalise(one[:, None])[0].astype(dtype) for role, one in profiles.items()}
        sums = _sums_at(engine, bases, everything)
        found = {
            role: LOSSES["frobenius"].divergence(one, bases[role].astype(np.float64)) for role, one in sums.items()
        }
        profiles = {role: one.cross[:, 0] for role, one in sums.items()}
        change = max((before[role] - one) / max(one, np.finfo(float).tiny) for role, one in found.items())
    return Deviances(found, float(change), visits)


def _sums_at(engine: Engine, bases: Mapping[Role, NDArray[Any]], everything: Draw) -> dict[Role, Statistics]:
    """Of each side, at the best usages of its own profile: one visit."""
    records, _ = engine.sample([Sample(basis, EXACT, "frobenius", everything) for basis in bases.values()])
    return {role: on_host(record)[role] for role, record in zip(bases, records, strict=True)}


_MEASURES: Mapping[str, Callable[[Engine, Mapping[Role, Moments], Draw, str], Deviances]] = {
    "frobenius": _by_iteration,
    "kullback-leibler": _closed_form,
}
_ROUNDING: Mapping[str, Callable[[Moments, str], float]] = {
    "frobenius": lambda moments, dtype: ROUNDINGS * float(np.finfo(dtype).eps) * moments.squares,
    "kullback-leibler": lambda moments, _: LEAST_SHARE * moments.total,
}
