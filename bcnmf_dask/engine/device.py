"""The CUDA device of a process as the place where its blocks are computed."""

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from numpy.typing import NDArray

from bcnmf_dask.backend import (
    copying_to_device,
    finish_on_device,
    free_device_memory,
    ran_out_of_device_memory,
    stay_on_device,
    to_device,
)
from bcnmf_dask.engine.blocks import Blocks, HeldBlocks
from bcnmf_dask.engine.moving import MovedBlocks, PlacedBlocks, block_to_device, joined
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.errors import InputError
from bcnmf_dask.updates.rows import rows_nbytes
from bcnmf_dask.updates.statistics import Role

logger = logging.getLogger(__name__)

ROWS_SHARE = 0.7
"""Of the free memory of a device that rows may take; usages, statistics and what moves there take the rest."""


class Device:
    """The CUDA device of this process; see `bcnmf_dask.engine.places.Place`.

    Parameters
    ----------
    limit : float or None
        Bytes for rows; None is `ROWS_SHARE` of what is free.
    """

    name: ClassVar[str] = "cuda"
    alone: ClassVar[bool] = True

    def __init__(self, limit: float | None) -> None:
        stay_on_device()
        self._lock = threading.Lock()
        self._left = ROWS_SHARE * free_device_memory() if limit is None else limit

    def settle(self, held: HeldShard) -> HeldShard:
        """On the device if its rows need not be read and there is room, else on their way there in each visit."""
        blocks = MovedBlocks(held.blocks) if held.blocks.streamed else self._place(held)
        return replace(held, blocks=blocks)

    def _place(self, held: HeldShard) -> MovedBlocks | PlacedBlocks:
        needed = sum(rows_nbytes(rows) for block in held.blocks for rows in block.parts.values())
        with self._lock:
            if needed > self._left:
                return MovedBlocks(held.blocks)
            self._left -= needed
        (block,) = joined(held.blocks)
        try:
            with copying_to_device():
                return PlacedBlocks(block_to_device(block), held.places, needed)
        except Exception as error:  # another process may have planned with the same memory
            if not ran_out_of_device_memory(error):
                raise
            return MovedBlocks(held.blocks)

    def leave(self, held: HeldShard) -> None:
        """See `Place`."""
        if isinstance(held.blocks, PlacedBlocks):
            with self._lock:
                self._left += held.blocks.nbytes

    def usages(self, usages: Mapping[Role, NDArray[Any]]) -> dict[Role, Any]:
        """See `Place`."""
        with copying_to_device():
            return {role: to_device(part) for role, part in usages.items()}

    def computed(self, blocks: Blocks) -> None:
        """See `Place`: memory that a block leaves would else be filled again while kernels still read it."""
        if blocks.comes_and_goes:
            finish_on_device()

    def enter(self) -> None:
        """See `Place`."""
        stay_on_device()

    def finish(self) -> None:
        """See `Place`."""
        finish_on_device()

    def make_room(self, error: Exception, held: Iterable[HeldShard]) -> bool:
        """See `Place`: the last shard that stays on the device no longer does.

        Raises
        ------
        InputError
            If none is left.
        """
        if not ran_out_of_device_memory(error):
            return False
        placed = [one for one in held if isinstance(one.blocks, PlacedBlocks)]
        if not placed:
            raise InputError(
                f"device: its memory is too small even for one shard of rows at a time ({error}). Expected room for "
                "the usages of all rows and fits, and a shard: take fewer components, more devices, or device='cpu'."
            ) from error
        # Its room is not to be given out again: there was less than planned.
        placed[-1].blocks = MovedBlocks(HeldBlocks(list(placed[-1].blocks.on_host())))
        logger.warning("The memory of the device is full: rows of shard %d now move there.", placed[-1].shard.index)
        return True
