"""Drawing some rows by their place in their role: the same rows for any shards, blocks and workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.updates.statistics import ROLES, Role

RUNS = 8
"""Runs of neighbouring rows in a draw, at the least, for each role: neighbours are often alike, but read together."""


@dataclass(frozen=True)
class Draw:
    """One of several disjoint draws that together are all rows of each role.

    Attributes
    ----------
    seed : tuple of int
        Of the shuffle; another one cuts the rows otherwise.
    number, of : int
        Which of how many draws.
    n_rows : mapping of role to int
        All there are.
    longest : int
        Neighbouring rows that are drawn together, at most.
    """

    seed: tuple[int, ...]
    number: int
    of: int
    n_rows: Mapping[Role, int]
    longest: int

    def runs(self, role: Role, start: int, stop: int) -> NDArray[np.int64]:
        """What is drawn of the rows ``start:stop`` of a role: (first row, row behind the last), rising, with gaps."""
        n_rows = self.n_rows[role]
        length = max(1, min(self.longest, n_rows // (RUNS * self.of)))
        order = _shuffled(self.seed, ROLES.index(role), -(-n_rows // length))
        first, last = len(order) * self.number // self.of, len(order) * (self.number + 1) // self.of
        starts = np.sort(order[first:last]) * length
        starts = starts[(starts + length > start) & (starts < stop)]
        ends = np.minimum(starts + length, stop)
        starts = np.maximum(starts, start)
        apart = starts[1:] != ends[:-1]  # what touches is one run, of which rows need no copy
        opens, closes = np.append(True, apart)[: len(starts)], np.append(apart, True)[: len(ends)]
        return np.stack([starts[opens], ends[closes]], axis=1)

    def count(self, role: Role) -> int:
        """Rows of a role that are drawn."""
        runs = self.runs(role, 0, self.n_rows[role])
        return int((runs[:, 1] - runs[:, 0]).sum())


@lru_cache(maxsize=8)
def _shuffled(seed: tuple[int, ...], role: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([*seed, role]).permutation(count)
