"""One visit of blocks, summed along the tree of the run."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from bcnmf_dask.data.loading import Block
from bcnmf_dask.engine.places import Place
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.engine.threads import one_blas_thread
from bcnmf_dask.engine.tree import Node, Record, Tree
from bcnmf_dask.engine.visiting import visit

Leaf = Callable[[HeldShard, Block], Iterable[Record]]
"""Gives the record of every fit, in their order."""


class Visit(NamedTuple):
    """What a visit of blocks here gave."""

    nodes: list[dict[Node, Record]]
    """Per fit, the sums over the subtrees that are complete here, where they were made."""
    read: float
    """Seconds that threads waited for rows to be made ready, on average."""


class Visitors:
    """The threads of a process, which take blocks.

    Parameters
    ----------
    n_blocks : int
        Blocks of the whole run: the leaves of its reduction.
    n_threads : int
        At most.
    place : Place
    """

    def __init__(self, n_blocks: int, n_threads: int, place: Place) -> None:
        self._n_blocks = n_blocks
        self._place = place
        self._n_threads = 1 if place.alone else n_threads
        self._pool = ThreadPoolExecutor(self._n_threads, "bcnmf", place.enter)

    def sum(self, shards: Sequence[HeldShard], n_fits: int, leaf: Leaf) -> Visit:
        """Visit each block of some shards once for all fits. What a shard leaves out adds nothing."""
        trees = [Tree(self._n_blocks) for _ in range(n_fits)]
        left_out = [number for held in shards for number in set(held.numbers).difference(held.blocks.numbers)]
        for tree in trees:
            for number in left_out:
                tree.add(number, {})

        def add(held: HeldShard, block: Block) -> None:
            for tree, record in zip(trees, leaf(held, block), strict=True):
                tree.add(block.number, record)

        waited = self.go_through(shards, add)
        return Visit([tree.nodes for tree in trees], waited)

    def go_through(self, shards: Sequence[HeldShard], do: Callable[[HeldShard, Block], None]) -> float:
        """Call ``do`` for each block; gives the seconds that threads waited for rows, on average."""

        def done(held: HeldShard, block: Block) -> None:
            with np.errstate(all="ignore"):  # the loop over sweeps refuses non-finite sums in words
                do(held, block)
            self._place.computed(held.blocks)

        with one_blas_thread():
            waited = visit(self._pool, self._n_threads, shards, done)
            self._pool.submit(self._place.finish).result()
            return waited

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False)
