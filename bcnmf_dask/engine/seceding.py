"""A fit inside a task of the cluster that it runs on."""

from collections.abc import Iterator
from contextlib import contextmanager

from dask.context import thread_state
from distributed import rejoin, secede


@contextmanager
def seceded() -> Iterator[None]:
    """Let other tasks have the thread's place in its worker meanwhile, as Dask's own ``compute`` does inside a task.

    Shards that are put on this worker would else wait behind the task that waits for them, for ever. Does nothing in
    a thread that runs no task, or whose task has seceded already.
    """
    if not _secedes():
        yield
        return
    try:
        yield
    finally:
        rejoin()


def _secedes() -> bool:
    if not hasattr(thread_state, "key") or getattr(thread_state, "actor", False):
        return False  # actors have a thread that runs nothing else, and must not be called twice at once
    try:
        secede()
    except (AttributeError, KeyError, ValueError):  # the thread is in no pool of Dask's, or has left it
        return False
    return True
