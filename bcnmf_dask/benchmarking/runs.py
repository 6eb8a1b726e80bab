"""What a benchmark leaves behind: measurements, verdicts, and the JSON file of a run."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from bcnmf_dask.benchmarking.model import Workload
from bcnmf_dask.engine.environment import versions
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.errors import InputError

Status = Literal["met", "missed", "unbudgeted"]
REAL, OVERSUBSCRIBED, ORCHESTRATION = "real compute", "oversubscribed", "orchestration only"


@dataclass(frozen=True)
class Measurement:
    """One case on one number of workers.

    Attributes
    ----------
    case : str
        What was run, in words.
    workers, threads : int
        Workers, and threads of each.
    label : str
        `REAL`, `OVERSUBSCRIBED` (more workers than cores) or `ORCHESTRATION` (no arithmetic).
    figures : mapping of str to float
        What was measured; names end in their unit.
    workload : Workload or None
        What a sweep visited, for the scaling model; needs the figure ``sweep_seconds``.
    fixed_seconds : float
        Of each sweep, what a stand-in slept instead of computing.
    """

    case: str
    workers: int
    threads: int
    label: str
    figures: Mapping[str, float]
    workload: Workload | None = None
    fixed_seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """One figure against its budget.

    Attributes
    ----------
    what : str
    measured : str
        With its unit.
    budget : str
        In words; empty if there is none.
    status : {"met", "missed", "unbudgeted"}
    """

    what: str
    measured: str
    budget: str
    status: Status


@dataclass(frozen=True)
class Run:
    """One benchmark as it was run.

    Attributes
    ----------
    benchmark, command, date : str
        The date in ISO 8601, UTC.
    machine, versions : mapping of str to str or int
    parameters : mapping
        Sizes and choices that must agree for two runs to be compared.
    measurements : tuple of Measurement
    verdicts : tuple of Verdict
    """

    benchmark: str
    command: str
    date: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    parameters: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...] = ()

    @property
    def status(self) -> Status:
        """Missed if any budget was, met if there is any, else unbudgeted."""
        found = {verdict.status for verdict in self.verdicts}
        return "missed" if "missed" in found else "met" if "met" in found else "unbudgeted"


def verdict(what: str, measured: str, budget: str = "", met: bool | None = None) -> Verdict:
    """A figure with its budget; ``met`` is None where there is none."""
    status: Status = "unbudgeted" if met is None else "met" if met else "missed"
    return Verdict(what, measured, budget, status)


def new_run(
    benchmark: str,
    command: str,
    parameters: Mapping[str, Any],
    measurements: Iterable[Measurement],
    verdicts: Iterable[Verdict] = (),
) -> Run:
    """A run on this machine, now."""
    here = versions()
    machine = {"cpu": here["cpu"], "cores": usable_cores(), "system": platform.platform()}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Run(benchmark, command, date, machine, here, parameters, tuple(measurements), tuple(verdicts))


def write(run: Run, path: Path) -> None:
    """Write the JSON file of a run, aside first; one that is there is replaced.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    write_json({**asdict(run), "status": run.status}, path)


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, aside first; one that is there is replaced.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(record, indent=2) + "\n")
        aside.replace(path)
    except OSError as error:
        raise InputError(
            f"out: {os.fspath(path)!r} cannot be written ({error.strerror}). Give a folder where you may write."
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def read(path: Path) -> Run:
    """The run in a JSON file.

    Raises
    ------
    InputError
        If the file is not one that `write` wrote.
    """
    try:
        record = json.loads(path.read_text())
        record.pop("status")
        measured = tuple(_measurement(one) for one in record.pop("measurements"))
        verdicts = tuple(Verdict(**one) for one in record.pop("verdicts"))
        return Run(**record, measurements=measured, verdicts=verdicts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"out: {os.fspath(path)!r} is not the result of a benchmark ({error!r}). Expected files that "
            "`bcnmf-dask benchmark` wrote: take others out of the folder."
        ) from error


def read_all(folder: Path, benchmarks: Sequence[str]) -> list[Run]:
    """The runs of these benchmarks in a folder, in their order; those of one machine and parameters pooled.

    A cluster of a given size gives one file for each size.

    Raises
    ------
    InputError
        If there is none.
    """
    found = [read(path) for name in benchmarks for path in sorted(folder.glob(f"{name}*.json"))]
    if not found:
        raise InputError(
            f"out: there are no results of benchmarks in {os.fspath(folder)!r}. Run `bcnmf-dask benchmark all` first, "
            "or give the folder it wrote into."
        )
    return [_pooled(list(runs)) for _, runs in groupby(found, lambda run: (run.benchmark, run.machine, run.parameters))]


def _pooled(runs: Sequence[Run]) -> Run:
    measured = sorted((one for run in runs for one in run.measurements), key=lambda one: (one.case, one.workers))
    return replace(runs[-1], measurements=tuple(measured))


def _measurement(record: dict[str, Any]) -> Measurement:
    workload = record.pop("workload")
    return Measurement(**record, workload=None if workload is None else Workload(**workload))
