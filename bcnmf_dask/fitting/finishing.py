"""From a finished fit to its frozen result: components, usages, status, and the record of the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcnmf_dask.backend import to_host
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.engine.base import Engine
from bcnmf_dask.engine.environment import versions
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.errors import NameTakenError
from bcnmf_dask.fitting.checkpointing import Checkpoints
from bcnmf_dask.fitting.closing import described
from bcnmf_dask.fitting.loop import FitProgress, objective
from bcnmf_dask.fitting.profiles import floor_of
from bcnmf_dask.fitting.provenance import Request
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.sharing import bytes_held, is_shared
from bcnmf_dask.fitting.verdict import verdict
from bcnmf_dask.fitting.weighting import Deviances
from bcnmf_dask.results.factors import HeldNames, StoredNames, cell_dimension, read_usages
from bcnmf_dask.results.output import Output
from bcnmf_dask.results.record import HISTORY_COLUMNS, Divergences, FitResult, Side
from bcnmf_dask.results.separation import Separation, separate
from bcnmf_dask.results.temporaries import TemporaryFolder
from bcnmf_dask.updates.statistics import Evaluation, Role


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
    deviances : mapping of str to Deviances
        That fits were weighed by, for each loss.
    checkpoints : Checkpoints or None
    profile : ndarray (n_features,), float64
        Of the background; its sum is one, or zero.
    request : Request
        What the caller knows.
    """

    inputs: Inputs
    plan: ShardPlan
    dtype: str
    engine: Engine
    findings: Findings
    deviances: Mapping[str, Deviances]
    checkpoints: Checkpoints | None
    profile: NDArray[np.float64]
    request: Request


@dataclass(frozen=True)
class Finished:
    """A fit that is over, and what its last visits found.

    Attributes
    ----------
    progress : FitProgress
    settings : Settings
    evaluation : mapping of role to Evaluation
        Of the final factors.
    optimality : mapping of role to Optimality
        Of usages that were fitted to the final basis; empty where they were not.
    """

    progress: FitProgress
    settings: Settings
    evaluation: Record
    optimality: Record

    @property
    def closing_visits(self) -> int:
        """Of all rows, after the last sweep."""
        if self.progress.status is None or self.progress.status.word == "interrupted":
            return 0
        return 2 if self.optimality else 1


def finish(session: Session, finished: Finished, output: Output | None) -> FitResult:
    """The result of a fit that is over, written to ``output`` if there is one.

    Parameters
    ----------
    session : Session
    finished : Finished
    output : Output or None
        Of lazy usages there is one. If workers do not see the temporary folder that it is in, usages are gathered.

    Returns
    -------
    FitResult

    Raises
    ------
    OutputError
        It cannot be written.
    """
    result, fit = without_usages(session, finished), finished.progress
    if session.inputs.lazy and output is not None:
        nbytes = bytes_held(session.inputs, fit.spec.n_components, session.dtype)
        put = _stored if is_shared(session.engine, output, nbytes) else _gathered
        return put(session, fit, result, output)
    result = with_usages(result, session.inputs, session.engine, fit)
    if output is not None:
        output.finish(result)
    return result


def _stored(session: Session, fit: FitProgress, result: FitResult, output: Output) -> FitResult:
    """The result with usages, and names of rows, that lie in the store: its inputs may change from now on."""
    if output.folder is not None:
        result = replace(result, run=result.run | {"temporary_store": output.path})
    with output.writing():
        session.engine.write_usages(fit.order(), output.location)
        result = _compared(result, {role: read_usages(output.location, role) for role in result.sides})
    try:
        output.finish(result)
    except NameTakenError as error:
        error.results = (_read_from(error.location, None, result, session.inputs),)
        raise
    return _read_from(output.path, output.folder, result, session.inputs)


def _gathered(session: Session, fit: FitProgress, result: FitResult, output: Output) -> FitResult:
    """The result with usages that are as lazy as the inputs, but lie in the memory of this process, as names do."""
    usages = {role: to_host(session.engine.usages(fit.order(), role)) for role in result.sides}
    result = with_held_names(_compared(result, usages), output)
    output.discard()
    chunks = (session.plan.chunk_rows, -1)
    lazy = {role: da.from_array(values, chunks=chunks, name=False) for role, values in usages.items()}
    return _wrapped(result, session.inputs, lazy)


