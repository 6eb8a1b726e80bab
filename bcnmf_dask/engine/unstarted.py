"""Why a local cluster did not start: the reason where it lies, and the repair that fits it."""

import errno
import multiprocessing
import multiprocessing.spawn
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dask
from distributed.utils import get_mp_context

from bcnmf_dask.errors import ClusterError

GUARD_MISSING = (
    "A script that starts a local cluster is run again by each worker process: put its work "
    'under `if __name__ == "__main__":` at the end of the script.'
)
IN_THIS_PROCESS = "With client=False the fit runs in this process, by threads."
WORD_LEFT = "BCNMF_DASK_WORD_LEFT"
"""Environment variable: the file by which a child tells that it runs the main script, and would start a cluster too."""

NO_FILES = (
    "This process may not open more files: raise the limit (`ulimit -n 4096`), or close what is open. "
    f"{IN_THIS_PROCESS}"
)
NO_PROCESS = f"The system starts no more processes, for want of memory or by a limit (`ulimit -u`). {IN_THIS_PROCESS}"
NO_LOOPBACK = f"The processes do not reach each other over 127.0.0.1, or are very slow to start. {IN_THIS_PROCESS}"
NO_ADDRESS = f"There is no free port on 127.0.0.1, which the processes speak over. {IN_THIS_PROCESS}"
BY_ERRNO = {
    errno.EMFILE: NO_FILES,
    errno.ENFILE: NO_FILES,
    errno.EAGAIN: NO_PROCESS,
    errno.ENOMEM: NO_PROCESS,
    errno.EADDRINUSE: NO_ADDRESS,
    errno.EADDRNOTAVAIL: NO_ADDRESS,
    errno.ENETUNREACH: NO_LOOPBACK,
    errno.ETIMEDOUT: NO_LOOPBACK,
}


def refuse_guardless_script() -> None:
    """End a child that finds itself starting a cluster while it imports the main script of its parent.

    Raises
    ------
    SystemExit
        Without a word where the parent waits to hear of it, and tells it once for all its children.
    """
    if not getattr(multiprocessing.process.current_process(), "_inheriting", False):
        return
    with suppress(KeyError, OSError):
        Path(os.environ[WORD_LEFT]).touch()
        raise SystemExit(1)
    raise SystemExit(GUARD_MISSING)


@contextmanager
def hearing_children() -> Iterator[Callable[[], bool]]:
    """Whether a child started meanwhile ran into `refuse_guardless_script`."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="bcnmf-start-")
    except OSError:  # no temporary directory is to be had: each child says it for itself
        yield lambda: False
        return
    with folder as place:
        word = Path(place) / "guard-missing"
        os.environ[WORD_LEFT] = str(word)
        try:
            yield word.exists
        finally:
            del os.environ[WORD_LEFT]


def refuse_unreadable_script() -> None:
    """ClusterError if worker processes would have to run a script again that cannot be read twice.

    Without this each of them would fail with a traceback of its own.
    """
    if get_mp_context().get_start_method() == "fork":
        return
    script = multiprocessing.spawn.get_preparation_data("worker").get("init_main_from_path")
    if script is None or Path(script).is_file():
        return
    name = Path(script).name
    where = "came from standard input" if name == "<stdin>" else f"({script}) is no file, or is gone"
    raise ClusterError(
        f"The local cluster did not start: worker processes run the script again, and it {where}, so that it cannot be "
        f"read twice. Save it to a file, and run that. {IN_THIS_PROCESS}"
    )


def why(error: BaseException, guard_missing: bool) -> ClusterError:
    """What a local cluster that did not start has to say.

    Parameters
    ----------
    error : BaseException
        What starting it raised.
    guard_missing : bool
        A child was seen to import a main script without its guard.

    Returns
    -------
    ClusterError
        With the words of what lies at the bottom of the error, and the repair.
    """
    chain = list(_chain(error))
    words = str(chain[-1]) or type(chain[-1]).__name__
    return ClusterError(f"The local cluster did not start ({words}). {_repair(chain, guard_missing)}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _repair(chain: list[BaseException], guard_missing: bool) -> str:
    if guard_missing:
        return GUARD_MISSING
    if multiprocessing.process.current_process().daemon:
        return (
            "This process is a child that may have no children itself, as those of a multiprocessing.Pool and of Dask "
            f"workers are: start the cluster outside, and give its address. {IN_THIS_PROCESS}"
        )
    if (unusable := _unusable_directory()) is not None:
        return unusable
    for one in chain:
        if isinstance(one, OSError) and one.errno in BY_ERRNO:
            return BY_ERRNO[one.errno]
    if isinstance(chain[-1], TimeoutError):
        return NO_LOOPBACK
    if all(type(one) is RuntimeError for one in chain):  # distributed's own, with nothing beneath
        return (
            "A worker process ended before it was ready: it was killed, often for memory, or the script fails where a "
            f"worker process imports it, and its traceback stands above. {IN_THIS_PROCESS}"
        )
    return IN_THIS_PROCESS


def _unusable_directory() -> str | None:
    """What is wrong with the place where workers put their folders."""
    place = dask.config.get("temporary-directory", None)
    try:
        place = place or tempfile.gettempdir()
        Path(place).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"0")
    except (OSError, TypeError) as error:
        return (
            f"The temporary directory {str(place or '')!r} cannot be used ({error}): set temporary-directory of the "
            f"Dask configuration (DASK_TEMPORARY_DIRECTORY), or TMPDIR, to a folder that can be written. "
            f"{IN_THIS_PROCESS}"
        )
    return None
