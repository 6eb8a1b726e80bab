"""From validated inputs to frozen results: load, sweep, judge, collect. Fits share every visit of the rows."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import device_memory_in_words
from bcnmf_dask.data.findings import Findings, refuse_bad_values
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import Engine, RunSpec
from bcnmf_dask.engine.clients import open_engine
from bcnmf_dask.errors import CheckpointError, ClusterError, DataWarning, InputError
from bcnmf_dask.fitting.checkpointing import Checkpointing, Checkpoints
from bcnmf_dask.fitting.closing import describe_fits, refit_usages
from bcnmf_dask.fitting.finishing import Finished, Session, finish
from bcnmf_dask.fitting.loop import FITTED, Callback, FitProgress, run_fits
from bcnmf_dask.fitting.outputs import Out, outputs_of
from bcnmf_dask.fitting.preemption import stop_requests
from bcnmf_dask.fitting.profiles import Surroundings, surroundings
from bcnmf_dask.fitting.provenance import Request
from bcnmf_dask.fitting.rescue import Rescue, rescued
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.sharing import refuse_unreachable
from bcnmf_dask.fitting.sides import compare_sides, raw_counts
from bcnmf_dask.fitting.solving import pieces_kept, solver_of
from bcnmf_dask.fitting.stopping import Convergence
from bcnmf_dask.fitting.weighting import deviances_of, effective_alphas
from bcnmf_dask.results.record import FitResult
from bcnmf_dask.solvers.base import Solver
from bcnmf_dask.solvers.published import FixedBasis
from bcnmf_dask.updates.losses import LOSSES

logger = logging.getLogger(__name__)

TINY = 1e6
"""Below so many times the guard against division by zero, the largest value of the data is tiny."""


def factorize(
    inputs: Inputs,
    settings: Sequence[Settings],
    *,
    dtype: str,
    client: Any = None,
    device: str = "auto",
    outs: Sequence[Out] | None = None,
    callbacks: Sequence[Callback] = (),
    fixed: Surroundings | None = None,
    checkpoint: Checkpointing | None = None,
    request: Request | None = None,
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
    device : {"auto", "cpu", "cuda"}
        See `bcnmf_dask.engine.hardware.Hardware`.
    outs : sequence of path or None, optional
        Where each result is written; None writes a result only if its usages are lazy, to a temporary
        folder that ends with its last user; where workers do not see it, usages come to this process instead.
    callbacks : sequence of callable
        See `bcnmf_dask.fitting.loop.run_fits`.
    fixed : Surroundings, optional
        Those of a former fit: its components are the start of the settings and stay, only usages are fitted.
    checkpoint : Checkpointing, optional
        Where and how often the fits are saved, and whether they go on from there.
    request : Request, optional
        What else the provenance of the results shall tell.

    Returns
    -------
    list of FitResult

    Raises
    ------
    InputError, ClusterError, NumericalError, CheckpointError
        Nothing is left half-written. After the first sweep, errors of any kind carry what the fits have come to, see
        `bcnmf_dask.errors.BCNMFError`.
    Preempted
        The fit was asked to stop, and has been saved.
    """
    for one in [] if fixed else settings:
        one.check_against(inputs)
    _refuse_one_place(outs or (), checkpoint)
    request = request or Request()
    with _released() as cleanup:
        cleanup.callback(inputs.close)
        plan = plan_shards(inputs)
        outputs = outputs_of(inputs, settings, dtype, outs or [None] * len(settings), cleanup)
        components = [one.n_components for one in settings]
        spec = RunSpec(inputs, plan, dtype, components, pieces_kept(settings, inputs, plan), device)
        engine = cleanup.enter_context(open_engine(client, spec))
        findings = engine.load()
        refuse_bad_values(findings, inputs)
        _report(findings, inputs, settings)
        if inputs.lazy:
            refuse_unreachable(engine, inputs, settings, dtype, outputs)
        with device_memory_in_words():
            deviances = deviances_of(engine, findings, inputs, plan.block_rows, dtype, settings)
        around = [fixed or surroundings(one, findings.moments, dtype) for one in settings]
        checkpoints = None if checkpoint is None else Checkpoints(checkpoint, engine, inputs, settings, dtype)
        profile = around[0].profile
        session = Session(inputs, plan, dtype, engine, findings, deviances, checkpoints, profile, request)
        fits = _started(session, settings, around, learns=fixed is None)
        return _completed(Rescue(session, fits, settings, outputs), callbacks)


@contextmanager
def _released() -> Iterator[ExitStack]:
    """Let go at the end what a run holds; what cannot be let go must not cost a finished fit."""
    with ExitStack() as cleanup:
        yield cleanup
        held = cleanup.pop_all()
    try:
        held.close()
    except Exception as error:
        logger.warning("The run is over and its results are whole, but not all that it held was let go: %s", error)


