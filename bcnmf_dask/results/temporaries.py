"""Folders for lazy usages that nobody asked to keep: each ends with its last user, and at the latest at exit.

Users are what holds a `TemporaryFolder`: lazy arrays, all that is computed from them while their graph holds it, and
stored names of rows. What is sent to another process reads the folder, but has no say in how long it lasts.
"""

import multiprocessing
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path
from types import NoneType
from typing import Any, Self

import dask

from bcnmf_dask.errors import InputError

WATCH = 0.5
"""Seconds between looks at whether a folder without users in this process is still read by others."""

Reads = Callable[[], bool]


class TemporaryFolder:
    """A new folder, which is removed once nothing in this process holds this object, and at its exit.

    Parameters
    ----------
    path : Path
        The folder; it is this object's from now on.
    reads : callable
        Without arguments: whether those to whom users were sent, such as a cluster, may be reading now. Then a folder
        without users waits for its end.

    Attributes
    ----------
    path : str
    """

    def __init__(self, path: Path, reads: Reads) -> None:
        self.path = str(path)
        self._lease = _Lease(self.path, reads)
        self._end = weakref.finalize(self, self._lease.end)
        if multiprocessing.parent_process() is not None:  # such a process ends without what `weakref` does at exit
            Finalize(None, self._end, exitpriority=0)

    @classmethod
    def made(cls, reads: Reads) -> Self:
        """A folder in ``temporary-directory`` of the Dask configuration, or where the system has such folders.

        Parameters
        ----------
        reads : callable
            See the class.

        Raises
        ------
        InputError
            No folder can be made there.
        """
        parent = dask.config.get("temporary-directory", None)
        try:
            if parent is not None:  # Dask makes it, too, where it needs it
                parent = Path(parent).expanduser().absolute()
                parent.mkdir(parents=True, exist_ok=True)
            return cls(Path(tempfile.mkdtemp(prefix="bcnmf-", dir=parent)), reads)
        except OSError as error:
            place = "" if parent is None else f" in {str(parent)!r}"
            raise InputError(
                f"out: none was given, and no temporary folder can be made{place} for the result "
                f"({error.strerror or error}). Free space, give out=, or set temporary-directory of the Dask "
                "configuration, or the environment variable TMPDIR, to a folder with space."
            ) from error

    def remove(self) -> None:
        """Remove it now, whoever uses it; safe to call twice."""
        self._lease.lent = False
        self._end()

    def __reduce__(self) -> tuple[Any, ...]:
        """None: copies have no say, not even here, where the scheduler of a local cluster keeps its last messages."""
        self._lease.lend()
        return NoneType, ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __dask_tokenize__(self) -> str:
        """Its path, which is never used twice: Dask would pickle it otherwise."""
        return self.path


class _Lease:
    """What is known of a folder, beyond its last user."""

    def __init__(self, path: str, reads: Reads) -> None:
        self.path, self.reads, self.lent = path, reads, False
        self._owner = os.getpid()

    def lend(self) -> None:
        """Note that a copy of a user goes to where nobody tells this process of its end."""
        if not self.lent and os.getpid() == self._owner:
            self.lent = True
            _watch()

    def end(self) -> None:
        """Of the last user in a process: a fork has a copy of each. Runs wherever Python collects: takes no lock."""
        if os.getpid() != self._owner:
            return
        if not self.lent:
            _remove(self.path)
        elif multiprocessing.parent_process() is None:
            _waiting.append(self)
        # A child, or a worker of Dask, that sends usages gives them away: the receiver has the path in run_.

    def remove_unless_read(self) -> bool:
        """Whether it is gone."""
        if self.reads():
            return False
        self.remove()
        return True

    def remove(self) -> None:
        """Remove it, if it is of this process."""
        if os.getpid() == self._owner:
            _remove(self.path)


_waiting: list[_Lease] = []
_starting = threading.Lock()
_watcher: threading.Thread | None = None


def _watch() -> None:
    """See to it that a thread looks after folders that wait. Finalizers must not start one."""
    global _watcher
    with _starting:
        if _watcher is None or not _watcher.is_alive():  # a fork has none
            _watcher = threading.Thread(target=_look_after, name="bcnmf-temporaries", daemon=True)
            _watcher.start()


def _look_after() -> None:
    while True:
        time.sleep(WATCH)
        for lease in list(_waiting):
            if lease.remove_unless_read():
                _waiting.remove(lease)


def _remove_waiting() -> None:
    for lease in _waiting:
        lease.remove()


def _remove(path: str) -> None:
    """Take its name from a folder first: whoever reads meanwhile sees that it is gone, not that parts are missing."""
    with suppress(OSError):
        Path(path).rename(f"{path}.gone")
    shutil.rmtree(f"{path}.gone", ignore_errors=True)


weakref.finalize(TemporaryFolder, _remove_waiting)  # at exit, after those made later: folders then wait no longer
