"""CSC -> runs of rows, in two passes, neither of which holds more than two pieces of values.

*Spread*: each task reads consecutive stored values (of some features) and sorts them by narrow ranges of rows.
*Collect*: each task takes one run of rows out of all that was spread, and brings it into canonical form.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.data.wording import about
from bcnmf_dask.errors import InputError
from bcnmf_dask.ingesting.aside import Aside, Record
from bcnmf_dask.ingesting.compressed import Compressed
from bcnmf_dask.ingesting.runs import equal_runs, keep_run, save

SPREAD = "spread"
RANGES_PER_RUN = 16
"""So many narrow ranges of rows hold the values of one run on average; runs are whole ranges of about equal values."""


@dataclass(frozen=True)
class Spread:
    """The first pass: sorts pieces of a CSC matrix by ranges of rows.

    Attributes
    ----------
    aside : Aside
    source : Compressed
        By feature.
    piece_values : int
        Stored values of each piece.
    """

    aside: Aside
    source: Compressed
    piece_values: int

    @property
    def n_pieces(self) -> int:
        """How many pieces there are."""
        return max(1, -(-int(self.source.pointers()[-1]) // self.piece_values))

    @property
    def range_rows(self) -> int:
        """Rows of each range."""
        return max(1, self.source.n_rows // (self.n_pieces * RANGES_PER_RUN))

    @property
    def n_ranges(self) -> int:
        """How many ranges there are."""
        return -(-self.source.n_rows // self.range_rows)

    def __call__(self, number: int) -> Record:
        """Sort one piece."""
        pointers = self.source.pointers()
        first = number * self.piece_values
        last = min(first + self.piece_values, int(pointers[-1]))
        data, rows = self.source.values(first, last)
        self._check(rows)
        ranges = (rows // self.range_rows).astype(_smallest_type(self.n_ranges))
        order = np.argsort(ranges, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(ranges, minlength=self.n_ranges))])
        features = _lines(pointers, first, last)
        save(
            self.aside,
            SPREAD,
            number,
            {"data": data[order], "rows": rows[order], "features": features[order], "starts": starts},
        )
        return self.aside.note(SPREAD, number, {})

    def bounds(self) -> NDArray[np.int64]:
        """First range of each run, and the number of ranges; once all pieces are sorted."""
        counts = np.zeros(self.n_ranges, dtype=np.int64)
        for number in range(self.n_pieces):
            counts += np.diff(self.aside.kept(SPREAD, number, "starts"))
        return equal_runs(np.append(0, np.cumsum(counts)), self.piece_values)

    def _check(self, rows: NDArray[np.int64]) -> None:
        n_rows = self.source.n_rows
        if rows.size and not 0 <= rows.min() <= rows.max() < n_rows:
            with about("source"):
                raise InputError(
                    f"got a damaged CSC matrix: it has {n_rows} rows, and values in the rows {rows.min()} to "
                    f"{rows.max()}. Build or write it again from its rows, columns and values."
                )


@dataclass(frozen=True)
class Collect:
    """The second pass: makes one run of rows out of what was spread.

    Attributes
    ----------
    spread : Spread
    """

    spread: Spread

    def __call__(self, number: int, start: int, stop: int) -> Record:
        """Collect the run of the ranges ``start:stop``."""
        first_row = start * self.spread.range_rows
        n_rows = min(stop * self.spread.range_rows, self.spread.source.n_rows) - first_row
        data, rows, features = (self._part(part, start, stop) for part in ("data", "rows", "features"))
        order = np.argsort((rows - first_row).astype(_smallest_type(n_rows)), kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows - first_row, minlength=n_rows))])
        parts = (data[order], features[order], indptr)
        return keep_run(self.spread.aside, number, parts, self.spread.source.n_features)

    def _part(self, part: str, start: int, stop: int) -> NDArray[np.int64]:
        return np.concatenate(
            [
                self.spread.aside.kept(SPREAD, piece, part)[starts[start] : starts[stop]]
                for piece in range(self.spread.n_pieces)
                for starts in [self.spread.aside.kept(SPREAD, piece, "starts")]
            ]
        )


def _lines(pointers: NDArray[np.int64], first: int, last: int) -> NDArray[np.int32]:
    """In which line each of the stored values ``first:last`` stands."""
    start, stop = np.searchsorted(pointers, first, side="right") - 1, np.searchsorted(pointers, last)
    counts: NDArray[np.int64] = np.diff(np.clip(pointers[start : stop + 1], first, last)).astype(np.int64)
    return np.repeat(np.arange(start, stop, dtype=np.int32), counts)


def _smallest_type(limit: int) -> type[np.generic]:
    """For numbers below ``limit``: NumPy sorts 16 bits by counting them, which is many times faster."""
    return np.uint16 if limit <= 2**16 else np.int64
