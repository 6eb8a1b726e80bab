"""Tables of what was measured and of what is predicted, and their page in Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pandas as pd

from bcnmf_dask.benchmarking.calibrate import calibrate, judge
from bcnmf_dask.benchmarking.model import TERMS, Machine, Workload, predict
from bcnmf_dask.benchmarking.runs import Run, Verdict
from bcnmf_dask.errors import InputError

MARK = "prediction"
"""What every row of a table of predictions says it is."""


def verdict_table(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """One row per verdict: what, measured, budget, status."""
    return pd.DataFrame([asdict(one) for one in verdicts], columns=["what", "measured", "budget", "status"])


def measured_table(run: Run) -> pd.DataFrame:
    """One row per measurement, with all figures; what was not measured is nan."""
    return pd.DataFrame(
        [
            {"case": one.case, "workers": one.workers, "threads": one.threads, "label": one.label, **one.figures}
            for one in run.measurements
        ]
    )


def prediction_table(
    workloads: Sequence[Workload], workers: Sequence[int], threads: int, machine: Machine
) -> pd.DataFrame:
    """Seconds per sweep on growing numbers of workers, and the parts of them; every row says that it is a prediction.

    Parameters
    ----------
    workloads : sequence of Workload
    workers : sequence of int
    threads : int
        Of each worker.
    machine : Machine

    Returns
    -------
    DataFrame
        workload, workers, seconds_per_sweep, low, high (off by the error of the model), what, and ``TERMS``.
    """
    rows = []
    for workload in workloads:
        for count in workers:
            found = predict(workload, count, threads, machine)
            seconds, error = found.seconds_per_sweep, found.relative_error
            # The error is relative to what is measured, so that the bounds are not symmetric.
            bounds = {"low": seconds / (1 + error), "high": seconds / (1 - error) if error < 1 else float("inf")}
            row = {"workload": workload.kind, "workers": count, "seconds_per_sweep": seconds, **bounds, "what": MARK}
            rows.append({**row, **found.parts})
    return pd.DataFrame(rows, columns=["workload", "workers", "seconds_per_sweep", "low", "high", "what", *TERMS])


def all_verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """Those of the runs, and of the scaling model as far as the runs can tell it."""
    found = [verdict for run in runs for verdict in run.verdicts]
    try:
        _, checks = calibrate(runs)
    except InputError:  # parts of the runs are missing: the report is of those there are
        return found
    return found + judge(checks)


def summary(runs: Sequence[Run]) -> str:
    """What has a budget, in Markdown, with the machine and the commands."""
    told = [verdict for verdict in all_verdicts(runs) if verdict.status != "unbudgeted"]
    machines = sorted({f"{run.machine['cpu']}, {run.machine['cores']} cores" for run in runs})
    commands = sorted({f"`{run.command}`" for run in runs})
    dates = sorted({run.date[:10] for run in runs})
    head = f"Measured by {', '.join(commands)} on {'; '.join(machines)} ({', '.join(dates)})."
    return f"{head}\n\n{markdown(verdict_table(told))}"


def page(runs: Sequence[Run]) -> str:
    """The summary, and all that was measured, in Markdown."""
    parts = ["# Benchmarks", summary(runs)]
    for run in runs:
        parts += [f"## {run.benchmark}", f"`{run.command}`, {run.date}: {run.status}.", markdown(measured_table(run))]
        parts += [markdown(verdict_table(run.verdicts))] if run.verdicts else []
    return "\n\n".join(part.strip() for part in parts) + "\n"


def markdown(frame: pd.DataFrame) -> str:
    """A table in Markdown; numbers to four digits."""
    cells = [[_shown(value) for value in row] for row in frame.itertuples(index=False)]
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return str(value)
