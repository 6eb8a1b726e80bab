"""What the stages of the GPU benchmark find, and how the README shows it."""

import time
import traceback
from dataclasses import asdict

import pandas as pd

from bcnmf_dask.backend import give_back_device_memory
from bcnmf_dask.benchmarking.runs import REAL, Measurement, verdict
from bcnmf_dask.benchmarking.tables import markdown


class Results:
    """What the stages found."""

    def __init__(self):
        self.measurements, self.verdicts = [], []

    def note(self, case, workers=1, **figures):
        """One more measurement."""
        self.measurements.append(Measurement(case, workers, 1, REAL, figures))
        print(case, {name: float(f"{value:.4g}") for name, value in figures.items()}, flush=True)

    def judge(self, what, measured, budget="", met=None):
        """One more verdict."""
        self.verdicts.append(verdict(what, measured, budget, met))
        print(f"{what}: {measured} ({budget or 'no budget'})", flush=True)

    def stage(self, name, work):
        """Do some work; what goes wrong is a verdict, too."""
        started = time.perf_counter()
        try:
            work(self)
        except Exception as error:
            traceback.print_exc()
            self.judge(name, f"{type(error).__name__}: {error}", "to end without an error", met=False)
        give_back_device_memory()  # to the processes and libraries of the next stage
        self.note(f"stage: {name}", seconds=time.perf_counter() - started)


def tables(run):
    """For the README."""
    date = run.date[:10]
    yield f"Measured by `{run.command}` on {run.machine['device']} ({date})."
    yield ""
    for make in (_sweep, _part, _workers):
        rows = [row for one in run.measurements if (row := make(one)) is not None]
        if rows:
            yield markdown(pd.DataFrame(rows))
    yield markdown(pd.DataFrame(map(asdict, run.verdicts)))


def _sweep(one):
    """A line on a whole sweep of one process."""
    if "share_of_copy" not in one.figures:
        return None
    return {
        "sweep": one.case,
        "milliseconds": 1e3 * one.figures["sweep_seconds"],
        "share of a copy's bytes/s": one.figures["share_of_copy"],
        "share of reads of the cache": one.figures["share_of_fetch"],
        "GB at most": one.figures["peak_bytes"] / 1e9,
    }


def _part(one):
    """A line on a part of a sweep."""
    profiled = one.case.startswith("profile, ")
    return {"part of a sweep": one.case[9:], "milliseconds": 1e3 * one.figures["seconds"]} if profiled else None


def _workers(one):
    """A line on several devices."""
    if "against_one" not in one.figures:
        return None
    return {
        "rows": one.case,
        "devices": one.workers,
        "milliseconds": 1e3 * one.figures["sweep_seconds"],
        "times as fast as one": one.figures["against_one"],
    }
