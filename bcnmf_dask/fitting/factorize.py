"""From validated inputs to frozen results: load, sweep, judge, collect. Fits share every visit of the rows."""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bcnmf_dask.data.findings import Findings, refuse_bad_values
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan, plan_shards
from bcnmf_dask.engine.base import Engine
from bcnmf_dask.engine.clients import open_engine
from bcnmf_dask.engine.environment import versions
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.errors import DataWarning
from bcnmf_dask.fitting.loop import Callback, FitProgress, objective, run_fits
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.stopping import Convergence, collapse
from bcnmf_dask.results.factors import create_usages, read_usages
from bcnmf_dask.results.output import Output
from bcnmf_dask.results.record import Divergences, FitResult, Status
from bcnmf_dask.solvers.base import Solver
from bcnmf_dask.solvers.published import Published
from bcnmf_dask.updates.statistics import Role

logger = logging.getLogger(__name__)

Out = str | os.PathLike[str] | None


@dataclass(frozen=True)
class _Session:
    """What the fits of one run share."""

    inputs: Inputs
    plan: ShardPlan
    dtype: str
    engine: Engine
    findings: Findings


def factorize(
    inputs: Inputs,
    settings: Sequence[Settings],
    *,
    dtype: str,
    client: Any = None,
    outs: Sequence[Out] | None = None,
    callbacks: Sequence[Callback] = (),
    solvers: Sequence[Solver] | None = None,
) -> list[FitResult]:
    """Fit the inputs once per settings, in one run.

    Parameters
    ----------
    inputs : Inputs
    settings : sequence of Settings
    dtype : {"float32", "float64"}
        Of rows, usages and bases; sums over blocks are float64.
    client : object
        See `bcnmf_dask.engine.clients.open_engine`.
    outs : sequence of path or None, optional
        Where each result is written; None writes a result only if its usages are lazy, to a temporary
        directory.
    callbacks : sequence of callable
        See `bcnmf_dask.fitting.loop.run_fits`.
    solvers : sequence of Solver, optional
        Default: `Published` with the settings of each fit.

    Returns
    -------
    list of FitResult

    Raises
    ------
    InputError, ClusterError, NumericalError
        Nothing is left half-written.
    """
    for one in settings:
        one.check_against(inputs)
    solvers = solvers or [Published(s.loss, s.effective_alpha(inputs), s.effective_damping()) for s in settings]
    plan = plan_shards(inputs)
    with ExitStack() as cleanup:
        outputs = [_output(inputs, out, cleanup) for out in outs or [None] * len(settings)]
        engine = cleanup.enter_context(open_engine(client, inputs, plan, dtype))
        findings = engine.load()
        refuse_bad_values(findings, inputs)
        _report(findings, inputs, settings)
        session = _Session(inputs, plan, dtype, engine, findings)
        fits = [
            _begin(session, f"fit-{i}", s, solver) for i, (s, solver) in enumerate(zip(settings, solvers, strict=True))
        ]
        run_fits(engine, fits, callbacks)
        evaluations = engine.evaluate([fit.order() for fit in fits])
        return [
            _finish(session, fit, one, evaluation, output)
            for fit, one, evaluation, output in zip(fits, settings, evaluations, outputs, strict=True)
        ]


def _output(inputs: Inputs, out: Out, cleanup: ExitStack) -> Output | None:
    if not inputs.lazy and out is None:
        return None
    output = Output.at(out)
    cleanup.callback(output.discard)
    return output


def _begin(session: _Session, key: str, settings: Settings, solver: Solver) -> FitProgress:
    session.engine.start(settings.spec(key), settings.start_usages())
    basis, scales = settings.start_basis(session.inputs.n_features)
    return FitProgress(
        key=key,
        loss=settings.loss,
        solver=solver,
        alpha=settings.effective_alpha(session.inputs),
        max_iter=settings.max_iter,
        convergence=Convergence(settings.tol),
        basis=basis.astype(session.dtype),
        scales=scales,
    )


