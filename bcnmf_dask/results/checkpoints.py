"""Fits on their way, saved so that another process can go on: whole generations, of which the newest valid one counts.

A generation is a folder (or URL prefix) of its own, whose name is never used again, and its manifest is written last.
Nothing is renamed, so that object stores do as well as disks, and late writers of abandoned attempts disturb nobody.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from itertools import dropwhile
from typing import Any, NamedTuple
from uuid import uuid4

from bcnmf_dask.errors import CheckpointError
from bcnmf_dask.results.generations import (
    MANIFEST,
    Generation,
    SavedFit,
    read_fits,
    read_manifest,
    usages_location,
    write_generation,
)
from bcnmf_dask.results.places import Place

__all__ = ["CheckpointStore", "Generation", "SavedFit"]

logger = logging.getLogger(__name__)

GENERATION = re.compile(r"generation-\d{8,}-[0-9a-f]{8}")


class _Survey(NamedTuple):
    """What lies in a store: generations with a manifest that can be trusted (newest first), and the others."""

    whole: list[tuple[str, dict[str, Any]]]
    damaged: dict[str, CheckpointError]
    unfinished: list[str]


class CheckpointStore:
    """A folder or URL that holds generations; only one fit at a time may write to it.

    Parameters
    ----------
    location : path or str
        A local folder, made with the first generation, or a URL that fsspec knows (``"s3://bucket/fit"``).

    Raises
    ------
    InputError
        There is no folder to make it in, a file has its name, or fsspec cannot open the URL.
    """

    KEEP = 2
    """Valid generations that are kept: should the newest be damaged, there is another."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self._place = Place(os.fspath(location), "checkpoint")
        self._skipped: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """Absolute path, or URL, of the store."""
        return self._place.location

    @property
    def skipped(self) -> tuple[str, ...]:
        """A sentence for each damaged generation met by the last `newest` and the calls of `before` since."""
        return self._skipped

    def begin(self, sweep: int) -> str:
        """Location of a new generation, to be saved after a sweep; OSError if its folder cannot be made."""
        name = f"generation-{sweep:08d}-{uuid4().hex[:8]}"
        self._place.make(name)
        return f"{self.location}/{name}"

    def usages_location(self, generation: str, key: str) -> str:
        """Path or URL of the Zarr group that workers write the usages of a fit to."""
        return usages_location(generation, key)

    def commit(self, generation: str, sweep: int, identity: Mapping[str, Any], fits: Sequence[SavedFit]) -> None:
        """Make a generation exist, whose usages the workers have written; then remove those no longer needed.

        Parameters
        ----------
        generation : str
            Location that `begin` gave.
        sweep : int
            The sweep after which the fits are saved.
        identity : mapping
            What the caller will recognise its data and parameters by: values that JSON can hold.
        fits : sequence of SavedFit
            What is saved, with usages where `usages_location` says.

        Raises
        ------
        OSError
            Something cannot be written (disk full), or usages are not there. Older generations stay valid.
        """
        survey, name = self._survey(), _name(generation)
        # A fit that resumes from an older generation may come by the same sweep again: sweeps give no order.
        number = 1 + max((content["number"] for _, content in survey.whole), default=0)
        write_generation(self._place, name, number, sweep, identity, fits)
        self._prune(survey, name)

    def abandon(self, generation: str) -> None:
        """Remove a generation as far as possible, for example after a failure; never raises."""
        try:
            if GENERATION.fullmatch(_name(generation)):
                # The manifest first, so that what is half removed does not look whole.
                self._place.remove(_name(generation), first=MANIFEST)
        except Exception as error:  # which kinds there are depends on the filesystem
            logger.info("%s could not be removed (%s).", generation, error)

    def newest(self) -> Generation | None:
        """The newest valid generation; None if there is none. Damaged ones are skipped, with a warning in the log.

        Raises
        ------
        OSError
            The store itself cannot be listed.
        """
        survey, self._skipped = self._survey(), ()
        for name, damage in survey.damaged.items():
            self._skip(name, damage)
        return self._first_valid(survey.whole)

    def before(self, generation: Generation) -> Generation | None:
        """The newest valid one of those older than ``generation`` (whose usages turned out to be altered)."""
        name = _name(generation.location)
        return self._first_valid(list(dropwhile(lambda entry: entry[0] != name, self._survey().whole))[1:])

    def _survey(self) -> _Survey:
        survey = _Survey([], {}, [])
        for name in filter(GENERATION.fullmatch, self._place.names()):
            try:
                survey.whole.append((name, read_manifest(self._place, name)))
            except FileNotFoundError:
                survey.unfinished.append(name)
            except CheckpointError as damage:
                survey.damaged[name] = damage
        survey.whole.sort(key=lambda entry: (entry[1]["number"], entry[0]), reverse=True)
        return survey

    def _first_valid(self, whole: list[tuple[str, dict[str, Any]]]) -> Generation | None:
        for name, content in whole:
            try:
                fits = tuple(read_fits(self._place, name, content))
            except CheckpointError as damage:
                self._skip(name, damage)
            else:
                return Generation(f"{self.location}/{name}", content["sweep"], content["identity"], fits)
        return None

    def _skip(self, name: str, damage: CheckpointError) -> None:
        location = f"{self.location}/{name}"
        sentence = f"The checkpoint of sweep {_sweep(name)} at {location!r} is skipped: {damage}."
        self._skipped += (sentence,)
        logger.warning("%s", sentence)

    def _prune(self, survey: _Survey, newest: str) -> None:
        """Remove what lies behind the newest `KEEP` valid generations, and attempts that ``newest`` has replaced."""
        valid = 1
        for name, content in survey.whole:
            if valid >= self.KEEP:
                self.abandon(name)
            else:
                valid += self._is_valid(name, content)
        for name in {*survey.damaged, *survey.unfinished} - {newest}:
            if _sweep(name) <= _sweep(newest):
                self.abandon(name)

    def _is_valid(self, name: str, content: dict[str, Any]) -> bool:
        try:
            # One at a time: all bases of a grid need not be in memory together to be checked.
            for _ in read_fits(self._place, name, content):
                pass
        except CheckpointError:
            return False
        return True


def _name(location: str) -> str:
    return location.rpartition("/")[2]


def _sweep(name: str) -> int:
    return int(name.split("-")[1])
