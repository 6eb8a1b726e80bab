"""Where a command runs, and the options that say so."""

from pathlib import Path
from typing import Annotated

import typer

from bcnmf_dask.cli.options import RUNNING, checked
from bcnmf_dask.engine.limits import Room
from bcnmf_dask.engine.rooms import rooms_of
from bcnmf_dask.engine.threads import usable_cores

Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A running Dask scheduler, tcp://host:8786.", rich_help_panel=RUNNING),
]
SchedulerFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="The file a running Dask scheduler wrote.", rich_help_panel=RUNNING),
]
Local = Annotated[
    bool, typer.Option("--local", help="A cluster of worker processes on this machine.", rich_help_panel=RUNNING)
]
LocalCuda = Annotated[
    bool, typer.Option("--local-cuda", help="A worker process on each CUDA device here.", rich_help_panel=RUNNING)
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda",
        callback=checked,
        help="What each process computes on; auto is a CUDA device where CuPy and one are there.",
        rich_help_panel=RUNNING,
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of each process, like '8 GB'; rows that do not fit are read in each sweep. Default: the limit of "
        "each worker, or what this machine has free.",
        rich_help_panel=RUNNING,
    ),
]


def client_of(scheduler: str | None, scheduler_file: str | None, local: bool, local_cuda: bool = False) -> str | bool:
    """Where to run, as ``client`` of the functions of Python.

    Raises
    ------
    typer.BadParameter
        If more than one place was given, or a scheduler file that is not there.
    """
    if sum((scheduler is not None, scheduler_file is not None, local, local_cuda)) > 1:
        places = "--scheduler, --scheduler-file, --local, --local-cuda"
        raise typer.BadParameter("give one of them at most.", param_hint=places)
    if scheduler_file is not None and not Path(scheduler_file).is_file():
        raise typer.BadParameter(
            f"there is no file {scheduler_file!r}. Give the file that `dask scheduler --scheduler-file FILE` writes.",
            param_hint="--scheduler-file",
        )
    file = scheduler_file and str(Path(scheduler_file).absolute())  # or the name "local" would mean a local cluster
    return "local" if local else "local-cuda" if local_cuda else scheduler or file or False


def where(client: str | bool) -> str:
    """The same in words."""
    places = {
        False: f"in this process, {usable_cores()} threads",
        "local": f"on this machine, {usable_cores()} worker processes",
        "local-cuda": "on this machine, a worker process on each CUDA device",
    }
    return places.get(client, f"on the workers of the Dask scheduler at {client}")


def place_of(client: str | bool, device: str) -> tuple[list[Room], str]:
    """The memory of each worker there, and the place in words."""
    rooms = rooms_of(client, device)
    computing = ", computing on CUDA devices" if any(room.device for room in rooms) else ""
    return rooms, f"{where(client)}{computing}"
