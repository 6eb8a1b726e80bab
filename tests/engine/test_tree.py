"""The fixed reduction tree."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcnmf_dask.engine.tree import Tree
from bcnmf_dask.updates.statistics import Statistics


def leaves(n):
    draw = np.random.default_rng(n)
    return [
        {"target": Statistics(draw.random((3, 2)), draw.random(2), float(draw.random()))} if draw.random() < 0.8 else {}
        for _ in range(n)
    ]


def copied(record):
    return {role: Statistics(sums.cross.copy(), sums.moment.copy(), sums.data_term) for role, sums in record.items()}


def total_in_order(n, order):
    tree = Tree(n)
    for block in order:
        tree.add(block, copied(leaves(n)[block]))
    return tree.total()


def bits(record):
    return {role: (sums.cross.tobytes(), sums.moment.tobytes(), sums.data_term) for role, sums in record.items()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(n=st.integers(1, 40), seed=st.integers(0, 1000), parts=st.integers(1, 4))
def test_any_order_and_any_owners_give_the_same_bits(n, seed, parts):
    reference = bits(total_in_order(n, range(n)))
    shuffled = random.Random(seed).sample(range(n), n)
    assert bits(total_in_order(n, shuffled)) == reference
    owned = [Tree(n) for _ in range(parts)]
    for block in shuffled:
        owned[block * parts // n].add(block, copied(leaves(n)[block]))
    whole = Tree(n)
    for tree in owned:
        whole.absorb(tree.nodes)
    assert bits(whole.total()) == reference


def test_the_total_is_the_sum():
    total = total_in_order(11, range(11))["target"]
    wanted = sum(leaf["target"].cross for leaf in leaves(11) if leaf)
    np.testing.assert_allclose(total.cross, wanted, rtol=1e-14)


def test_many_threads_give_the_same_bits():
    tree = Tree(500)
    parts = leaves(500)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda block: tree.add(block, copied(parts[block])), range(500)))
    assert bits(tree.total()) == bits(total_in_order(500, range(500)))


def test_a_worker_keeps_only_what_cannot_be_merged_yet():
    tree = Tree(64)
    for block in range(32):
        tree.add(block, copied(leaves(64)[block]))
    assert list(tree.nodes) == [(0, 32)]


def test_missing_blocks_are_refused():
    tree = Tree(3)
    tree.add(0, {})
    with pytest.raises(ValueError, match="3 blocks expected"):
        tree.total()
