"""A peer at work: what `peers.py` and `race.py` drive and read."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from bcnmf_dask.updates.initialise import draw_basis, draw_usages, normalise
from bcnmf_dask.updates.statistics import ROLES

SEED = 0


@dataclass(frozen=True)
class Runner:
    """One fit that goes on as far as it is asked to.

    Attributes
    ----------
    advance : callable
        From a number of sweeps to the seconds they took.
    basis : callable
        The basis as it is now, (n_features, n_components).
    over : callable
        Whether there is no sweep left to do.
    stride : int
        Fewest sweeps that are timed well together.
    """

    advance: Callable[[int], float]
    basis: Callable[[], Any]
    over: Callable[[], bool] = lambda: False
    stride: int = 1


def clocked(work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds that some work takes."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def by_sweeps(sweep: Callable[[], Any], basis: Callable[[], Any], over: Callable[[], bool] = lambda: False) -> Runner:
    """A peer that is asked for one sweep at a time."""
    return Runner(lambda sweeps: sum(clocked(sweep) for _ in range(sweeps) if not over()), basis, over)


def sweep_seconds(runner: Runner, sweeps: int) -> float:
    """Median seconds of a sweep, the first two left out."""
    runner.advance(2)
    strides = max(3, sweeps // runner.stride)
    return median(runner.advance(runner.stride) / runner.stride for _ in range(strides))


def start(target: Any, background: Any, n_components: int) -> list[Any]:
    """The random basis and usages that a fit of this package starts from, float32."""
    basis, scales = normalise(draw_basis(SEED, target.shape[1], n_components))
    sides = [target] if background is None else [target, background]
    usages = [
        scales * draw_usages(SEED, role, 0, rows.shape[0], n_components)
        for role, rows in zip(ROLES, sides, strict=False)
    ]
    return [np.ascontiguousarray(one, dtype=np.float32) for one in (basis, *usages)]
