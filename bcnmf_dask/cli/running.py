"""Where a command runs, from the three options that say so."""

from pathlib import Path

import typer

from bcnmf_dask.engine.threads import usable_cores


def client_of(scheduler: str | None, scheduler_file: str | None, local: bool) -> str | bool:
    """Where to run, as ``client`` of the functions of Python.

    Raises
    ------
    typer.BadParameter
        If more than one place was given, or a scheduler file that is not there.
    """
    if sum((scheduler is not None, scheduler_file is not None, local)) > 1:
        raise typer.BadParameter("give one of them at most.", param_hint="--scheduler, --scheduler-file, --local")
    if scheduler_file is not None and not (scheduler_file.endswith(".json") and Path(scheduler_file).is_file()):
        raise typer.BadParameter(
            f"there is no file {scheduler_file!r} that ends in .json. Give the file that "
            "`dask scheduler --scheduler-file FILE.json` writes.",
            param_hint="--scheduler-file",
        )
    return "local" if local else scheduler or scheduler_file or False


def where(client: str | bool) -> str:
    """The same in words."""
    places = {
        False: f"in this process, {usable_cores()} threads",
        "local": f"on this machine, {usable_cores()} worker processes",
    }
    return places.get(client, f"on the workers of the Dask scheduler at {client}")
