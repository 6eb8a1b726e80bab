"""Blocks that were read for one draw of rows and are wanted for the next."""

import threading
from collections.abc import Iterable

from bcnmf_dask.backend import parts_of
from bcnmf_dask.data.loading import Block


class Shelf:
    """Blocks by their number, within some memory: one that finds no room is read again. Safe for several threads.

    Parameters
    ----------
    limit : float
        Bytes.
    """

    def __init__(self, limit: float) -> None:
        self._left = limit
        self._blocks: dict[int, Block] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._blocks)

    def get(self, number: int) -> Block | None:
        """The block, if it is here."""
        return self._blocks.get(number)

    def put(self, block: Block) -> None:
        """Keep a block if there is room."""
        needed = _nbytes(block)
        with self._lock:
            if needed <= self._left and block.number not in self._blocks:
                self._blocks[block.number] = block
                self._left -= needed

    def drop(self, numbers: Iterable[int]) -> None:
        """Keep these no longer."""
        with self._lock:
            for number in numbers:
                block = self._blocks.pop(number, None)
                self._left += _nbytes(block) if block is not None else 0


def _nbytes(block: Block) -> int:
    return sum(part.nbytes for rows in block.parts.values() for part in parts_of(rows))
