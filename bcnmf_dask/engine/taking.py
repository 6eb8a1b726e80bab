"""Taking a shard: its rows looked at once, value by value, and kept or left where they are."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import Block, ShardOrder, inspect_block, make_blocks, places_of, rows_of_chunks
from bcnmf_dask.data.stored import PathSource
from bcnmf_dask.engine.blocks import HeldBlocks
from bcnmf_dask.engine.digests import rows_checksum
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.engine.shelf import Shelf
from bcnmf_dask.engine.streamed import StreamedBlocks


def from_chunks(order: ShardOrder, chunks: Sequence[Any]) -> HeldShard:
    """A shard whose rows are in memory: arrays that make it up, top to bottom."""
    blocks = list(make_blocks(order, rows_of_chunks(order, chunks)))
    return HeldShard(order.shard, HeldBlocks(blocks), places_of(order), _look_at(order, blocks), rows_checksum(blocks))


def from_path(order: ShardOrder, source: PathSource, shelf: Shelf) -> HeldShard:
    """A shard of a path: read now, and where it does not stay in memory again in each visit."""
    passes = source.strip(order.shard.start)
    streamed, kept = StreamedBlocks(order, passes, shelf), list[Block]()
    findings = _look_at(order, _keeping(streamed, kept) if order.resident else streamed)
    blocks = HeldBlocks(kept) if order.resident else streamed
    return HeldShard(order.shard, blocks, places_of(order), findings, passes.checksum)


def _look_at(order: ShardOrder, blocks: Iterable[Block]) -> Findings:
    return reduce(Findings.merge, (inspect_block(order, block) for block in blocks))


def _keeping(blocks: Iterable[Block], kept: list[Block]) -> Iterator[Block]:
    for block in blocks:
        kept.append(block)
        yield block
