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
    give_back_device_memory,
    ran_out_of_device_memory,
    stay_on_device,
    to_device,
    uses_tf32,
)
from bcnmf_dask.engine.blocks import Blocks
from bcnmf_dask.engine.moving import (
    PinnedBlocks,
    PlacedBlocks,
    ReadBlocks,
    Whole,
    block_to_device,
    joined,
    pinned_block,
)
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.engine.streamed import StreamedBlocks
from bcnmf_dask.errors import InputError
from bcnmf_dask.updates.statistics import Role

logger = logging.getLogger(__name__)


class Device:
    """The CUDA device of this process; see `bcnmf_dask.engine.places.Place`."""

    alone: ClassVar[bool] = True

    def __init__(self) -> None:
        stay_on_device()
        self.name = "cuda, TF32" if uses_tf32() else "cuda"
        self._way = threading.Lock()

    def settle(self, held: HeldShard, on_device: bool) -> HeldShard:
        """On the device, or on its way there in each visit: from memory, or as it is read."""
        if isinstance(held.blocks, StreamedBlocks):
            return replace(held, blocks=ReadBlocks(held.blocks))
        with self._way:  # a host that reads with many threads would else hold as many shards twice
            return replace(held, blocks=self._placed(held, on_device))

    def _placed(self, held: HeldShard, on_device: bool) -> PlacedBlocks | PinnedBlocks:
        block = joined(held.blocks)
        if on_device:
            try:
                with copying_to_device():
                    return PlacedBlocks(Whole(block_to_device(block), held.places))
            except Exception as error:  # another process may have planned with the same memory
                if not ran_out_of_device_memory(error):
                    raise
        return PinnedBlocks(Whole(pinned_block(block), held.places))

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
        placed[-1].blocks = PinnedBlocks(Whole(pinned_block(joined(placed[-1].blocks.on_host())), placed[-1].places))
        logger.warning("The memory of the device is full: rows of shard %d now move there.", placed[-1].shard.index)
        return True
