"""The fixed binary tree along which records of blocks are summed.

The tree spans the global block numbers of a run, so the order of every floating-point addition is a
function of the data alone: who computed a block, and when, changes no bit.
"""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from bcnmf_dask.backend import owned, to_host
from bcnmf_dask.updates.statistics import Role, merge

Record = Mapping[Role, Any]
"""Sums (`Statistics` or `Evaluation`) of the rows of each role that a part of the data has."""

Node = tuple[int, int]
"""First block and number of blocks (a power of two) of an aligned subtree."""


class Tree:
    """Sums of complete aligned subtrees; siblings merge once both are there. Safe for several threads."""

    def __init__(self, n_leaves: int) -> None:
        self._n_leaves = n_leaves
        self._lock = threading.Lock()
        self.nodes: dict[Node, Record] = {}

    def add(self, block: int, record: Record) -> None:
        """Take the record of one block. Its arrays must be fresh: they are summed in place."""
        self._insert(block, 1, record)

    def absorb(self, nodes: Mapping[Node, Record]) -> None:
        """Take subtrees summed elsewhere; their arrays are copied: received ones may be misaligned."""
        for (start, size), record in nodes.items():
            self._insert(start, size, {role: _fresh(sums) for role, sums in record.items()})

    def total(self) -> Record:
        """The sum over all blocks.

        Raises
        ------
        ValueError
            If blocks are missing.
        """
        if len(self.nodes) != 1 or next(iter(self.nodes))[1] < self._n_leaves:
            raise ValueError(f"{self._n_leaves} blocks expected, only these subtrees came: {sorted(self.nodes)}")
        return next(iter(self.nodes.values()))

    def _insert(self, start: int, size: int, record: Record) -> None:
        while size < self._n_leaves:
            sibling = start ^ size
            if sibling < self._n_leaves:  # else the right sibling is empty padding, and the node moves up alone
                with self._lock:
                    other = self.nodes.pop((sibling, size), None)
                    if other is None:
                        self.nodes[start, size] = record
                        return
                record = _merge_records(record, other) if start < sibling else _merge_records(other, record)
            start, size = min(start, sibling), size * 2
        with self._lock:
            self.nodes[start, size] = record


def on_host(record: Record) -> Record:
    """The same as NumPy has it, wherever its sums were made."""
    return {role: type(sums)(*map(_on_host, sums)) for role, sums in record.items()}


def _on_host(part: Any) -> Any:
    found = to_host(part)
    return float(found) if np.ndim(found) == 0 else found


def _merge_records(left: Record, right: Record) -> Record:
    both = {role: merge(sums, right[role]) for role, sums in left.items() if role in right}
    return {**left, **right, **both}


def _fresh(sums: Any) -> Any:
    return type(sums)(*(owned(part) if isinstance(part, np.ndarray) else part for part in sums))
