"""Saving the fits of a run every few sweeps, and bringing them back to the bit."""

import hashlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from bcnmf_dask.backend import to_host
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.engine.base import Engine, Saved
from bcnmf_dask.errors import BCNMFError, CheckpointError, CheckpointWarning, InputError, Preempted
from bcnmf_dask.fitting.loop import FitProgress
from bcnmf_dask.fitting.parameters import check_parameter
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.solving import passes_of
from bcnmf_dask.fitting.stopping import SweepRecord
from bcnmf_dask.results.checkpoints import CheckpointStore, Generation, SavedFit

logger = logging.getLogger(__name__)

MAY_DIFFER = ("max_iter",)
"""Parameters a resumed fit may change: more sweeps are the same fit, longer."""


@dataclass(frozen=True)
class Checkpointing:
    """What a caller wants saved.

    Attributes
    ----------
    location : path or fsspec URL
        Folder of the checkpoints.
    every : int
        Sweeps between two checkpoints.
    resume : bool
        Go on from the newest checkpoint there; from the start if there is none.
    """

    location: str | os.PathLike[str]
    every: int
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        check_parameter("checkpoint_every", self.every)
        if not os.fspath(self.location):
            raise InputError("checkpoint: got an empty path. Give the folder that checkpoints shall be written to.")


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    wanted : Checkpointing
    engine : Engine
        Loaded.
    inputs : Inputs
    settings : sequence of Settings
    dtype : str

    Attributes
    ----------
    resumed_from : int
        The sweep that the run went on from; 0 if fresh.
    written : int
        Checkpoints written.
    """

    def __init__(
        self, wanted: Checkpointing, engine: Engine, inputs: Inputs, settings: Sequence[Settings], dtype: str
    ) -> None:
        self._wanted = wanted
        self._engine = engine
        self._settings = settings
        self._store = CheckpointStore(wanted.location)
        self._identity = _identity(engine, inputs, settings, dtype)
        self.resumed_from = 0
        self.written = 0

    def bring_back(self, fits: Sequence[FitProgress]) -> bool:
        """Start the fits from the newest checkpoint that is whole; says whether there was one.

        Raises
        ------
        InputError
            There are checkpoints, but ``resume`` was not asked for.
        CheckpointError
            They belong to other data or parameters, or all of them are damaged.
        """
        generation = self._store.newest()
        if generation is None and not self._store.skipped:
            return False
        if not self._wanted.resume:
            raise InputError(
                f"checkpoint: {os.fspath(self._wanted.location)!r} holds checkpoints already. Resume the fit "
                "(resume=True, or --resume), or give another folder."
            )
        damaged: list[str] = []
        while generation is not None:
            self._refuse_another_fit(generation)
            try:
                self._start_from(generation, fits)
            except CheckpointError as error:
                damaged.append(f"{error}")
                generation = self._store.before(generation)
                if generation is not None:
                    self._warn(f"{error} The checkpoint before it is used.")
            else:
                self.resumed_from = generation.sweep
                return True
        raise CheckpointError(
            f"checkpoint: no checkpoint in {os.fspath(self._wanted.location)!r} is whole "
            f"({' '.join([*damaged, *self._store.skipped])}). Remove the folder and start the fit again."
        )

    def after_sweep(self, fits: Sequence[FitProgress], stopping: bool) -> None:
        """Save the fits if it is time, or if the process was asked to stop.

        Raises
        ------
        Preempted
            After saving, if it was asked to stop.
        """
        sweep = max(len(fit.history) for fit in fits)
        if stopping or sweep % self._wanted.every == 0:
            self._save(sweep, fits)
        if stopping and any(fit.status is None for fit in fits):
            raise Preempted(f"The fit was asked to stop after sweep {sweep} {self._from_where()}.")

    def _from_where(self) -> str:
        if self.written or self.resumed_from:
            return f"and can be resumed from its newest checkpoint in {os.fspath(self._wanted.location)!r}"
        return "but could not be saved: it will start from the beginning"

    def way_back(self) -> str:
        """How to go on after an error, in words."""
        if not (self.written or self.resumed_from):
            return "No checkpoint had been written yet: start the fit again."
        return (
            "The fit can go on from its newest checkpoint: fit again with "
            f"checkpoint={os.fspath(self._wanted.location)!r} and resume=True (--resume)."
        )

    def _save(self, sweep: int, fits: Sequence[FitProgress]) -> None:
        generation = None
        try:
            generation = self._store.begin(sweep)
            saved = [self._save_fit(generation, fit) for fit in fits]
            self._store.commit(generation, sweep, self._identity, saved)
        except BCNMFError:
            raise
        except Exception as error:  # which kinds there are depends on the filesystem
            if generation is not None:
                self._store.abandon(generation)
            self._warn(
                f"checkpoint: sweep {sweep} could not be saved ({error}). The fit goes on; the one before stays."
            )
            return
        self.written += 1
        for fit, one in zip(fits, saved, strict=True):
            if one.usages is not None:
                self._engine.rely_on(fit.key, Saved(one.usages, one.stamp, one.checksums))

    def _save_fit(self, generation: str, fit: FitProgress) -> SavedFit:
        location: str | None = None
        checksums: Mapping[str, int] = {}
        if fit.stamp:  # else they are still those of the start, as during the passes of the online solver
            location = self._store.usages_location(generation, fit.key)
            checksums = self._engine.write_usages(fit.order().unscaled(), location)
        history = [asdict(swept) for swept in fit.history]
        state = {name: to_host(part) for name, part in fit.solver.state().items()}
        basis, scales = to_host(fit.basis), to_host(fit.scales)
        return SavedFit(fit.key, basis, scales, history, location, dict(checksums), fit.stamp, state)

    def _start_from(self, generation: Generation, fits: Sequence[FitProgress]) -> None:
        saved = {one.key: one for one in generation.fits}
        for fit, settings in zip(fits, self._settings, strict=True):
            one = saved[fit.key]
            if one.usages is None:
                self._engine.start(fit.spec, settings.start_usages())
            else:
                self._engine.start(fit.spec, {}, Saved(one.usages, one.stamp, one.checksums))
        for fit in fits:
            one = saved[fit.key]
            fit.go_on(one.basis, one.scales, one.stamp, [_record(row) for row in one.history], one.solver)

    def _refuse_another_fit(self, generation: Generation) -> None:
        differ = _differences(generation.identity, self._identity)
        if differ:
            raise CheckpointError(
                f"checkpoint: {os.fspath(self._wanted.location)!r} belongs to another fit: {'; '.join(differ)}. "
                "Expected the same data and parameters: give those, or another folder."
            )

    def _warn(self, message: str) -> None:
        logger.warning("%s", message)
        warnings.warn(message, CheckpointWarning, stacklevel=2)


def _identity(engine: Engine, inputs: Inputs, settings: Sequence[Settings], dtype: str) -> dict[str, Any]:
    names = hashlib.blake2b(digest_size=16)
    for name in inputs.features if inputs.features is not None else ():
        names.update(f"{name}\n".encode())
    return {
        "rows and values of the data": engine.fingerprint(),
        "names of the features": names.hexdigest(),
        "dtype": dtype,
        **{f"fit-{number}": one.described() | _starts(one) | _passes(one) for number, one in enumerate(settings)},
    }


def _starts(settings: Settings) -> dict[str, str]:
    """A digest of each start array that was given."""
    return {
        f"values of init {name}": hashlib.blake2b(np.asarray(array, dtype=np.float64).tobytes()).hexdigest()
        for name, array in settings.start.items()
    }


def _passes(settings: Settings) -> dict[str, int]:
    """Of the online solver: one that has made its passes and its transform cannot make more."""
    return {"passes": passes_of(settings.max_iter)} if settings.solver == "online" else {}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, in words."""
    found: list[str] = []
    for name in [*before, *(name for name in now if name not in before)]:
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(*({key: one[key] for key in one if key not in MAY_DIFFER} for one in (old, new)))
        elif old != new:
            long = name.startswith(("rows", "names", "values"))
            found.append(f"the {name} differ" if long else f"{name} was {old!r} and is now {new!r}")
    return found


def _record(row: Mapping[str, Any]) -> SweepRecord:
    return SweepRecord(**{one.name: row[one.name] for one in fields(SweepRecord)})
