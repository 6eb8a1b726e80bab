"""Blocks whose rows do not stay in memory."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from bcnmf_dask.data.loading import Block, ShardOrder, bounds_of, make_blocks
from bcnmf_dask.data.passes import Passes
from bcnmf_dask.engine.shelf import Shelf


@dataclass(frozen=True)
class StreamedBlocks:
    """Blocks of a shard, read whenever they are gone through, but for those kept since the last time.

    Attributes
    ----------
    chosen : sequence of int or None
        Which, counted within the shard, rising; None is all.
    keep : collection of int
        Those that may be wanted the next time: they stay, once they have been read, as far as there is room.
    shelf : Shelf
        Where they stay, beside those of other shards.
    """

    order: ShardOrder
    passes: Passes
    shelf: Shelf
    chosen: Sequence[int] | None = None
    keep: Collection[int] = ()
    comes_and_goes: ClassVar[bool] = True
    streamed: ClassVar[bool] = True

    @property
    def numbers(self) -> Sequence[int]:
        """See `bcnmf_dask.engine.blocks.Blocks`."""
        return [self.order.shard.first_block + number for number in self._chosen]

    @property
    def _chosen(self) -> Sequence[int]:
        return range(self.order.shard.n_blocks) if self.chosen is None else self.chosen

    def __iter__(self) -> Iterator[Block]:
        """Those that are kept, then the others from the first to the last."""
        first = self.order.shard.first_block
        here = {number: block for number in self._chosen if (block := self.shelf.get(first + number)) is not None}
        missing = [number for number in self._chosen if number not in here]
        self.shelf.drop(first + number for number in range(self.order.shard.n_blocks) if number not in self.keep)
        yield from here.values()
        here.clear()
        for block in self._read(missing):
            if block.number - first in self.keep:
                self.shelf.put(block)
            yield block

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> "StreamedBlocks":
        """See `bcnmf_dask.engine.blocks.Blocks`."""
        return replace(self, chosen=chosen, keep=keep)

    def on_host(self) -> Iterable[Block]:
        """See `bcnmf_dask.engine.blocks.Blocks`."""
        return self

    def _read(self, numbers: Sequence[int]) -> Iterator[Block]:
        bounds = bounds_of(self.order.shard)
        for first, behind in _neighbours(numbers):
            yield from make_blocks(self.order, self.passes.blocks(bounds[first : behind + 1]), first)


def _neighbours(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Rising numbers as runs without gaps: (first, the one behind the last)."""
    cuts = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    for start, stop in pairwise([0, *cuts, len(numbers)] if numbers else []):
        yield numbers[start], numbers[stop - 1] + 1
