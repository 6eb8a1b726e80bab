"""Errors and warnings. Every message says what came, what was expected and how to repair it."""

from collections.abc import Sequence
from typing import Any


class BCNMFError(Exception):
    """Base of every error raised on purpose by this package.

    Attributes
    ----------
    results : sequence of FitResult
        Of a run that an error ended after its first sweep, what each of its fits had come to; else empty. Errors of
        other packages that end a run are given this attribute, and `result`, as well.
    """

    results: Sequence[Any] = ()

    @property
    def result(self) -> Any:
        """The first of ``results``, which is all of a single fit; None if there are none."""
        return self.results[0] if self.results else None


class InputError(BCNMFError, ValueError):
    """Data, a path or a parameter that cannot be used as it is."""


class OutputError(InputError):
    """A result that could not be written where it was wanted: a full disk, or a name that was taken meanwhile."""


class NameTakenError(OutputError):
    """A result whose name was taken meanwhile, so that it was given another.

    Attributes
    ----------
    location : str
        Where it is now, whole.
    """

    def __init__(self, message: str, location: str) -> None:
        super().__init__(message)
        self.location = location

    def __reduce__(self) -> tuple[Any, ...]:
        """With both arguments, so that the error can be sent between processes."""
        return type(self), (str(self), self.location), self.__dict__


class ClusterError(BCNMFError, RuntimeError):
    """A cluster that cannot be reached, does not match this process, or lost what a fit needs."""


class NumericalError(BCNMFError, ArithmeticError):
    """A fit whose numbers stopped being finite."""


class DataWarning(UserWarning):
    """Data that can be factorized but may not be what was meant: values that are no counts, sides that do not match."""


class CollapseWarning(UserWarning):
    """A factorization whose components all describe the same thing, usually because alpha is too large."""


class ResultWarning(UserWarning):
    """A factorization that has not collapsed, but may not be what was hoped for: its message says why."""


class CheckpointError(BCNMFError, RuntimeError):
    """Saved usages or a checkpoint that are damaged, or that belong to another fit."""


class CheckpointWarning(UserWarning):
    """A checkpoint that could not be written or read; the fit goes on without it."""


class Preempted(BCNMFError):
    """A fit that was asked to stop, and can be resumed from its checkpoint."""
