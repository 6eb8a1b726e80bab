"""Canonical rows kept aside: for sources whose rows must first be computed, turned or summed.

A run is some rows; all runs together are a CSR matrix of which every value can be found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows
from bcnmf_dask.data.matrices import as_declared
from bcnmf_dask.data.sources import stack
from bcnmf_dask.data.wording import about
from bcnmf_dask.errors import InputError
from bcnmf_dask.ingesting.aside import Aside, Record
from bcnmf_dask.ingesting.canonical import INDEX, canonical
from bcnmf_dask.ingesting.compressed import Compressed, Values

RUNS, SETTLED = "runs", "settled"


@dataclass(frozen=True)
class Runs:
    """All runs of an ingest, as one CSR matrix. See :class:`~.compressed.Compressed`.

    Attributes
    ----------
    aside : Aside
    n_rows, n_features : int
    dtype : dtype
    """

    aside: Aside
    n_rows: int
    n_features: int
    dtype: np.dtype[Any]

    by_row = True

    def pointers(self) -> NDArray[np.int64]:
        """See `Compressed.pointers`: not read before it is sliced."""
        pointers: NDArray[np.int64] = self.aside.kept(SETTLED, 0, "indptr")
        return pointers

    def values(self, first: int, last: int) -> Values:
        """See `Compressed.values`."""
        starts = self.aside.kept(SETTLED, 0, "starts")
        begin = max(int(np.searchsorted(starts, first, side="right")) - 1, 0)
        end = int(np.searchsorted(starts[:-1], last))
        data, indices = [np.empty(0, self.dtype)], [np.empty(0, INDEX)]
        for run in range(begin, end):
            part = slice(max(first - starts[run], 0), last - starts[run])
            data.append(self.aside.kept(RUNS, run, "data")[part])
            indices.append(self.aside.kept(RUNS, run, "indices")[part])
        return np.concatenate(data), np.concatenate(indices)


def settled(aside: Aside) -> Record | None:
    """What `settle` reported, if all runs are there."""
    return aside.record(SETTLED, 0)


def settle(aside: Aside, records: Iterable[Record], n_rows: int) -> Record:
    """Find the place of each run among all values, once all are there."""
    stored, summed = [], 0
    for record in records:
        stored.append(record["stored"])
        summed += record["summed"]
    save(aside, SETTLED, 0, {"starts": np.cumsum([0, *stored], dtype=np.int64)})
    with_counts = (aside.kept(RUNS, run, "counts") for run in range(len(stored)))
    save_pointers(aside, with_counts, n_rows)
    return aside.note(SETTLED, 0, {"summed": summed})


def save_pointers(aside: Aside, counts: Iterable[NDArray[Any]], n_rows: int) -> None:
    """Write the row pointers without holding them."""
    place = aside.scratch(SETTLED, 0, "indptr")
    pointers = open_memmap(place, mode="w+", dtype=np.int64, shape=(n_rows + 1,))
    row = 0
    for part in counts:
        pointers[row + 1 : row + 1 + len(part)] = pointers[row] + np.cumsum(part, dtype=np.int64)
        row += len(part)
    pointers.flush()


def keep_run(aside: Aside, number: int, parts: tuple[Any, Any, Any], n_features: int) -> Record:
    """Write one run from the data, indices and indptr of its rows."""
    rows, summed = canonical(*parts, n_features)
    save(aside, RUNS, number, {"data": rows.data, "indices": rows.indices, "counts": np.diff(rows.indptr)})
    return aside.note(RUNS, number, {"stored": int(rows.nnz), "summed": summed})


@dataclass(frozen=True)
class FromBlocks:
    """Makes runs of the CSR blocks of a Dask array.

    Attributes
    ----------
    aside : Aside
    n_features : int
    dtype : dtype
        As the Dask array declares.
    """

    aside: Aside
    n_features: int
    dtype: np.dtype[Any]

    def __call__(self, number: int, n_rows: int, block: Any) -> Record:
        """Keep the ``n_rows`` rows of one block."""
        rows = declared([block], (n_rows, self.n_features), self.dtype)
        return keep_run(self.aside, number, (rows.data, rows.indices, rows.indptr), self.n_features)


@dataclass(frozen=True)
class FromRows:
    """Makes runs of a CSR matrix.

    Attributes
    ----------
    aside : Aside
    source : Compressed
        By row.
    """

    aside: Aside
    source: Compressed

    def __call__(self, number: int, start: int, stop: int) -> Record:
        """Keep the rows ``start:stop``."""
        indptr = self.source.pointers()[start : stop + 1]
        data, indices = self.source.values(int(indptr[0]), int(indptr[-1]))
        return keep_run(self.aside, number, (data, indices, indptr - indptr[0]), self.source.n_features)


def declared(blocks: Sequence[Any], shape: tuple[int, int], dtype: np.dtype[Any]) -> Rows:
    """Blocks of a Dask array, stacked, if they are what it declares.

    Raises
    ------
    InputError
    """
    with about("source"):
        rows = stack(as_declared(blocks, shape))
        if rows.dtype != dtype:
            raise InputError(
                f"got a Dask array that declares values of type {dtype} but holds {rows.dtype}. Call "
                f".astype({str(rows.dtype)!r}) on it, or give the right dtype= where it is made."
            )
    return rows


def save(aside: Aside, step: str, number: int, parts: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays for later steps, whole or not at all."""
    for part, values in parts.items():
        place = aside.scratch(step, number, part)
        place.parent.mkdir(exist_ok=True)
        incomplete = place.with_name(f"{place.stem}.{uuid4().hex[:8]}.npy")
        np.save(incomplete, values)
        incomplete.rename(place)


def equal_runs(pointers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Bounds of runs of whole lines with about ``most`` stored values each, more only where one line has more."""
    goals = np.arange(most, int(pointers[-1]), most)
    inner = np.searchsorted(pointers, goals, side="right") - 1
    return np.unique(np.concatenate([[0], inner, [len(pointers) - 1]]))
