"""Being asked to stop: Ctrl-C, and the SIGTERM that schedulers such as Slurm send before they take a machine away."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into an answer, so that a fit can end between two sweeps.

    A second one acts at once, as usual. Outside the main thread, where Python allows no handlers, nothing changes.

    Yields
    ------
    callable
        Whether the process has been asked to stop.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    # A handler that is not Python's (R has one) reads as None, and could not be put back.
    previous = {number: handler for number in STOPPING if (handler := signal.getsignal(number)) is not None}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        restore()

    for number in previous:
        signal.signal(number, note)
    try:
        yield asked.is_set
    finally:
        restore()
