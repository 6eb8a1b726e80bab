"""Errors and warnings. Every message says what came, what was expected and how to repair it."""


class BCNMFError(Exception):
    """Base of every error raised on purpose by this package."""


class InputError(BCNMFError, ValueError):
    """Data, a path or a parameter that cannot be used as it is."""


class ClusterError(BCNMFError, RuntimeError):
    """A cluster that cannot be reached, does not match this process, or lost what a fit needs."""


class NumericalError(BCNMFError, ArithmeticError):
    """A fit whose numbers stopped being finite."""


class DataWarning(UserWarning):
    """Data that can be factorized but may not be what was meant (counts that are not integers)."""


class CollapseWarning(UserWarning):
    """A factorization whose components all describe the same thing, usually because alpha is too large."""
