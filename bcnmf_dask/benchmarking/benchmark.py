"""What a benchmark is, and how one is run on clusters of several sizes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bcnmf_dask.benchmarking.runs import OVERSUBSCRIBED, REAL, Measurement, Run, Verdict, new_run, verdict
from bcnmf_dask.engine.clients import connect
from bcnmf_dask.engine.measuring import cluster_of, threads_of
from bcnmf_dask.engine.threads import usable_cores

UP_TO_32 = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Setting:
    """What a benchmark is measured on.

    Attributes
    ----------
    client : Client
        Of a cluster that is there.
    workers : int
    threads : int
        Of each worker.
    local : bool
        Whether the cluster shares this machine's cores.
    scale : float
        Rows, relative to those of the full benchmark.
    folder : Path
        Where all workers may write; emptied by whoever writes.
    """

    client: Any
    workers: int
    threads: int
    local: bool
    scale: float
    folder: Path

    @property
    def label(self) -> str:
        """Whether there is a core for every thread of the workers."""
        crowded = self.local and self.workers * self.threads > usable_cores()
        return OVERSUBSCRIBED if crowded else REAL

    def rows(self, full: int) -> int:
        """Rows to use where the full benchmark has so many."""
        return max(round(full * self.scale), 64)


@dataclass(frozen=True)
class Benchmark:
    """One thing that can be measured.

    Attributes
    ----------
    name : str
        Of the command and of the files.
    about : str
        A sentence or two for the help.
    workers : tuple of int
        Sizes of the local clusters to measure on, if none are given.
    parameters : mapping
        What the figures depend on besides the machine and the scale, for the record.
    measure : callable
        Yields the measurements on one cluster.
    judge : callable
        Verdicts on all measurements of a run.
    """

    name: str
    about: str
    workers: tuple[int, ...]
    parameters: Mapping[str, Any]
    measure: Callable[[Setting], Iterable[Measurement]]
    judge: Callable[[Sequence[Measurement]], list[Verdict]]


@dataclass(frozen=True)
class Order:
    """How a benchmark is to be run.

    Attributes
    ----------
    command : str
        As it was called, for the record.
    scheduler : str or None
        Address or file of a running scheduler, measured at the size it has; None: local clusters.
    workers : tuple of int or None
        Sizes of the local clusters; None: those of the benchmark.
    scale : float
    folder : Path
        See `Setting`.
    """

    command: str
    scheduler: str | None
    workers: tuple[int, ...] | None
    scale: float
    folder: Path


def powers_to_cores() -> tuple[int, ...]:
    """1, 2, 4, ... and the number of cores."""
    cores = usable_cores()
    return tuple(sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores}))


def run_benchmark(benchmark: Benchmark, order: Order, seen: Callable[[Measurement], None]) -> Run:
    """Measure and judge.

    Parameters
    ----------
    benchmark : Benchmark
    order : Order
    seen : callable
        Called with each measurement as it comes.

    Raises
    ------
    ClusterError
        If a cluster does not start or answer, or a worker has nothing to do.
    """
    found = []
    for setting in _settings(benchmark, order):
        for measurement in benchmark.measure(setting):
            seen(measurement)
            found.append(measurement)
    return judged(benchmark, new_run(benchmark.name, order.command, _parameters(benchmark, order), found))


def judged(benchmark: Benchmark, run: Run) -> Run:
    """The run with the verdicts on its measurements; budgets are for full scale, others have none."""
    verdicts = benchmark.judge(run.measurements)
    if run.parameters.get("scale", 1.0) != 1.0:
        verdicts = [verdict(one.what, one.measured) for one in verdicts]
    return replace(run, verdicts=tuple(verdicts))


def _settings(benchmark: Benchmark, order: Order) -> Iterator[Setting]:
    if order.scheduler is not None:
        with connect(order.scheduler) as client:
            yield _setting(client, order)
        return
    for n_workers in order.workers or benchmark.workers:
        with cluster_of(n_workers) as client:
            yield _setting(client, order)


def _setting(client: Any, order: Order) -> Setting:
    threads = threads_of(client)
    return Setting(client, len(threads), max(threads, default=1), order.scheduler is None, order.scale, order.folder)


def _parameters(benchmark: Benchmark, order: Order) -> dict[str, Any]:
    where = "local clusters" if order.scheduler is None else "a running cluster"
    return {**benchmark.parameters, "scale": order.scale, "cluster": where}
