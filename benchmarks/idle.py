"""What workers that do nothing take: ``python benchmarks/idle.py`` (about a minute).

Writes ``benchmarks/results/idle.json``: cores that 16 idle worker processes, their nannies and the scheduler take, as
Dask has them and as ``client="local"`` starts them (`bcnmf_dask.engine.clusters.QUIET`).
"""

import argparse
import time
from pathlib import Path

import psutil
from distributed import LocalCluster

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, write
from bcnmf_dask.engine.clusters import local_cluster

WORKERS, SETTLING, SECONDS = 16, 5, 10


def busy_seconds():
    """Of this process and all that it started."""
    this = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in [this, *this.children(recursive=True)])


def cores_of(start):
    """Cores that a cluster takes once it is up."""
    with start():
        time.sleep(SETTLING)
        before = busy_seconds()
        time.sleep(SECONDS)
        return (busy_seconds() - before) / SECONDS


def as_dask_has_it():
    """A cluster of the same shape."""
    return LocalCluster(n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0")


def main():
    """Measure and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "idle.json")
    given = arguments.parse_args()
    found = {"as Dask has it": cores_of(as_dask_has_it), "as client='local'": cores_of(lambda: local_cluster(WORKERS))}
    measured = [
        Measurement(case, WORKERS, 1, REAL, {"cores": cores, "cores_per_worker": cores / WORKERS})
        for case, cores in found.items()
    ]
    write(new_run("idle", "python benchmarks/idle.py", {"seconds": SECONDS}, measured), given.out)
    for one in measured:
        print(f"{one.case}: {one.figures['cores_per_worker']:.2%} of a core per worker")


if __name__ == "__main__":
    main()
