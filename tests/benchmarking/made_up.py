"""Runs of a machine whose numbers are known, as if they had been measured."""

from bcnmf_dask.benchmarking.model import Machine, Workload, predict
from bcnmf_dask.benchmarking.runs import ORCHESTRATION, REAL, Measurement, new_run

MACHINE = Machine(
    name="made up, 2 cores",
    measured="2026-01-01",
    by_kind={
        f"{loss}, {kind}": {
            "values": 1e-9 * number,
            "value_components": 2e-10 * number,
            "row_components": 3e-9 * number,
        }
        for number, (loss, kind) in enumerate(
            [(loss, kind) for loss in ("frobenius", "kullback-leibler") for kind in ("csr", "dense")], 1
        )
    },
    seconds={
        "merge_levels": 0.004,
        "merge_bytes": 2e-9,
        "scheduler": 1e-3,
        "round_trip": 0.012,
    },
    relative_error=0.0,
    checked="made up",
)
SLEPT = 0.25


def measured(case, workload, workers, label=REAL, slept=0.0, factor=1.0):
    seconds = factor * predict(workload, workers, 1, MACHINE).seconds_per_sweep
    return Measurement(
        case, workers, 1, label, {"sweep_seconds": seconds + slept, "compute_seconds": seconds}, workload, slept
    )


def compute_run():
    found = [
        measured(f"{loss}, {'csr' if sparse else 'dense'}", Workload(values, rows, 2048, k, loss, sparse), 1)
        for loss in ("frobenius", "kullback-leibler")
        for sparse in (True, False)
        for values, rows in ((10**8, 10**6), (10**8, 10**4))
        for k in (5, 20, 40)
    ]
    return new_run("compute", "made up", {}, found)


def orchestration_run(factor_at_32=1.0):
    found = [
        measured(
            f"sweeps of {SLEPT} s, {k} components",
            Workload(0, 2048 * workers, 2048, k, "stand-in", True),
            workers,
            ORCHESTRATION,
            SLEPT,
            factor_at_32 if workers == 32 else 1.0,
        )
        for workers in (1, 2, 4, 8, 16, 32)
        for k in (5, 20)
    ]
    return new_run("orchestration", "made up", {}, found)
