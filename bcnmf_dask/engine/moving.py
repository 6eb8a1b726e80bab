"""Blocks of a shard that are computed on a CUDA device: they stay there, or move there in each visit.

All rows of a shard are one block there: kernels want much at once, and each launch costs microseconds.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bcnmf_dask.backend import copying_to_device, slice_rows
from bcnmf_dask.data.loading import Block
from bcnmf_dask.data.sources import stack
from bcnmf_dask.engine.blocks import Blocks
from bcnmf_dask.updates.rows import rows_to_device, rows_to_host
from bcnmf_dask.updates.statistics import Role


@dataclass(frozen=True)
class MovedBlocks:
    """Blocks that are in the memory of the host, or read, and move to the device whenever they are gone through.

    Attributes
    ----------
    blocks : Blocks
        On the host.
    together : bool
        Whether they arrive as one block.
    """

    blocks: Blocks
    together: bool = True
    comes_and_goes: ClassVar[bool] = True

    @property
    def numbers(self) -> Sequence[int]:
        """See `Blocks`."""
        return self.blocks.numbers[:1] if self.together else self.blocks.numbers

    @property
    def streamed(self) -> bool:
        """See `Blocks`."""
        return self.blocks.streamed

    def __iter__(self) -> Iterator[Block]:
        """Each is complete on the device once it is given."""
        for block in joined(self.blocks) if self.together else self.blocks:
            with copying_to_device():
                moved = block_to_device(block)
            yield moved

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> "MovedBlocks":
        """See `Blocks`; they then arrive one by one."""
        return MovedBlocks(self.blocks.only(chosen, keep), together=False)

    def on_host(self) -> Iterable[Block]:
        """See `Blocks`."""
        return self.blocks


@dataclass(frozen=True)
class PlacedBlocks:
    """All blocks of a shard, as one that stays on the device.

    Attributes
    ----------
    block : Block
        On the device.
    places : sequence of mapping of role to slice
        Of the blocks that it was.
    nbytes : int
        Of its rows on the device.
    chosen : bool
        Whether it is gone through at all.
    """

    block: Block
    places: Sequence[Mapping[Role, slice]]
    nbytes: int
    chosen: bool = True
    comes_and_goes: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    @property
    def numbers(self) -> Sequence[int]:
        """See `Blocks`."""
        return [self.block.number] if self.chosen else []

    def __iter__(self) -> Iterator[Block]:
        """See `Blocks`."""
        return iter([self.block] if self.chosen else [])

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> "PlacedBlocks":  # noqa: ARG002
        """See `Blocks`; it is too late to take it apart."""
        return replace(self, chosen=bool(chosen))

    def on_host(self) -> Iterator[Block]:
        """See `Blocks`."""
        rows_of = {role: rows_to_host(rows) for role, rows in self.block.parts.items()}
        for number, places in enumerate(self.places, self.block.number):
            parts = {role: slice_rows(rows_of[role], place.start, place.stop) for role, place in places.items()}
            yield Block(number, parts, places)


def joined(blocks: Iterable[Block]) -> Iterator[Block]:
    """All blocks of a shard as one, in the place of the first."""
    parts: dict[Role, list[Any]] = {}
    numbers: list[int] = []
    for block in sorted(blocks, key=lambda one: one.number):  # what was kept comes first
        numbers.append(block.number)
        for role, rows in block.parts.items():
            parts.setdefault(role, []).append(rows)
    if numbers:
        whole = {role: stack(rows) for role, rows in parts.items()}
        places = {role: slice(0, rows.shape[0]) for role, rows in whole.items()}
        yield Block(numbers[0], whole, places)


def block_to_device(block: Block) -> Block:
    """The same on the device of this process."""
    return Block(block.number, {role: rows_to_device(rows) for role, rows in block.parts.items()}, block.places)
