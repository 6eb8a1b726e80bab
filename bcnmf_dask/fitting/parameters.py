"""Which values the parameters of a fit may take."""

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from bcnmf_dask.errors import InputError
from bcnmf_dask.updates.losses import LOSSES

START_ARRAYS = ("components", "target_usages", "background_usages")
WEIGHTINGS = ("deviance", "mean", "sum")
DTYPES = ("float32", "float64")
DEVICES = ("auto", "cpu", "cuda")
LOSS_ALIASES = {"kl": "kullback-leibler", "poisson": "kullback-leibler", "sse": "frobenius"}
"""Other names of losses, which a user may give."""
DEFAULT_ALPHAS = {"frobenius": 1.5, "kullback-leibler": 2.0}
"""What no alpha means for a loss, with weighting="deviance": chosen by ``benchmarks/weighting.py``."""
SOLVERS = ("published", "accelerated", "online")


class Rule(NamedTuple):
    """What a parameter may be: a test, and the same in words."""

    holds: Callable[[Any], bool]
    words: str


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _number(value: Any, least: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and float(value) >= least


def _one_of(names: Any, more: str = "") -> Rule:
    return Rule(lambda value: isinstance(value, str) and value in names, f"one of {', '.join(map(repr, names))}{more}")


RULES: Mapping[str, Rule] = {
    "n_components": Rule(lambda value: _whole(value, 1), "a whole number of at least 1"),
    "alpha": Rule(lambda value: _number(value, 0.0), "a finite number of at least 0 (0: no contrast)"),
    "weighting": _one_of(WEIGHTINGS),
    "loss": _one_of(tuple(LOSSES), f" (or, where a user names it: {', '.join(LOSS_ALIASES)})"),
    "damping": Rule(
        lambda value: value is None or (_number(value, 0.0) and 0 < value <= 1), "a number in (0, 1], or None"
    ),
    "max_iter": Rule(lambda value: _whole(value, 1), "a whole number of at least 1"),
    "tol": Rule(lambda value: _number(value, 0.0), "a finite number of at least 0 (0: never stop early)"),
    "seed": Rule(lambda value: _whole(value, 0), "a whole number of at least 0"),
    "start": Rule(
        lambda value: isinstance(value, Mapping) and set(value) <= set(START_ARRAYS),
        f"a mapping with any of {', '.join(map(repr, START_ARRAYS))}",
    ),
    "dtype": _one_of(DTYPES),
    "device": _one_of(DEVICES),
    "checkpoint_every": Rule(lambda value: _whole(value, 1), "a whole number of sweeps, at least 1"),
    "solver": _one_of(SOLVERS),
    "converged_usages": Rule(lambda value: value is None or isinstance(value, bool), "True, False, or None"),
    "batch_size": Rule(lambda value: value is None or _whole(value, 1), "a whole number of rows, at least 1, or None"),
}
"""By the names of `Settings` and of the estimator."""

SHOWN_AS = {"seed": "random_state", "start": "init"}
"""Parameters the estimator calls otherwise."""


def loss_named(name: Any) -> Any:
    """The loss that a name stands for; what is none is left as it is, to be refused with all other parameters."""
    return LOSS_ALIASES.get(name, name) if isinstance(name, str) else name


def alpha_for(loss: Any, alpha: Any) -> Any:
    """An alpha that was given, or the default for the loss: 1 for one that the package does not know."""
    return DEFAULT_ALPHAS.get(str(loss), 1.0) if alpha is None else alpha


def check_parameter(name: str, value: Any) -> None:
    """Refuse a value out of range.

    Raises
    ------
    InputError
    """
    if not RULES[name].holds(value):
        got = sorted(map(str, value)) if isinstance(value, Mapping) else value
        raise InputError(f"{SHOWN_AS.get(name, name)}: got {got!r}. Expected {RULES[name].words}.")


def check_parameters(settings: Any) -> None:
    """Refuse values out of range, or that contradict each other, among the fields of a `Settings`."""
    for name in RULES.keys() & vars(settings).keys():
        check_parameter(name, getattr(settings, name))
    check_batches(settings.solver, settings.batch_size)


def check_batches(solver: str, batch_size: int | None) -> None:
    """Refuse a size of batches where there are none.

    Raises
    ------
    InputError
    """
    if batch_size is not None and solver != "online":
        raise InputError(
            f"batch_size: got {batch_size!r}, but solver={solver!r} sweeps over all rows. Expected a size of batches "
            "only for the solver that makes some: set solver='online', or leave batch_size out."
        )
