"""Drawing some rows by their place in their role: the same rows for any shards, blocks and workers.

Storage gives neighbouring rows together, and neighbours are often alike. So the draws that follow each other share a
window, some pieces of rows from everywhere, and each takes a few rows of every piece. Who reads the pieces of a window
once, and keeps them while it lasts, has read every row once when all draws are done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.updates.statistics import Role

RUNS = 8
"""Runs of neighbouring rows in a draw, at the least, for each role."""
PIECES = 16
"""Of a window, at the least, for each role; all there are where that is not many more."""


@dataclass(frozen=True)
class Draw:
    """One of several disjoint draws that together are all rows of each role.

    Where there are nearly as many draws as rows, some may be empty.

    Attributes
    ----------
    seed : tuple of int
        Of the shuffle; another one cuts the rows otherwise.
    number, of : int
        Which of how many draws.
    n_rows : mapping of role to int
        All there are.
    piece : int
        Neighbouring rows that are read together.
    """

    seed: tuple[int, ...]
    number: int
    of: int
    n_rows: Mapping[Role, int]
    piece: int

    def runs(self, role: Role, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """What is drawn of the rows ``start:stop`` of a role: (first row, row behind the last), rising, with gaps."""
        runs = _runs(self.seed, self._windows(role), self.number, self.of, self.n_rows[role], self.piece)
        stop = self.n_rows[role] if stop is None else stop
        first, behind = np.searchsorted(runs[:, 1], start, "right"), np.searchsorted(runs[:, 0], stop)
        clipped: NDArray[np.int64] = np.clip(runs[first:behind], start, stop)
        return clipped

    def window(self, role: Role) -> NDArray[np.int64]:
        """All rows of the pieces that draws next to this one share with it: runs, as above."""
        windows = self._windows(role)
        starts, lengths = _window(self.seed, windows, self._place(role), self.n_rows[role], self.piece)
        return np.stack([starts, starts + lengths], axis=1)

    def count(self, role: Role) -> int:
        """Rows of a role that are drawn."""
        runs = self.runs(role)
        return int((runs[:, 1] - runs[:, 0]).sum())

    def weight(self, role: Role) -> float:
        """Rows of a role for each one that is drawn."""
        return self.n_rows[role] / self.count(role)

    def lasts(self, role: Role) -> bool:
        """Whether the next draw takes its rows of a role from the same pieces."""
        following = self.number + 1
        return following < self.of and replace(self, number=following)._place(role) == self._place(role)

    @property
    def pieces_kept(self) -> int:
        """Pieces of both roles, at most, that draws share with the next ones."""
        sharing = [role for role in self.n_rows if self._windows(role) < self.of]
        return sum(-(-self._pieces(role) // self._windows(role)) for role in sharing)

    def _place(self, role: Role) -> int:
        """Which window it takes its rows from."""
        return self.number * self._windows(role) // self.of

    def _pieces(self, role: Role) -> int:
        return -(-self.n_rows[role] // self.piece)

    def _windows(self, role: Role) -> int:
        draws_of_one = max(1, -(-self.of * PIECES // self._pieces(role)))
        return max(1, self.of // draws_of_one)


@lru_cache(maxsize=64)
def _runs(seed: tuple[int, ...], windows: int, number: int, of: int, n_rows: int, piece: int) -> NDArray[np.int64]:
    """All runs of a draw, of rows that are read in so many windows."""
    if of == 1:
        return np.array([[0, n_rows]])
    window = number * windows // of
    first, behind = -(-window * of // windows), -(-(window + 1) * of // windows)
    starts, lengths = _window(seed, windows, window, n_rows, piece)
    ends = np.cumsum(lengths)
    # The rows of the window, one piece after the other, are cut into as many slices for each of its draws.
    draws, total = behind - first, int(ends[-1])
    slices = max(1, min(max(RUNS, len(starts)), total // draws))
    chosen = _one_of_each((*seed, window), slices, draws, number - first)
    cuts = np.stack([chosen * total // (slices * draws), (chosen + 1) * total // (slices * draws)], axis=1)
    return _joined(_between(cuts, starts, ends, lengths))


def _window(
    seed: tuple[int, ...], windows: int, window: int, n_rows: int, piece: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First rows and lengths of the pieces of a window: one of every ``windows`` neighbours, so from everywhere."""
    groups = -(-n_rows // (piece * windows))
    starts = _one_of_each(seed, groups, windows, window) * piece
    starts = starts[starts < n_rows]
    return starts, np.minimum(piece, n_rows - starts)


def _one_of_each(seed: tuple[int, ...], groups: int, size: int, number: int) -> NDArray[np.int64]:
    """One member of each group of neighbours; ``size`` numbers together are all members."""
    order, shifts = _shuffled(seed, groups, size)
    members: NDArray[np.int64] = np.arange(groups) * size + (order[number] + shifts) % size
    return members


@lru_cache(maxsize=64)
def _shuffled(seed: tuple[int, ...], groups: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    random = np.random.default_rng([len(seed), *seed])
    return random.permutation(size), random.integers(size, size=groups)


def _between(
    cuts: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows of their role that lie between ``cuts`` of a window, whose pieces end at ``ends`` when laid in a line."""
    points = np.unique(np.concatenate([cuts.ravel(), ends]))
    place = np.searchsorted(cuts[:, 0], points[:-1], "right") - 1
    inside = (place >= 0) & (points[:-1] < cuts[place, 1])
    opens, closes = points[:-1][inside], points[1:][inside]
    piece = np.searchsorted(ends, opens, "right")
    shift = (starts - (ends - lengths))[piece]
    return np.stack([opens + shift, closes + shift], axis=1)


def _joined(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Runs that touch are one, of which rows need no copy."""
    apart = runs[1:, 0] != runs[:-1, 1]
    opens, closes = np.append(True, apart)[: len(runs)], np.append(apart, True)[: len(runs)]
    joined = np.stack([runs[opens, 0], runs[closes, 1]], axis=1)
    joined.flags.writeable = False
    return joined