def _started(
    session: Session, settings: Sequence[Settings], around: Sequence[Surroundings], *, learns: bool
) -> list[FitProgress]:
    """The fits before their first sweep, or as a checkpoint has them."""
    inputs, engine = session.inputs, session.engine
    alphas = effective_alphas(settings, inputs, session.deviances)
    solvers = [
        solver_of(one, alpha, inputs, session.plan) if learns else FixedBasis()
        for one, alpha in zip(settings, alphas, strict=True)
    ]
    fits = [
        begin(one, alpha, inputs, session.dtype, f"fit-{number}", solver, each.floor)
        for number, (one, alpha, solver, each) in enumerate(zip(settings, alphas, solvers, around, strict=True))
    ]
    if session.checkpoints is None or not session.checkpoints.bring_back(fits):
        for fit, one in zip(fits, settings, strict=True):
            engine.start(fit.spec, one.start_usages())
    return fits


def _completed(run: Rescue, callbacks: Sequence[Callback]) -> list[FitResult]:
    """Sweep, make the last visits, and write the results; what fails meanwhile carries what there is."""
    session, fits = run.session, run.fits
    with rescued(run):
        with device_memory_in_words():
            _run(session.engine, fits, callbacks, session.checkpoints)
        optimalities = refit_usages(session.engine, fits, run.settings)
        evaluations = describe_fits(session.engine, fits, session.profile)
        run.over.extend(map(Finished, fits, run.settings, evaluations, optimalities))
        for one, output in zip(run.over, run.outputs, strict=True):
            run.results.append(finish(session, one, output))
    return run.results


def _run(
    engine: Engine, fits: Sequence[FitProgress], callbacks: Sequence[Callback], checkpoints: Checkpoints | None
) -> None:
    if checkpoints is None:
        run_fits(engine, fits, callbacks)
        return
    try:
        with stop_requests() as asked:
            run_fits(engine, fits, callbacks, lambda fits: checkpoints.after_sweep(fits, asked()))
    except (ClusterError, CheckpointError) as error:
        raise type(error)(f"{error} {checkpoints.way_back()}") from error


def _refuse_one_place(outs: Sequence[Out], checkpoint: Checkpointing | None) -> None:
    """A result appears by a rename at the end of the fit, which a folder of checkpoints would then be in the way of."""
    places = [Path(out).expanduser().absolute() for out in outs if out is not None]
    if checkpoint is not None and Path(checkpoint.location).expanduser().absolute() in places:
        raise InputError(
            f"checkpoint: {os.fspath(checkpoint.location)!r} is also where the result shall be (out). Give two places."
        )


def begin(
    settings: Settings,
    alpha: float,
    inputs: Inputs,
    dtype: str,
    key: str,
    solver: Solver,
    floor: NDArray[Any] | None = None,
) -> FitProgress:
    """A fit before its first sweep.

    Parameters
    ----------
    settings : Settings
    alpha : float
        Effective strength of the contrast.
    inputs : Inputs
    dtype : str
    key : str
        Names the fit among those of a run.
    solver : Solver
    floor : ndarray (n_features,) or None
        See `bcnmf_dask.fitting.profiles.reconstruction_floor`.
    """
    basis, scales = settings.start_basis(inputs.n_features) if solver.learns else settings.kept_basis()
    return FitProgress(
        spec=settings.spec(key),
        solver=solver,
        alpha=alpha,
        max_iter=settings.max_iter,
        convergence=Convergence(settings.tol, dtype),
        basis=basis.astype(dtype),
        scales=scales,
        floor=floor,
        status=None if solver.learns else FITTED,
    )


def _report(findings: Findings, inputs: Inputs, settings: Sequence[Settings]) -> None:
    """Say what is unusual about the data, but no reason to refuse it."""
    for sentence in _remarks(findings, inputs, settings):
        warnings.warn(sentence, DataWarning, stacklevel=4)
    for role, count in findings.zero_rows.items():
        if count:
            logger.info("%s: %d rows are all zero; they are kept, with usages of zero.", role, count)
    if not findings.seen.all():
        logger.info("%d features are zero in all rows; they are kept, as zeros.", np.count_nonzero(~findings.seen))
    most = max(one.n_components for one in settings)
    if inputs.n_rows.get("background", most) < most:
        logger.info("background: fewer rows (%d) than components (%d).", inputs.n_rows["background"], most)


def _remarks(findings: Findings, inputs: Inputs, settings: Sequence[Settings]) -> Iterator[str]:
    """What is to be warned of."""
    losses = {one.loss for one in settings}
    yield from compare_sides(findings, inputs, contrasts=any(one.alpha > 0 for one in settings))
    alike = all(one.fractional or not one.total for one in findings.moments.values())  # or it is said of one side
    if findings.fractional and alike and "kullback-leibler" in losses:
        yield (
            f"{findings.fractional} values are not integers, but loss='kullback-leibler' is meant for counts. "
            f"{inputs.layer_note} Or use loss='frobenius'."
        )
    if "frobenius" in losses:
        yield from raw_counts(findings, inputs)
    eps = max(LOSSES[loss].eps for loss in losses)
    if 0 < findings.largest < TINY * eps:
        yield (
            f"The values are tiny: the largest is {findings.largest:.2g}, too near to the {eps:g} that the updates add "
            "to avoid a division by zero, which would distort the components or make them zero. Scale the data up, so "
            "that the largest value is about 1."
        )
