"""The life of a run on a worker: opened there, guarded for as long as it lasts, freed.

The state is no Dask result, so it is never spilled, stolen or replicated. It lasts as long as the guard task.
"""

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast
from uuid import uuid4

from distributed import get_worker, secede

from bcnmf_dask.data.locations import exists
from bcnmf_dask.data.stored import PathSource
from bcnmf_dask.engine.hardware import Hardware, place_in
from bcnmf_dask.engine.limits import Room, room_of_worker
from bcnmf_dask.engine.resident import Residency
from bcnmf_dask.engine.shelf import Shelf
from bcnmf_dask.engine.waiting import attending
from bcnmf_dask.errors import ClusterError, InputError

Paths = tuple[PathSource | None, ...]
"""The sources of the stores of a run that are paths."""

GUARD_POLL = 0.2
"""Seconds between the looks of a guard at whether it is still wanted."""


@dataclass
class Run:
    """One run on one worker."""

    residency: Residency
    sources: Paths
    room: Room
    over: threading.Event = field(default_factory=threading.Event)


def runs() -> dict[str, Run]:
    """All that this worker holds, by their names."""
    return cast(dict[str, Run], vars(get_worker()).setdefault("_bcnmf_runs", {}))


NOT_SHARED = " Expected a path that every worker sees: put it on shared storage, under the same name."


def run_here(run: str) -> Run:
    """A run that this worker holds; ClusterError if it does not."""
    try:
        return runs()[run]
    except KeyError:
        raise ClusterError(f"worker {get_worker().address} no longer holds the run: it was restarted.") from None


def probe(sources: Sequence[PathSource]) -> None:
    """Open every path, so that a worker that cannot is found before the fit starts.

    Raises
    ------
    InputError
        With host and path.
    """
    for source in sources:
        try:
            source.read(0, 1)
        except Exception as error:
            raise InputError(
                f"{source.location}: worker {get_worker().address} on host {socket.gethostname()} cannot read it: "
                f"{error}{'' if _is_there(source.path) else NOT_SHARED}"
            ) from error


def _is_there(path: str) -> bool:
    """Whether this worker sees anything at a path; if that cannot be told, something else is the matter."""
    try:
        return exists(path)
    except Exception:  # each kind of URL fails in its own way
        return True


def probe_writing(run: str, location: str, seconds: float) -> None:
    """Write a file in a folder of the driver and remove it, within so many seconds: lost storage may never answer.

    Raises
    ------
    InputError
        With host and path.
    """
    try:
        attending(_write_trial, Path(location) / f"trial-{run}-{uuid4().hex}").result(seconds)
    except OSError as error:  # as a timeout is
        reason = str(error) or f"no answer within {seconds:g} s"
        raise InputError(
            f"{location}: worker {get_worker().address} on host {socket.gethostname()} cannot write there ({reason}). "
            "Expected a folder that every worker shares: give out= (and checkpoint=) on shared storage."
        ) from error


def _write_trial(trial: Path) -> None:
    trial.touch()
    trial.unlink()


def sees(run: str, path: str) -> bool:  # noqa: ARG001
    """Whether a file of the driver is there for this worker too."""
    return Path(path).exists()


def open_run(run: str, n_blocks: int, dtype: str, sources: Paths, hardware: Hardware) -> None:
    """Make room for a run. ``sources`` are those of the stores that are paths.

    Raises
    ------
    InputError
        If this worker has not the device that was asked for, with its address and host.
    """
    worker = get_worker()
    threads = worker.state.nthreads
    room = room_of_worker(hardware.memory_limit or worker.memory_manager.memory_limit, threads)
    try:
        room = replace(room, device=hardware.device_room())
    except InputError as error:
        raise InputError(f"{error} This was said by worker {worker.address} on host {socket.gethostname()}.") from error
    place = place_in(room.device)
    runs()[run] = Run(Residency(n_blocks, dtype, threads, place, Shelf(room.shelf)), sources, room)


def guard(run: str) -> None:
    """Keep the scheduler from idling out and the worker from being retired while a run lasts; then free it.

    A run is over when its engine says so, or when this task is cancelled because its client is gone.
    """
    worker, here = get_worker(), runs()
    key = worker.get_current_task()
    held = here[run]
    secede()
    while not held.over.wait(GUARD_POLL):
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            break
    if here.get(run) is held:  # and not one that was opened again meanwhile
        del here[run]
    held.residency.close()


def holds(run: str) -> bool:
    """Whether this worker holds the run: one that was restarted at its old address does not."""
    return run in runs()


def close_run(run: str) -> None:
    """Free a run at once."""
    held = runs().pop(run, None)
    if held is not None:
        held.over.set()
        held.residency.close()