def _finish(
    session: _Session, fit: FitProgress, settings: Settings, evaluation: Record, output: Output | None
) -> FitResult:
    result = _result(session, fit, settings, evaluation)
    if not session.inputs.lazy:
        usages = {role: session.engine.usages(fit.order(), role) for role in evaluation}
    elif output is not None:
        usages = {role: _written(session, fit, role, output) for role in evaluation}
    result = _with_usages(result, session.inputs, usages)
    if output is None:
        return result
    output.finish(result)
    if not session.inputs.lazy:
        return result
    return _with_usages(result, session.inputs, {role: read_usages(output.path, role) for role in evaluation})


def _written(session: _Session, fit: FitProgress, role: Role, output: Output) -> Any:
    """Have the workers write the usages of a role aside."""
    shape = (session.inputs.n_rows[role], fit.basis.shape[1])
    create_usages(output.location, role, *shape, session.plan.chunk_rows, session.dtype)
    session.engine.write_usages(fit.order(), role, output.location)
    return read_usages(output.location, role)


def _with_usages(result: FitResult, inputs: Inputs, usages: Mapping[Role, Any]) -> FitResult:
    wrapped = {f"{role}_usages": inputs.wraps[role](values) for role, values in usages.items()}
    return replace(result, **wrapped)


def _result(session: _Session, fit: FitProgress, settings: Settings, evaluation: Record) -> FitResult:
    """All but the usages."""
    inputs = session.inputs
    components = np.ascontiguousarray(fit.basis.T)
    divergences = {role: sums.divergence for role, sums in evaluation.items()}
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
        status=_status(fit, collapse(components, evaluation, inputs.n_rows["target"])),
        features=inputs.features,
        row_names=inputs.row_names,
        parameters=settings.described() | {"dtype": session.dtype, "effective_alpha": fit.alpha},
        versions=versions(),
        run=_run(session, fit),
    )


def _status(fit: FitProgress, collapsed: str | None) -> Status:
    status = fit.status
    if status is None:
        raise ValueError(f"{fit.key} still runs")
    if collapsed is None:
        return status
    cause = (
        "alpha is probably too large for this data: try a smaller one" if fit.alpha > 0 else "ask for fewer components"
    )
    return Status("collapsed", f"The factorization collapsed: {collapsed}; {cause}.", status.converged)


def _run(session: _Session, fit: FitProgress) -> dict[str, Any]:
    return {
        **session.engine.describe(),
        "shards": len(session.plan.shards),
        "blocks": session.plan.n_blocks,
        "stored_values": session.plan.stored_values,
        "data_visits": len(fit.history) + 1,
        "resumed_from": 0,
        "rows": dict(session.inputs.n_rows),
        "zero_rows": dict(session.findings.zero_rows),
        "zero_features": int(np.count_nonzero(~session.findings.seen)),
    }


def _report(findings: Findings, inputs: Inputs, settings: Sequence[Settings]) -> None:
    """Say what is unusual about the data, but no reason to refuse it."""
    if findings.fractional and any(one.loss == "kullback-leibler" for one in settings):
        warnings.warn(
            f"{findings.fractional} values are not integers, but loss='kullback-leibler' is meant for counts. "
            f"{inputs.layer_note} Or use loss='frobenius'.",
            DataWarning,
            stacklevel=4,
        )
    for role, count in findings.zero_rows.items():
        if count:
            logger.info("%s: %d rows are all zero; they are kept, with usages of zero.", role, count)
    if not findings.seen.all():
        logger.info("%d features are zero in all rows; they are kept, as zeros.", np.count_nonzero(~findings.seen))
    most = max(one.n_components for one in settings)
    if inputs.n_rows.get("background", most) < most:
        logger.info("background: fewer rows (%d) than components (%d).", inputs.n_rows["background"], most)
