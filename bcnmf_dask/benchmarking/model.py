"""The scaling model: seconds per sweep from what a fit visits and where it runs.

A sum of terms, each linear in one number of the machine, so that least squares can find those numbers from
measured sweeps. `TERMS` says which; `bcnmf_dask.benchmarking.calibrate` finds them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bcnmf_dask.engine.cluster import FAN_IN
from bcnmf_dask.errors import InputError

TERMS: Mapping[str, str] = {
    "values": "per stored value",
    "value_components": "per stored value and component",
    "row_components": "per row and component",
    "read": "per byte read from storage in a sweep",
    "merge_levels": "per level of the merge between workers",
    "merge_bytes": "per byte of statistics and level",
    "scheduler": "per worker: messages, and what one process does for each",
    "round_trip": "per sweep",
}
"""The terms of the model and what one unit of each is; a machine knows the seconds of one."""
BY_KIND = ("values", "value_components", "row_components")
"""Terms whose seconds depend on the loss and on whether the rows are sparse."""


@dataclass(frozen=True)
class Workload:
    """What one sweep visits.

    Attributes
    ----------
    stored_values : int
        Of all rows of both roles: the stored ones of sparse rows, rows x features of dense ones. 0: nothing is
        computed, as in a sweep of a stand-in.
    n_rows : int
        Of both roles.
    n_features, n_components : int
    loss : str
    sparse : bool
    streamed_bytes : int
        Read from storage in every sweep, over all workers; 0 where rows are resident.
    n_fits : int
        That share every visit.

    Raises
    ------
    InputError
        If a number is negative, or there are no rows, features, components or fits.
    """

    stored_values: int
    n_rows: int
    n_features: int
    n_components: int
    loss: str
    sparse: bool
    streamed_bytes: int = 0
    n_fits: int = 1

    def __post_init__(self) -> None:
        for name in ("n_rows", "n_features", "n_components", "n_fits"):
            _at_least(name, getattr(self, name), 1)
        for name in ("stored_values", "streamed_bytes"):
            _at_least(name, getattr(self, name), 0)

    @property
    def kind(self) -> str:
        """What the seconds of arithmetic depend on, for example ``"frobenius, csr"``."""
        return f"{self.loss}, {'csr' if self.sparse else 'dense'}"

    @property
    def statistics_bytes(self) -> int:
        """Bytes of what a worker sends up in a sweep: per fit and role, the sums over its rows, float64."""
        return 2 * 8 * self.n_fits * (self.n_features + self.n_components) * self.n_components


@dataclass(frozen=True)
class Machine:
    """The seconds of one unit of each term.

    Attributes
    ----------
    name : str
        Processor and cores of the machine, for people.
    measured : str
        Date of the measurement.
    by_kind : mapping of kind to mapping of term to float
        Seconds of the terms in `BY_KIND`; see `Workload.kind`.
    seconds : mapping of term to float
        Of the other terms; those that no measurement told are absent.
    relative_error : float
        Of predictions, as the check of the calibration found it.
    checked : str
        What the check was, in words.
    """

    name: str
    measured: str
    by_kind: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]
    relative_error: float
    checked: str


@dataclass(frozen=True)
class Prediction:
    """What a sweep would take. Not a measurement: say so wherever it is shown.

    Attributes
    ----------
    seconds_per_sweep : float
    relative_error : float
        Of the machine's calibration; larger workloads and clusters than measured may be off by more.
    parts : mapping of term to float
        Seconds of each term of `TERMS`; their sum is ``seconds_per_sweep``.
    """

    seconds_per_sweep: float
    relative_error: float
    parts: Mapping[str, float]


def units(workload: Workload, workers: int, threads: int) -> dict[str, float]:
    """How many units of each term a sweep takes.

    Parameters
    ----------
    workload : Workload
    workers : int
    threads : int
        Of each worker.
    """
    visits = workload.n_fits / (workers * threads) if workload.stored_values else 0.0
    levels = merge_levels(workers)
    return {
        "values": workload.stored_values * visits,
        "value_components": workload.stored_values * workload.n_components * visits,
        "row_components": workload.n_rows * workload.n_components * visits,
        "read": workload.streamed_bytes / workers,
        "merge_levels": float(levels),
        "merge_bytes": float(workload.statistics_bytes * max(levels, 1)),
        "scheduler": float(workers),
        "round_trip": 1.0,
    }


def merge_levels(workers: int) -> int:
    """Levels of the tree in which the statistics of workers are merged, `FAN_IN` to one; 0 for one worker."""
    levels = 0
    while workers > 1:
        workers = math.ceil(workers / FAN_IN)
        levels += 1
    return levels


def predict(workload: Workload, workers: int, threads: int, machine: Machine) -> Prediction:
    """What a sweep of a workload would take on some workers of the kind of a machine.

    Parameters
    ----------
    workload : Workload
    workers : int
    threads : int
        Of each worker.
    machine : Machine

    Returns
    -------
    Prediction

    Raises
    ------
    InputError
        If there are no workers or threads, or the machine was not measured for such a workload.
    """
    _at_least("workers", workers, 1)
    _at_least("threads", threads, 1)
    known = {**machine.seconds, **_kind_of(machine, workload)}
    needed = {term: count for term, count in units(workload, workers, threads).items() if count > 0}
    missing = [TERMS[term] for term in needed if term not in known]
    if missing:
        raise InputError(
            f"machine: {machine.name!r} has no seconds {', '.join(missing)}. Expected one that was measured for such a "
            "fit: run the benchmark of that part, then `bcnmf-dask benchmark model`."
        )
    parts = {term: needed.get(term, 0.0) * known.get(term, 0.0) for term in TERMS}
    return Prediction(sum(parts.values()), machine.relative_error, parts)


def _kind_of(machine: Machine, workload: Workload) -> Mapping[str, float]:
    if workload.stored_values and workload.kind not in machine.by_kind:
        raise InputError(
            f"loss: got {workload.kind!r}, for which {machine.name!r} was not measured. "
            f"Expected one of {sorted(machine.by_kind)}."
        )
    return machine.by_kind.get(workload.kind, dict.fromkeys(BY_KIND, 0.0))


def _at_least(name: str, value: float, least: int) -> None:
    if isinstance(value, bool) or not math.isfinite(value) or value != int(value) or value < least:
        raise InputError(f"{name}: got {value!r}. Expected a whole number of at least {least}.")
