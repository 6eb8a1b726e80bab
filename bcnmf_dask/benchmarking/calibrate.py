"""From measured sweeps to a machine of the scaling model, and the check of what it then predicts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from bcnmf_dask.benchmarking.model import BY_KIND, Machine, Workload, predict, units
from bcnmf_dask.benchmarking.runs import OVERSUBSCRIBED, Run, Verdict, verdict
from bcnmf_dask.errors import InputError

LEARN_UP_TO = 16
"""Workers; what was measured on more is kept for the check."""
CHECK_ON = 32
ALLOWED_ERROR = 0.25

Column = tuple[str, str]
"""A kind of workload (empty if the term is the same for all) and a term."""


@dataclass(frozen=True)
class Sweep:
    """A measured sweep.

    Attributes
    ----------
    case : str
    workload : Workload
    workers, threads : int
    seconds : float
        Less what a stand-in slept.
    """

    case: str
    workload: Workload
    workers: int
    threads: int
    seconds: float


@dataclass(frozen=True)
class Check:
    """A sweep against the prediction of a machine.

    Attributes
    ----------
    sweep : Sweep
    predicted : float
        Seconds.
    """

    sweep: Sweep
    predicted: float

    @property
    def error(self) -> float:
        """Relative to the measured seconds."""
        return abs(self.predicted - self.sweep.seconds) / self.sweep.seconds


def calibrate(runs: Iterable[Run]) -> tuple[Machine, list[Check]]:
    """The machine whose predictions come nearest to the sweeps of some runs on at most `LEARN_UP_TO` workers.

    Non-negative least squares of the relative errors, all terms at once.

    Parameters
    ----------
    runs : iterable of Run
        Of one machine.

    Returns
    -------
    Machine
        Its relative error is the largest of the checks; if there are none, that of the sweeps it was fitted to.
    list of Check
        Of the sweeps on `CHECK_ON` workers.

    Raises
    ------
    InputError
        If there are fewer sweeps than unknowns, or they are of several machines.
    """
    telling = [run for run in runs if any(_sweeps(run))]
    names = sorted({f"{run.machine['cpu']}, {run.machine['cores']} cores" for run in telling})
    if len(names) > 1:
        raise InputError(f"out: the results are of several machines: {names}. Expected those of one: move the others.")
    sweeps = [sweep for run in telling for sweep in _sweeps(run)]
    learnt = [sweep for sweep in sweeps if sweep.workers <= LEARN_UP_TO]
    seconds = _solve(learnt)
    machine = Machine(
        name=names[0],
        measured=telling[-1].date[:10],
        by_kind=_by_kind(seconds),
        seconds={term: value for (kind, term), value in seconds.items() if not kind},
        relative_error=0.0,
        checked="",
    )
    checks = [check(sweep, machine) for sweep in sweeps if sweep.workers == CHECK_ON]
    fitted = [check(sweep, machine) for sweep in learnt]
    words = f"fitted on at most {max(sweep.workers for sweep in learnt)} workers"
    words += f" (median error {np.median([one.error for one in fitted]):.0%})"
    words += f", checked on {CHECK_ON} (orchestration only)" if checks else f", not checked on {CHECK_ON}"
    return replace(machine, relative_error=max(one.error for one in checks or fitted), checked=words), checks


def check(sweep: Sweep, machine: Machine) -> Check:
    """What a machine predicts for a sweep."""
    return Check(sweep, predict(sweep.workload, sweep.workers, sweep.threads, machine).seconds_per_sweep)


def judge(checks: Sequence[Check]) -> list[Verdict]:
    """Predictions against their budget."""
    return [
        verdict(
            f"prediction for {one.sweep.workers} workers from at most {LEARN_UP_TO}, {one.sweep.case}, less the sleep",
            f"{1e3 * one.predicted:.0f} ms, measured {1e3 * one.sweep.seconds:.0f} ms: {one.error:.0%} off",
            f"within {ALLOWED_ERROR:.0%}",
            one.error <= ALLOWED_ERROR,
        )
        for one in checks
    ]


def _sweeps(run: Run) -> Iterator[Sweep]:
    """Those of real fits on a core for each thread, and of the stand-in on any number of workers."""
    for one in run.measurements:
        if one.workload is not None and one.label != OVERSUBSCRIBED:
            seconds = one.figures["sweep_seconds"] - one.fixed_seconds
            if seconds <= 0:
                raise InputError(
                    f"out: a sweep of {one.case!r} took less than its stand-in slept. Run `bcnmf-dask benchmark "
                    f"{run.benchmark}` again."
                )
            yield Sweep(one.case, one.workload, one.workers, one.threads, seconds)


def _solve(learnt: Sequence[Sweep]) -> dict[Column, float]:
    rows = [_columns(sweep) for sweep in learnt]
    columns = sorted({column for row in rows for column in row})
    if len(rows) < max(len(columns), 1):
        raise InputError(
            f"out: {len(rows)} measured sweeps cannot tell the {len(columns)} numbers of the scaling model. Run "
            "`bcnmf-dask benchmark compute`, `strong`, `weak` and `orchestration` into this folder first."
        )
    seconds = np.array([[sweep.seconds] for sweep in learnt])
    relative = np.array([[row.get(column, 0.0) for column in columns] for row in rows]) / seconds
    sizes = np.linalg.norm(relative, axis=0)  # the terms differ by many orders of magnitude
    found, _ = nnls(relative / sizes, np.ones(len(rows)))
    return dict(zip(columns, (found / sizes).tolist(), strict=True))


def _columns(sweep: Sweep) -> dict[Column, float]:
    counts = units(sweep.workload, sweep.workers, sweep.threads)
    return {(sweep.workload.kind if term in BY_KIND else "", term): count for term, count in counts.items() if count}


def _by_kind(seconds: Mapping[Column, float]) -> dict[str, dict[str, float]]:
    kinds = sorted({kind for kind, _ in seconds if kind})
    return {kind: {term: seconds.get((kind, term), 0.0) for term in BY_KIND} for kind in kinds}
