"""Errors and warnings. Every message says what came, what was expected and how to repair it."""

from typing import Any


class BCNMFError(Exception):
    """Base of every error raised on purpose by this package."""


class InputError(BCNMFError, ValueError):
    """Data, a path or a parameter that cannot be used as it is."""


class OutputError(InputError):
    """A result that could not be written where it was wanted: a full disk, or a name that was taken meanwhile.

    Attributes
    ----------
    result : FitResult
        The whole result if its usages are in memory. Usages that only a store can hold are None: they are lost.
    """

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        """With both arguments, so that the error can be sent between processes."""
        return type(self), (str(self), self.result)


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
