"""What was seen in the rows of all shards, its sums added along the tree of the run."""

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.engine.tree import Node, Record, Tree


class Gathered(NamedTuple):
    """What was seen in some shards.

    Attributes
    ----------
    findings : Findings or None
        Without moments; what is left depends on no order. None of no shard.
    nodes : mapping of node to record
        The moments, summed over the subtrees that are complete here.
    """

    findings: Findings | None
    nodes: dict[Node, Record]


def gather(shards: Iterable[HeldShard], n_blocks: int) -> Gathered:
    """Of the shards of a process. The moments of a shard stand at the leaf of its first block."""
    tree, found = Tree(n_blocks), list[Findings]()
    for held in shards:
        first, *others = held.numbers
        tree.absorb({(first, 1): held.findings.moments} | {(number, 1): {} for number in others})
        found.append(replace(held.findings, moments={}))
    return Gathered(reduce(Findings.merge, found) if found else None, tree.nodes)


def whole(parts: Iterable[Gathered], n_blocks: int, n_features: int) -> Findings:
    """The findings of a run from those of all its processes."""
    tree, merged = Tree(n_blocks), Findings.none(n_features)
    for part in parts:
        merged = merged if part.findings is None else merged.merge(part.findings)
        tree.absorb(part.nodes)
    return replace(merged, moments=tree.total())
