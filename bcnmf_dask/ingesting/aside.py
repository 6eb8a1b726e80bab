"""The folder next to the output in which an ingest works, and what it remembers of the steps that are done.

Its workers note each step when all that the step wrote is there, so that whoever comes after a crash can go on.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from numpy.typing import NDArray

from bcnmf_dask.data.handles import map_npy
from bcnmf_dask.errors import InputError, OutputError
from bcnmf_dask.results.output import free_path

Record = dict[str, Any]
"""What a step reports: plain values, small."""


@dataclass(frozen=True)
class Aside:
    """The folder, which all workers must see.

    Attributes
    ----------
    path : str
        Absolute.
    """

    path: str

    @classmethod
    def begin(cls, out: str | os.PathLike[str], plan: Mapping[str, str], resume: bool) -> Self:
        """Make the folder for the output ``out``, or find the one of an ingest to go on with.

        Parameters
        ----------
        out : path
        plan : mapping of str to str
            What must be the same to go on: its keys are what messages call it.
        resume : bool

        Raises
        ------
        InputError
            If ``out`` exists or cannot be made; if something is there to go on with and ``resume`` is False, or it
            is the ingest of something else.
        """
        path = free_path(out, "out")
        aside = cls(str(path.with_name(f".{path.name}.ingest")))
        if not aside.folder.exists():
            aside._make(plan, out)
        elif not resume:
            raise InputError(
                f"out: an ingest to {os.fspath(out)!r} was begun and did not end; it is in {aside.path!r}. Go on "
                "with resume=True (--resume), or, if it no longer runs, remove that folder to begin anew."
            )
        else:
            aside._check(plan)
            aside._sweep()
        return aside

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.path)

    @property
    def store(self) -> str:
        """The store that is being written."""
        return str(self.folder / "store")

    def record(self, step: str, number: int) -> Record | None:
        """What a step reported; None if it is not done."""
        try:
            record: Record = json.loads(self._note(step, number).read_text())
        except FileNotFoundError:
            return None
        return record

    def note(self, step: str, number: int, record: Record) -> Record:
        """Remember that a step is done; returns its record."""
        place = self._note(step, number)
        place.parent.mkdir(exist_ok=True)
        write_aside(place, json.dumps(record).encode())
        return record

    def forget(self, step: str) -> None:
        """Do all of a step again."""
        shutil.rmtree(self.folder / step, ignore_errors=True)

    def forget_one(self, step: str, number: int) -> None:
        """Do one task of a step again."""
        self._note(step, number).unlink()

    def scratch(self, step: str, number: int, part: str) -> Path:
        """The file in which a step keeps an array for the steps after it."""
        return self.folder / step / f"{number:06}.{part}.npy"

    def kept(self, step: str, number: int, part: str) -> NDArray[Any]:
        """Such an array, read where it is looked at."""
        return map_npy(self.scratch(step, number, part))

    def check_seen(self) -> None:
        """Refuse to work where the folder is not.

        Raises
        ------
        InputError
        """
        if not (self.folder / "plan.json").exists():
            raise InputError(
                f"out: the folder {self.path!r}, made by the process that runs the ingest, is not there on the machine "
                f"{os.uname().nodename!r}. Give a path that all workers see."
            )

    def finish(self, out: str | os.PathLike[str]) -> None:
        """Give the store its name, and remove the rest.

        Raises
        ------
        OutputError
            If something has taken the name meanwhile.
        """
        path = Path(out).expanduser().absolute()
        # A rename would silently replace an empty folder.
        if os.path.lexists(path):
            raise OutputError(
                f"out: {str(path)!r} has come into being during the ingest, and is not overwritten. The store is "
                f"whole, at {self.store!r}: give that folder another name."
            )
        Path(self.store).rename(path)
        self.discard()

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, step: str, number: int) -> Path:
        return self.folder / step / f"{number:06}.json"

    def _make(self, plan: Mapping[str, str], out: str | os.PathLike[str]) -> None:
        try:
            self.folder.mkdir()
            write_aside(self.folder / "plan.json", json.dumps(plan).encode())
        except OSError as error:
            raise InputError(
                f"out: {os.fspath(out)!r} cannot be written in the folder {str(self.folder.parent)!r} "
                f"({error.strerror}). Give a path in a folder that you may write to and that has space."
            ) from error

    def _check(self, plan: Mapping[str, str]) -> None:
        try:
            begun = json.loads((self.folder / "plan.json").read_text())
        except (OSError, ValueError):
            begun = {}
        others = [name for name in plan if begun.get(name) != plan[name]]
        if others:
            found = "; ".join(f"{name}: {begun.get(name, 'unknown')} then, {plan[name]} now" for name in others)
            raise InputError(
                f"resume: the ingest in {self.path!r} was one of something else ({found}). Give what was given then, "
                "or remove that folder to begin anew."
            )

    def _sweep(self) -> None:
        """Remove chunks that a killed process left unfinished under names of their own."""
        for unfinished in Path(self.store).rglob("*.partial"):
            unfinished.unlink()


def write_aside(place: Path, content: bytes) -> None:
    """Write a file that is whole whenever it is there."""
    aside = place.with_name(f"{place.name}.{uuid4().hex[:8]}")
    aside.write_bytes(content)
    aside.rename(place)
