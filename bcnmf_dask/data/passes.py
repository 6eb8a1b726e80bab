"""Passes over rows of a store that stay the rows they were: verified each time, and waited for when out of reach."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from bcnmf_dask.backend import Rows
from bcnmf_dask.data.handles import StoredRows, reading
from bcnmf_dask.data.patience import Patience
from bcnmf_dask.data.strips import Parts, Strip
from bcnmf_dask.errors import InputError
from bcnmf_dask.kernels.checksum import checksum_of


class AlteredError(InputError):
    """Rows are not those that were read in the first pass."""


class Reopenable(Protocol):
    """What `Passes` asks of a source."""

    location: str
    path: str

    def open_rows(self) -> StoredRows:
        """The handle of this process on the rows."""

    def close(self) -> None:
        """Let the handle go, so that the next one is fresh."""


class Passes:
    """Rows of a source, for one pass after the other.

    Parameters
    ----------
    source : Reopenable
    start : int
        The first row of the store.
    """

    def __init__(self, source: Reopenable, start: int) -> None:
        self._source = source
        self._patience = Patience(source.location, source.path)
        self._start = start
        self._strip: Strip | None = None
        self._checksums: dict[int, int] = {}

    @property
    def checksum(self) -> int:
        """Of all that was read in the first pass, the same wherever these rows are read with the same bounds."""
        return checksum_of(np.array(sorted(self._checksums.items()), dtype=np.uint64))

    def blocks(self, bounds: Sequence[int]) -> Iterator[Rows]:
        """The rows between any two neighbours of ``bounds``, which are the same in every pass.

        Raises
        ------
        InputError
            If the store cannot be read, is out of reach for too long, or is not what it was in the first pass.
        """
        done, altered = 0, -1
        while done < len(bounds) - 1:
            try:
                for rows in self._pass(bounds[done:]):
                    yield rows
                    done += 1
                    self._patience.succeeded()
            except InputError as error:
                # Storage that fails may give other bytes (Zarr's zeros, above all), but not twice.
                if isinstance(error, AlteredError) and altered != done:
                    altered = done
                else:
                    self._patience.wait(error)
                self._strip = None
                self._source.close()

    def _pass(self, bounds: Sequence[int]) -> Iterator[Rows]:
        with reading(self._source.location):
            self._strip = self._strip or self._source.open_rows().strip(self._start)
            for (start, stop), parts in zip(pairwise(bounds), self._strip.parts(bounds), strict=True):
                self._verify(start, parts)
                yield self._strip.rows(parts, start, stop)
                del parts

    def _verify(self, start: int, parts: Parts) -> None:
        checksum = checksum_of(*parts)
        if start not in self._checksums and not self._patience.store_is_there():
            raise InputError(f"{self._source.location!r} has vanished while it was read.")
        if self._checksums.setdefault(start, checksum) != checksum:
            raise AlteredError(
                f"{self._source.location!r} has changed since it was first read (rows from {start} on), or storage "
                "gave other bytes. Leave a store alone while it is in use, and fit again."
            )