def with_held_names(result: FitResult, output: Output) -> FitResult:
    """With names of rows that no longer depend on a file: neither on that of the rows, nor on the one aside.

    Parameters
    ----------
    result : FitResult
    output : Output
        Whose folder aside has the names.
    """
    names = {
        role: None if known is None else HeldNames(StoredNames(output.location, cell_dimension(role)).read(0, None))
        for role, known in result.row_names.items()
    }
    return replace(result, row_names=names)


def _read_from(path: str, folder: TemporaryFolder | None, result: FitResult, inputs: Inputs) -> FitResult:
    """The result with what lies in its store, which ends with the last of it if it is in a temporary folder."""
    names = {
        role: None if known is None else StoredNames(path, cell_dimension(role), folder)
        for role, known in result.row_names.items()
    }
    usages = {role: read_usages(path, role, folder) for role in result.sides}
    return _wrapped(replace(result, row_names=names), inputs, usages)


def with_usages(result: FitResult, inputs: Inputs, engine: Engine, fit: FitProgress) -> FitResult:
    """The result with usages in the memory of this process, and what follows from them.

    Parameters
    ----------
    result : FitResult
        Without.
    inputs : Inputs
    engine : Engine
    fit : FitProgress
    """
    usages = {role: engine.usages(fit.order(), role) for role in result.sides}
    return _wrapped(_compared(result, usages), inputs, usages)


def _compared(result: FitResult, usages: Mapping[Role, Any]) -> FitResult:
    return replace(result, separation=separate(usages["target"], usages.get("background")))


def _wrapped(result: FitResult, inputs: Inputs, usages: Mapping[Role, Any]) -> FitResult:
    wrapped = {f"{role}_usages": inputs.wraps[role](values) for role, values in usages.items()}
    return replace(result, **wrapped)


def without_usages(session: Session, finished: Finished) -> FitResult:
    """All of the result of a fit but its usages, and what follows from them.

    Parameters
    ----------
    session : Session
    finished : Finished
        Of one that is ``"interrupted"``, the evaluation is nan.
    """
    inputs, fit, evaluation = session.inputs, finished.progress, finished.evaluation
    components = np.ascontiguousarray(to_host(fit.basis).T)
    divergences = {role: sums.divergence for role, sums in evaluation.items()}
    status, remarks = verdict(fit, components, evaluation, inputs, session.findings)
    return FitResult(
        components=components,
        target_usages=None,
        background_usages=None,
        sides={role: _side(session, role, sums) for role, sums in evaluation.items()},
        separation=Separation(np.full(len(components), np.nan), 0.0),
        profile=session.profile,
        floor=floor_of(fit.spec.loss, fit.floor, inputs.n_features, session.dtype),
        history=_history(fit),
        divergences=Divergences(
            divergences["target"], divergences.get("background", np.nan), objective(divergences, fit.alpha)
        ),
        status=status,
        features=inputs.features,
        row_names=inputs.row_names,
        parameters=finished.settings.described() | {"dtype": session.dtype, "effective_alpha": fit.alpha},
        versions=versions(),
        run=_run(session, finished) | {"remarks": list(remarks)},
        provenance=session.request.provenance(inputs),
    )


def _history(fit: FitProgress) -> pd.DataFrame:
    """One row per sweep; none, in the same types, where usages alone were fitted."""
    types = {column: np.int64 if column == "iteration" else np.float64 for column in HISTORY_COLUMNS}
    return pd.DataFrame([asdict(swept) for swept in fit.history], columns=list(types)).astype(types)


def _side(session: Session, role: Role, sums: Evaluation) -> Side:
    moments = session.findings.moments[role]
    return Side(moments.n_rows, moments.total, sums.usage_sum, sums.explained, sums.carriers)


def _run(session: Session, finished: Finished) -> dict[str, Any]:
    fit = finished.progress
    weighed = finished.settings.is_weighed_by_deviance(session.inputs)
    return {
        **session.engine.describe(),
        **fit.solver.describe(),
        **(session.deviances[finished.settings.loss].described() if weighed else {}),
        "shards": len(session.plan.shards),
        "blocks": session.plan.n_blocks,
        "stored_values": session.plan.stored_values,
        **described(finished.optimality),
        "data_visits": fit.data_visits + finished.closing_visits,
        "resumed_from": session.checkpoints.resumed_from if session.checkpoints else 0,
        "checkpoints": session.checkpoints.written if session.checkpoints else 0,
        "rows": dict(session.inputs.n_rows),
        "zero_rows": dict(session.findings.zero_rows),
        "zero_features": int(np.count_nonzero(~session.findings.seen)),
    }
