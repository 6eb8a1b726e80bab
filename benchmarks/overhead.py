"""What a cluster and checkpoints cost per sweep: ``python benchmarks/overhead.py`` (about four minutes, two cores).

Writes ``benchmarks/results/overhead.json``. Two workers of one thread each, on this machine. Round trips and sweeps
are measured in turns, so that both see the same machine.
"""

import argparse
import json
import os
import platform
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from distributed import Client

from bcnmf_dask import BCNMF
from bcnmf_dask.engine.clients import local_cluster
from bcnmf_dask.engine.environment import versions

EVERY = 25
ROUND_TRIPS_ALLOWED = 2.0
CHECKPOINTS_ALLOWED = 0.02


def noop():
    """A task that does nothing."""


def round_trips(client, count):
    """Seconds of each of ``count`` tasks that do nothing on a given worker."""
    worker = next(iter(client.scheduler_info(n_workers=-1)["workers"]))
    found = []
    for _ in range(count):
        started = time.perf_counter()
        client.submit(noop, workers=[worker], pure=False).result()
        found.append(time.perf_counter() - started)
    return found


def fit(client, rows, sweeps, loss="frobenius", **options):
    """The history of a fit, with ``interval``: seconds from the end of one sweep to that of the next."""
    ends = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random rows have no structure to find
        fitted = BCNMF(options.pop("n_components"), max_iter=sweeps, tol=0, loss=loss, alpha=0.0).fit(
            rows, client=client, callbacks=[lambda _: ends.append(time.perf_counter())], **options
        )
    owners = sum(count > 0 for count in fitted.run_["shards_per_worker"].values())
    if owners < 2:
        raise RuntimeError("both workers were meant to own shards")
    return fitted.history_.iloc[1:].assign(interval=np.diff(ends))


def checkpoint_cost(history):
    """Mean seconds of a checkpoint: by how much the interval in which it falls is longer than the others."""
    saving = history.iteration % EVERY == 1
    return float(history.interval[saving].mean() - history.interval[~saving].median())


def tiny(client, folder, turns=5, sweeps=101):
    """Overhead of a sweep with next to no arithmetic."""
    rows = np.random.default_rng(0).random((400, 50)).astype(np.float32)
    trips, plain, saved, costs = [], [], [], []
    for turn in range(turns):
        trips += round_trips(client, sweeps)
        history = fit(client, rows, sweeps, n_components=5)
        plain += list(history.interval - history.compute_seconds)
        options = {"checkpoint": folder / f"tiny-{turn}", "checkpoint_every": EVERY}
        history = fit(client, rows, sweeps, n_components=5, **options)
        saved += list(history.interval - history.compute_seconds)
        costs.append(checkpoint_cost(history))
    trip = median(trips)
    return {
        "round_trip_ms": 1e3 * trip,
        "overhead_ms": 1e3 * median(plain),
        "overhead_in_round_trips": median(plain) / trip,
        "overhead_with_checkpoints_ms": 1e3 * median(saved),
        "overhead_with_checkpoints_in_round_trips": median(saved) / trip,
        "mean_overhead_with_checkpoints_in_round_trips": sum(saved) / len(saved) / trip,
        "checkpoint_ms": 1e3 * median(costs),
    }


def large(client, folder, loss, n_rows=50_000, n_features=2_000, n_components=20, sweeps=51):
    """Cost of a checkpoint where sweeps take their time: 1e8 values, 400 MB."""
    rows = np.random.default_rng(0).random((n_rows, n_features), dtype=np.float32)
    options = {"n_components": n_components, "checkpoint": folder / loss, "checkpoint_every": EVERY}
    history = fit(client, rows, sweeps, loss, **options)
    sweep = float(history.interval[history.iteration % EVERY != 1].median())
    cost = checkpoint_cost(history)
    return {
        "rows": n_rows,
        "features": n_features,
        "components": n_components,
        "sweep_ms": 1e3 * sweep,
        "checkpoint_ms": 1e3 * cost,
        "share_of_time": cost / (EVERY * sweep),
    }


def machine():
    """Processor and cores."""
    return {"cpu": versions()["cpu"], "cores": len(os.sched_getaffinity(0)), "system": platform.platform()}


def main():
    """Measure, judge and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "overhead.json")
    out = arguments.parse_args().out
    with (
        local_cluster(2) as cluster,
        Client(cluster, set_as_default=False) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        small = tiny(client, Path(folder))
        big = {loss: large(client, Path(folder), loss) for loss in ("kullback-leibler", "frobenius")}
    good = {
        "overhead": small["overhead_in_round_trips"] <= ROUND_TRIPS_ALLOWED,
        **{f"checkpoints, {loss}": one["share_of_time"] < CHECKPOINTS_ALLOWED for loss, one in big.items()},
    }
    found = {
        "machine": machine(),
        "versions": versions(),
        "parameters": {"workers": 2, "threads_per_worker": 1, "tiny_loss": "frobenius", "checkpoint_every": EVERY},
        "budgets": {"overhead_in_round_trips": ROUND_TRIPS_ALLOWED, "checkpoint_share_of_time": CHECKPOINTS_ALLOWED},
        "tiny": small,
        "large": big,
        "status": {name: "met" if met else "missed" for name, met in good.items()},
    }
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
