"""Machines of the scaling model as files; the one that comes with the package is the default."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from bcnmf_dask.benchmarking.model import Machine
from bcnmf_dask.benchmarking.runs import write_json
from bcnmf_dask.errors import InputError

FILE = "machine.json"
"""Name of the file in a folder of results."""


def reference_machine() -> Machine:
    """The machine on which the package was measured: what `calibrate` finds in the results of the repository."""
    return _machine(json.loads((resources.files("bcnmf_dask.benchmarking") / "reference_machine.json").read_text()))


def load_machine(path: str | os.PathLike[str]) -> Machine:
    """The machine in a file that `bcnmf-dask benchmark model` wrote.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        return _machine(json.loads(Path(path).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"machine: {os.fspath(path)!r} is not a machine of the scaling model ({error}). Expected the file "
            "machine.json that `bcnmf-dask benchmark model` writes."
        ) from error


def save_machine(machine: Machine, path: Path) -> None:
    """Write a machine to a file.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    write_json(asdict(machine), path)


def _machine(record: Mapping[str, Any]) -> Machine:
    return Machine(**record)
