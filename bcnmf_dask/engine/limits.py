"""Memory that a run may take of the processes that compute it, and of their devices."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dask
import psutil
from dask.utils import parse_bytes

from bcnmf_dask.errors import InputError

SHARE = 0.55
"""Of the limit of a process that a run plans to take: Dask pauses a worker at 80 %, and rows are not all it holds."""
MOST = 0.75
"""Of the limit that may be in use in all. Binds where little is left above an idle worker."""
AT_WORK = 64e6
"""Bytes that libraries take once they work, beyond those of a process that has only imported them (about 60 MB)."""
SHELF_SHARE = 0.2
"""Of what a run plans to take that may be blocks kept for the next draws; those beyond are read again."""


@dataclass(frozen=True)
class DeviceRoom:
    """Memory that a run may take on the device of a process.

    Attributes
    ----------
    bytes : float
        In all.
    most_rows : float
        Of these, for rows that stay; infinite where nobody has set it.
    """

    bytes: float
    most_rows: float = math.inf

    def for_rows(self, besides: int) -> float:
        """Bytes for rows that stay, where a run takes so many besides."""
        return max(0.0, min(self.most_rows, self.bytes - besides))


@dataclass(frozen=True)
class Room:
    """Memory that a run may add to one process.

    Attributes
    ----------
    planned, most : float
        Bytes: that it plans to take, and above which it is refused. Infinite where nothing is known.
    threads : int
        That will compute.
    device : DeviceRoom or None
        None where CPUs compute.
    """

    planned: float
    most: float
    threads: int
    device: DeviceRoom | None = None

    @property
    def shelf(self) -> float:
        """Bytes for blocks that are kept for the next draws."""
        return SHELF_SHARE * self.planned


def room_within(limit: float, threads: int) -> Room:
    """The room of a process that may take ``limit`` bytes in all; this one if it is running, else an idle one."""
    left = max(0.0, MOST * limit - psutil.Process().memory_info().rss - AT_WORK)
    return Room(min(SHARE * limit, left), left, threads)


def room_here(threads: int) -> Room:
    """The room of this process: within its configured limit, else what the machine has free."""
    limit = configured_limit()
    if limit is not None:
        return room_within(limit, threads)
    free = psutil.virtual_memory().available
    return Room(SHARE * free, MOST * free, threads)


def is_small_here(nbytes: int) -> bool:
    """Whether so much can be had in this process besides all else: a quarter of what the machine has free."""
    return bool(nbytes <= psutil.virtual_memory().available / 4)


def room_of_worker(limit: float | None, threads: int) -> Room:
    """The room of a worker with a memory limit; of one without, what the machine has free."""
    return room_within(limit, threads) if limit else room_here(threads)


def configured_limit(name: str = "memory-limit") -> float | None:
    """Bytes per process as the Dask configuration says; InputError if that is no size, or none."""
    wanted = dask.config.get(f"bcnmf-dask.{name}", None)
    if wanted is None:
        return None
    if (limit := size_of(wanted)) is not None:
        return limit
    option = ", or --memory-limit" if name == "memory-limit" else ""
    raise InputError(
        f"{name.replace('-', ' ')}: got {wanted!r}. Expected bytes, as a number or like '8 GB' (bcnmf-dask.{name} of "
        f"the Dask configuration{option}); leave it out for what there is."
    )


def size_of(wanted: Any) -> float | None:
    """Bytes, from a number or what is like '8 GB'; None for what is no size, or none above 0."""
    if isinstance(wanted, bool) or not re.search(r"\d", str(wanted)):
        return None
    with suppress(ValueError, TypeError, AttributeError, OverflowError):
        if 0 < (size := float(parse_bytes(wanted))) < math.inf:
            return size
    return None
