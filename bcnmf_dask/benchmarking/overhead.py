"""What a cluster costs per sweep where there is next to nothing to compute, in bare task round trips."""

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from bcnmf_dask.benchmarking.benchmark import UP_TO_32, Benchmark, Setting
from bcnmf_dask.benchmarking.runs import Measurement, Verdict, verdict
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.engine.measuring import round_trips
from bcnmf_dask.fitting.checkpointing import Checkpointing
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.settings import Settings

ALLOWED = 2.0
"""Round trips, on two workers."""
ROWS, FEATURES, COMPONENTS = 400, 50, 5
TURNS = 3
SWEEPS = 101


def measure(setting: Setting) -> Iterator[Measurement]:
    """Round trips and sweeps in turns, so that both see the same machine."""
    rows = tiny_rows()
    trips, overhead = [], []
    for _ in range(TURNS):
        trips += round_trips(setting.client, SWEEPS)
        history = timed_fit(setting.client, rows, SWEEPS, "frobenius", COMPONENTS)
        overhead += list(history.interval - history.compute_seconds)
    figures = {
        "round_trip_seconds": median(trips),
        "overhead_seconds": median(overhead),
        "overhead_in_round_trips": median(overhead) / median(trips),
    }
    yield Measurement("tiny data", setting.workers, setting.threads, setting.label, figures)


def tiny_rows() -> Any:
    """Random rows with next to nothing to compute, float32."""
    return np.random.default_rng(0).random((ROWS, FEATURES), dtype=np.float32)


def timed_fit(
    client: Any, rows: Any, sweeps: int, loss: str, n_components: int, checkpoint: Checkpointing | None = None
) -> pd.DataFrame:
    """The history of a whole fit from its second sweep on.

    Returns
    -------
    DataFrame
        With ``interval``: seconds from the end of the sweep before to the end of this one, with all that lies between.
    """
    ends: list[float] = []
    settings = Settings(n_components, 0.0, "mean", loss, None, sweeps, 0.0, 0)
    (result,) = factorize(
        read_inputs(rows, None),
        [settings],
        dtype="float32",
        client=client,
        callbacks=[lambda _: ends.append(time.perf_counter())],
        checkpoint=checkpoint,
    )
    return result.history.iloc[1:].assign(interval=np.diff(ends))


def judge(measurements: Sequence[Measurement]) -> list[Verdict]:
    """The budget is for two workers."""
    return [
        verdict(
            f"a sweep of tiny data less its arithmetic, {one.workers} workers ({one.label})",
            f"{one.figures['overhead_in_round_trips']:.2f} round trips",
            *((f"at most {ALLOWED:g}", one.figures["overhead_in_round_trips"] <= ALLOWED) if one.workers == 2 else ()),
        )
        for one in measurements
    ]


OVERHEAD = Benchmark(
    "overhead",
    "A sweep of tiny data less its arithmetic, in bare task round trips, on 1 to 32 worker processes.",
    UP_TO_32,
    {"rows": ROWS, "features": FEATURES, "components": COMPONENTS, "sweeps": SWEEPS, "turns": TURNS},
    measure,
    judge,
)
