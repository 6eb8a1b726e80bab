"""The CUDA device of a process as the place where its blocks are computed."""

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from numpy.typing import NDArray

from bcnmf_dask.backend import (
    copying_to_device,
    finish_on_device,
    give_back_device_memory,
    ran_out_of_device_memory,
    stay_on_device,
    to_device,
    uses_tf32,
    wait_for_device,
)
from bcnmf_dask.data.loading import Block
from bcnmf_dask.engine.blocks import Blocks
from bcnmf_dask.engine.limits import DeviceRoom
from bcnmf_dask.engine.moving import (
    PinnedBlocks,
    PlacedBlocks,
    ReadBlocks,
    Whole,
    block_to_device,
    bytes_on_device,
    joined,
    pinned_block,
)
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.engine.streamed import StreamedBlocks
from bcnmf_dask.errors import InputError
from bcnmf_dask.updates.statistics import Role

logger = logging.getLogger(__name__)


class Device:
    """The CUDA device of this process; see `bcnmf_dask.engine.places.Place`.

    Parameters
    ----------
    room : DeviceRoom
        Rows that would take more do not stay, whatever was planned: nobody knows how large the CSR chunks of a Dask
        array are before they come.
    """

    alone: ClassVar[bool] = True

    def __init__(self, room: DeviceRoom) -> None:
        stay_on_device()
        self.name = "cuda, TF32" if uses_tf32() else "cuda"
        self._way = threading.Lock()
        self._most = room.for_rows(0)
        self._placed_bytes = WeakKeyDictionary[Whole, int]()
        self._moved_away = 0

    def settle(self, held: HeldShard, on_device: bool) -> HeldShard:
        """On the device, or on its way there in each visit: from memory, or as it is read."""
        if isinstance(held.blocks, StreamedBlocks):
            return replace(held, blocks=ReadBlocks(held.blocks))
        with self._way:  # a host that reads with many threads would else hold as many shards twice
            block = joined(held.blocks)
            there = self._placed(block, held) if on_device else None
            return replace(held, blocks=there or PinnedBlocks(Whole(pinned_block(block), held.places)))

    def _placed(self, block: Block, held: HeldShard) -> PlacedBlocks | None:
        """None if there is no room."""
        needed = bytes_on_device(block)
        if needed > self._most - sum(self._placed_bytes.values()):
            return None
        try:
            with copying_to_device():
                whole = Whole(block_to_device(block), held.places)
        except Exception as error:  # another process may have planned with the same memory
            if not ran_out_of_device_memory(error):
                raise
            return None
        self._placed_bytes[whole] = needed
        return PlacedBlocks(whole)

    def usages(self, usages: Mapping[Role, NDArray[Any]]) -> dict[Role, Any]:
        """See `Place`; not by `copying_to_device`, which fills memory again while kernels may still read it."""
        stay_on_device()
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

    def close(self) -> None:
        """See `Place`."""
        give_back_device_memory()

    def make_room(self, error: Exception, held: Iterable[HeldShard]) -> bool:
        """See `Place`: the last shards that stay on the device no longer do, each time twice as many.

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
        wait_for_device()
        last = placed[-max(1, self._moved_away) :]
        for one in last:
            one.blocks = PinnedBlocks(Whole(pinned_block(joined(one.blocks.on_host())), one.places))
        self._moved_away += len(last)
        logger.warning("The memory of the device is full: rows of %d more shards now move there.", len(last))
        return True
