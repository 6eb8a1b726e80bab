"""From a finished fit to its frozen result: components, usages, status, and the record of the run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bcnmf_dask.backend import to_host
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.engine.base import Engine
from bcnmf_dask.engine.environment import versions
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.fitting.loop import FitProgress, objective
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.verdict import verdict
from bcnmf_dask.results.factors import read_usages
from bcnmf_dask.results.output import Output
from bcnmf_dask.results.record import Divergences, FitResult
from bcnmf_dask.updates.statistics import Role


@dataclass(frozen=True)
class Session:
    """What the fits of one run share.

    Attributes
    ----------
    inputs : Inputs
    plan : ShardPlan
    dtype : str
    engine : Engine
    findings : Findings
    resumed_from : int
        The sweep that the run went on from; 0 if fresh.
    checkpoints : int
        Checkpoints written.
    """

    inputs: Inputs
    plan: ShardPlan
    dtype: str
    engine: Engine
    findings: Findings
    resumed_from: int
    checkpoints: int


def finish(
    session: Session, fit: FitProgress, settings: Settings, evaluation: Record, output: Output | None
) -> FitResult:
    """The result of a fit that is over, written to ``output`` if there is one.

    Parameters
    ----------
    session : Session
    fit : FitProgress
    settings : Settings
        Those of the fit.
    evaluation : mapping of role to Evaluation
        Of the final factors.
    output : Output or None

    Returns
    -------
    FitResult

    Raises
    ------
    OutputError
        It cannot be written; the error carries it, with its usages if they are in memory.
    """
    result = _result(session, fit, settings, evaluation)
    if session.inputs.lazy:
        return result if output is None else _stored(session, fit, result, output, list(evaluation))
    usages = {role: session.engine.usages(fit.order(), role) for role in evaluation}
    result = _with_usages(result, session.inputs, usages)
    if output is not None:
        output.finish(result)
    return result


def _stored(session: Session, fit: FitProgress, result: FitResult, output: Output, roles: Sequence[Role]) -> FitResult:
    """The result with usages that lie in the store."""
    with output.writing(result):
        session.engine.write_usages(fit.order(), output.location)
    output.finish(result)
    return _with_usages(result, session.inputs, {role: read_usages(output.path, role) for role in roles})


def _with_usages(result: FitResult, inputs: Inputs, usages: Mapping[Role, Any]) -> FitResult:
    wrapped = {f"{role}_usages": inputs.wraps[role](values) for role, values in usages.items()}
    return replace(result, **wrapped)


def _result(session: Session, fit: FitProgress, settings: Settings, evaluation: Record) -> FitResult:
    """All but the usages."""
    inputs = session.inputs
    components = np.ascontiguousarray(to_host(fit.basis).T)
    divergences = {role: sums.divergence for role, sums in evaluation.items()}
    status, remarks = verdict(fit, components, evaluation, inputs, session.findings)
    return FitResult(
        components=components,
        target_usages=None,
        background_usages=None,
        target_signal=evaluation["target"].usage_sum,
        background_signal=evaluation["background"].usage_sum if "background" in evaluation else None,
        history=pd.DataFrame([asdict(swept) for swept in fit.history]),
        divergences=Divergences(
            divergences["target"], divergences.get("background", np.nan), objective(divergences, fit.alpha)
        ),
        status=status,
        features=inputs.features,
        row_names=inputs.row_names,
        parameters=settings.described()
        | {
            "dtype": session.dtype,
            "effective_alpha": fit.alpha,
            "layer": inputs.layer,
            "has_layers": inputs.has_layers,
        },
        versions=versions(),
        run=_run(session, fit) | {"remarks": list(remarks)},
    )


def _run(session: Session, fit: FitProgress) -> dict[str, Any]:
    return {
        **session.engine.describe(),
        **fit.solver.describe(),
        "shards": len(session.plan.shards),
        "blocks": session.plan.n_blocks,
        "stored_values": session.plan.stored_values,
        "data_visits": fit.data_visits + 1,
        "resumed_from": session.resumed_from,
        "checkpoints": session.checkpoints,
        "rows": dict(session.inputs.n_rows),
        "zero_rows": dict(session.findings.zero_rows),
        "zero_features": int(np.count_nonzero(~session.findings.seen)),
    }
