"""Blocks of a shard that are computed on a CUDA device: they stay there, or move there in each visit.

All rows of a shard are one block there: kernels want much at once, and each launch costs microseconds.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from bcnmf_dask.backend import copying_to_device, slice_rows
from bcnmf_dask.data.loading import Block
from bcnmf_dask.data.sources import stack
from bcnmf_dask.engine.streamed import StreamedBlocks
from bcnmf_dask.updates.rows import rows_nbytes, rows_pinned, rows_to_device, rows_to_host
from bcnmf_dask.updates.statistics import Role


@dataclass(frozen=True, eq=False)
class Whole:
    """All blocks of a shard as one.

    Attributes
    ----------
    block : Block
        In the place of the first of them.
    places : sequence of mapping of role to slice
        Of the blocks that it was.
    """

    block: Block
    places: Sequence[Mapping[Role, slice]]

    def split(self, chosen: Sequence[int] | None = None) -> Iterator[Block]:
        """The blocks that it was, or some of them, counted within the shard; on the host."""
        rows_of = {role: rows_to_host(rows) for role, rows in self.block.parts.items()}
        for number in range(len(self.places)) if chosen is None else chosen:
            places = self.places[number]
            parts = {role: slice_rows(rows_of[role], place.start, place.stop) for role, place in places.items()}
            yield Block(self.block.number + number, parts, places)


@dataclass(frozen=True)
class PlacedBlocks:
    """Blocks that stay on the device.

    Attributes
    ----------
    whole : Whole
        On the device.
    chosen : bool
        Whether they are gone through at all.
    """

    whole: Whole
    chosen: bool = True
    comes_and_goes: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    @property
    def numbers(self) -> Sequence[int]:
        """See `Blocks`."""
        return [self.whole.block.number] if self.chosen else []

    def __iter__(self) -> Iterator[Block]:
        """See `Blocks`."""
        return iter([self.whole.block] if self.chosen else [])

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> Self:  # noqa: ARG002
        """See `Blocks`; it is too late to take them apart."""
        return replace(self, chosen=bool(chosen))

    def on_host(self) -> Iterator[Block]:
        """See `Blocks`."""
        return self.whole.split()


@dataclass(frozen=True)
class PinnedBlocks:
    """Blocks in the memory of the host, from which they move to the device whenever they are gone through.

    Attributes
    ----------
    whole : Whole
        On the host, see `bcnmf_dask.backend.pinned`.
    chosen : sequence of int or None
        Which, counted within the shard, then one by one; None is all, as one.
    """

    whole: Whole
    chosen: Sequence[int] | None = None
    comes_and_goes: ClassVar[bool] = True
    streamed: ClassVar[bool] = False

    @property
    def numbers(self) -> Sequence[int]:
        """See `Blocks`."""
        first = self.whole.block.number
        return [first] if self.chosen is None else [first + number for number in self.chosen]

    def __iter__(self) -> Iterator[Block]:
        """See `moved`."""
        return moved([self.whole.block] if self.chosen is None else self.whole.split(self.chosen))

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> Self:  # noqa: ARG002
        """See `Blocks`."""
        return replace(self, chosen=chosen)

    def on_host(self) -> Iterator[Block]:
        """See `Blocks`."""
        return self.whole.split()


@dataclass(frozen=True)
class ReadBlocks:
    """Blocks that are read, and move to the device, whenever they are gone through.

    Attributes
    ----------
    blocks : StreamedBlocks
    together : bool
        Whether they arrive as one.
    """

    blocks: StreamedBlocks
    together: bool = True
    comes_and_goes: ClassVar[bool] = True
    streamed: ClassVar[bool] = True

    @property
    def numbers(self) -> Sequence[int]:
        """See `Blocks`."""
        return self.blocks.numbers[:1] if self.together else self.blocks.numbers

    def __iter__(self) -> Iterator[Block]:
        """See `moved`."""
        return moved([joined(self.blocks)] if self.together else self.blocks)

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> Self:
        """See `Blocks`; they then arrive one by one."""
        return replace(self, blocks=self.blocks.only(chosen, keep), together=False)

    def on_host(self) -> Iterable[Block]:
        """See `Blocks`."""
        return self.blocks


def moved(blocks: Iterable[Block]) -> Iterator[Block]:
    """Each is complete on the device once it is given."""
    for block in blocks:
        with copying_to_device():
            there = block_to_device(block)
        yield there


def joined(blocks: Iterable[Block]) -> Block:
    """All blocks of a shard as one, in the place of the first."""
    parts: dict[Role, list[Any]] = {}
    ordered = sorted(blocks, key=lambda one: one.number)  # what was kept comes first
    for block in ordered:
        for role, rows in block.parts.items():
            parts.setdefault(role, []).append(rows)
    whole = {role: stack(rows) for role, rows in parts.items()}
    return Block(ordered[0].number, whole, {role: slice(0, rows.shape[0]) for role, rows in whole.items()})


def block_to_device(block: Block) -> Block:
    """The same on the device of this process."""
    return replace(block, parts={role: rows_to_device(rows) for role, rows in block.parts.items()})


def bytes_on_device(block: Block) -> int:
    """That a block takes there."""
    return sum(map(rows_nbytes, block.parts.values()))


def pinned_block(block: Block) -> Block:
    """The same where the device fetches it fastest."""
    return replace(block, parts={role: rows_pinned(rows) for role, rows in block.parts.items()})
