"""Handing out the blocks of shards to the threads of a process, making ready ahead those that come and go."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue

from bcnmf_dask.data.loading import Block
from bcnmf_dask.engine.shard_state import HeldShard

Taken = tuple[HeldShard, Block]
AHEAD = 1
"""Blocks that are read, or have been, while each thread computes one."""
POLL = 0.1


def visit(pool: ThreadPoolExecutor, n_threads: int, shards: Iterable[HeldShard], do: Callable[..., None]) -> float:
    """Call ``do(shard, block)`` for every block, on the threads of a pool.

    Returns
    -------
    float
        Seconds that a thread waited for rows to be read, on average.

    Raises
    ------
    Exception
        Whatever reading or ``do`` raised first.
    """
    supply = _Supply(list(shards), n_threads + AHEAD)

    def work() -> float:
        waited = 0.0
        try:
            while (taken := supply.take()) is not None:
                waited += taken[0]
                do(*taken[1])
                supply.done(taken[1][0])
                del taken  # the block, before the next is waited for
        except BaseException:
            supply.stop()
            raise
        return waited

    try:
        working = [pool.submit(work) for _ in range(n_threads)]
        return sum(one.result() for one in working) / n_threads
    finally:
        supply.stop()


class _Supply:
    """Blocks for threads that take them: those that come as they are ready, those that stay while none is."""

    def __init__(self, shards: list[HeldShard], most: int) -> None:
        self._staying: Iterator[Taken] = (
            (one, block) for one in shards if not one.blocks.comes_and_goes for block in one.blocks
        )
        self._coming = [shard for shard in shards if shard.blocks.comes_and_goes]
        self._ready: Queue[Taken] = Queue()
        self._slots = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._reader = threading.Thread(target=self._read, name="bcnmf-reader", daemon=True)
        if self._coming:
            self._reader.start()

    def take(self) -> tuple[float, Taken] | None:
        """The next block and the seconds it was waited for; None if there is no more."""
        with suppress(Empty):
            return 0.0, self._ready.get_nowait()
        with self._lock:
            block = next(self._staying, None)
        if block is not None and not self._over.is_set():
            return 0.0, block
        started = time.perf_counter()
        while not self._over.is_set():
            reading = self._reader.is_alive()  # before the look: what it put last must not be missed
            with suppress(Empty):
                taken = self._ready.get(timeout=POLL if reading else 0)
                return time.perf_counter() - started, taken
            if not reading:
                break
        if self._error is not None:
            raise self._error
        return None

    def stop(self) -> None:
        """Hand out no more. A reader that still waits for storage, as after an error, ends by itself."""
        self._over.set()

    def done(self, shard: HeldShard) -> None:
        """A block of this shard was computed: another may be read."""
        if shard.blocks.comes_and_goes:
            self._slots.release()

    def _read(self) -> None:
        blocks = ((shard, block) for shard in self._coming for block in shard.blocks)
        try:
            while self._may_read() and (taken := next(blocks, None)) is not None:
                self._ready.put(taken)
        except BaseException as error:
            self._error = error

    def _may_read(self) -> bool:
        while not self._slots.acquire(timeout=POLL):
            if self._over.is_set():
                return False
        return not self._over.is_set()
