"""The blocks of a shard, wherever their rows are."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from bcnmf_dask.data.loading import Block


class Blocks(Protocol):
    """Blocks of a shard that can be gone through again and again.

    Attributes
    ----------
    numbers : sequence of int
        Of those that are gone through: leaves of the reduction.
    comes_and_goes : bool
        Whether they are made ready whenever they are gone through: read, or moved to a device.
    streamed : bool
        Whether they are read.
    """

    comes_and_goes: ClassVar[bool]

    @property
    def numbers(self) -> Sequence[int]:
        """See above."""
        ...

    @property
    def streamed(self) -> bool:
        """See above."""
        ...

    def __iter__(self) -> Iterator[Block]:
        """From the first to the last, but for what is at hand already."""
        ...

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> Self:
        """The same with some blocks, counted within the shard, rising; some to be kept where they are read."""
        ...

    def on_host(self) -> Iterable[Block]:
        """All blocks as a CPU computes them."""
        ...


@dataclass(frozen=True)
class HeldBlocks:
    """Blocks in the memory of the host.

    Attributes
    ----------
    blocks : list of Block
    """

    blocks: list[Block]
    comes_and_goes: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    @property
    def numbers(self) -> Sequence[int]:
        """See `Blocks`."""
        return [block.number for block in self.blocks]

    def __iter__(self) -> Iterator[Block]:
        """See `Blocks`."""
        return iter(self.blocks)

    def only(self, chosen: Sequence[int], keep: Collection[int]) -> "HeldBlocks":  # noqa: ARG002
        """See `Blocks`."""
        return HeldBlocks([self.blocks[number] for number in chosen])

    def on_host(self) -> Iterable[Block]:
        """See `Blocks`."""
        return self.blocks
