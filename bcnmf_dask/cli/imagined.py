"""A cluster that is not there yet, as a plan is told of it."""

from dataclasses import replace
from typing import Annotated

import typer

from bcnmf_dask.engine.hardware import Hardware
from bcnmf_dask.engine.limits import Room, room_within, size_of

IMAGINED = "A cluster that is not there yet"
ONE_THREAD, USUAL_MEMORY = 1, "8 GB"
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Worker processes of the cluster.", rich_help_panel=IMAGINED, show_default=False),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads of each of them.", rich_help_panel=IMAGINED, show_default=str(ONE_THREAD)),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of each of them, like '64 GB'.",
        rich_help_panel=IMAGINED,
        show_default=USUAL_MEMORY,
    ),
]
DeviceMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of the CUDA device of each of them, like '80 GB'.",
        rich_help_panel=IMAGINED,
        show_default="no device",
    ),
]


def cluster_of(
    workers: int | None,
    threads: int | None,
    memory: str | None,
    device_memory: str | None,
    *,
    memory_limit: str | None,
    device: str,
    elsewhere: bool,
) -> tuple[list[Room], str] | None:
    """The rooms of a cluster that is not there yet, and the cluster in words; None where none was asked for."""
    if workers is None:
        if any(one is not None for one in (threads, memory, device_memory)):
            raise typer.BadParameter(
                "say what each worker of a cluster has that is not there yet; give --workers, how many, too.",
                param_hint="--threads, --memory, --device-memory",
            )
        return None
    if memory_limit is not None:
        raise typer.BadParameter(
            "is for where a fit runs now; --memory says what each of --workers has.", param_hint="--memory-limit"
        )
    if device != "auto":
        raise typer.BadParameter(
            "is for where a fit runs now; --device-memory gives each of --workers a CUDA device.", param_hint="--device"
        )
    if elsewhere:
        raise typer.BadParameter(
            "plans for a cluster that is not there yet; leave it out to plan for one that is.", param_hint="--workers"
        )
    threads, memory = threads or ONE_THREAD, USUAL_MEMORY if memory is None else memory
    room = room_within(_bytes(memory, "--memory"), threads)
    words = f"on {workers} workers of {threads} threads and {memory}"
    if device_memory is not None:
        there = Hardware.configured("cuda").share_of(_bytes(device_memory, "--device-memory"))
        room, words = replace(room, device=there), f"{words}, each with a CUDA device of {device_memory}"
    return [room] * workers, words


def _bytes(given: str, option: str) -> float:
    if (size := size_of(given)) is not None:
        return size
    raise typer.BadParameter(f"got {given!r}. Give a size, like '64 GB'.", param_hint=option)
