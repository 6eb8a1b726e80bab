"""CSR as users hold it: explicit zeros, unsorted indices, duplicates. All give the answer of the dense rows."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask.data.loading import ShardOrder
from bcnmf_dask.data.shards import Shard
from bcnmf_dask.engine.taking import from_chunks
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

N, F, K = 11, 6, 3


def untidy(seed, form):
    """A CSR array, and the dense array it stands for."""
    draw = np.random.default_rng(seed)
    dense = draw.poisson(1.0, (N, F)).astype(float)
    entries = {"zeros": ones_and_zeros, "unsorted": shuffled, "duplicates": in_two_halves}[form](draw, dense)
    counts = [len(columns) for columns, _ in entries]
    parts = (
        np.concatenate([values for _, values in entries]),
        np.concatenate([columns for columns, _ in entries]),
        np.concatenate([[0], np.cumsum(counts)]),
    )
    return sp.csr_array(parts, shape=(N, F)), dense


def ones_and_zeros(draw, dense):
    return [(np.arange(F), row) for row in dense]


def shuffled(draw, dense):
    places = [draw.permutation(np.flatnonzero(row)) for row in dense]
    return [(place, row[place]) for place, row in zip(places, dense, strict=True)]


def in_two_halves(draw, dense):
    return [(np.tile(draw.permutation(F), 2), np.zeros(2 * F)) if not row.any() else halves(row) for row in dense]


def halves(row):
    place = np.flatnonzero(row)
    return np.concatenate([place, place[::-1]]), np.concatenate([row[place] - 0.25, np.full(len(place), 0.25)])


def blocks_of(rows, dtype):
    shard = Shard(0, 0, 0, N, 4, 0, {"target": (0, N)}, N * F)
    held = from_chunks(ShardOrder(shard, {"target": None}, None, dtype, "target", F), [rows])
    return [block.parts["target"] for block in held.blocks], held.findings


@pytest.mark.parametrize("form", ["zeros", "unsorted", "duplicates"])
@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 2**32 - 1))
def test_untidy_rows_give_the_dense_answer(name, form, seed):
    sparse, dense = untidy(seed, form)
    draw, loss = np.random.default_rng(seed), LOSSES[name]
    basis, start = draw.random((F, K)) + 0.1, draw.random((N, K)) + 0.1
    results = []
    for rows in (sparse, dense):
        parts, _ = blocks_of(rows, "float64")
        usages = [
            loss.update_usages(part, start[4 * i : 4 * i + part.shape[0]], Basis(basis), Steps(1, 0.5))
            for i, part in enumerate(parts)
        ]
        sums = [loss.contribute(part, one, Basis(basis)) for part, one in zip(parts, usages, strict=True)]
        results.append((np.concatenate(usages), *(sum(parts) for parts in zip(*sums, strict=True))))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["zeros", "unsorted", "duplicates"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rows_of_the_user_are_not_changed(form, dtype):
    sparse, _ = untidy(0, form)
    before = [part.copy() for part in (sparse.data, sparse.indices, sparse.indptr)]
    blocks_of(sparse, dtype)
    for part, old in zip((sparse.data, sparse.indices, sparse.indptr), before, strict=True):
        np.testing.assert_array_equal(part, old)


@pytest.mark.parametrize("form", ["zeros", "unsorted", "duplicates"])
def test_what_is_seen_in_untidy_rows_is_what_is_seen_in_dense_ones(form):
    sparse, dense = untidy(1, form)
    (_, ours), (_, expected) = blocks_of(sparse, "float64"), blocks_of(dense, "float64")
    assert ours.zero_rows == expected.zero_rows
    assert ours.fractional == expected.fractional == 0
    np.testing.assert_array_equal(ours.seen, expected.seen)


def test_whole_numbers_and_unsorted_columns_are_not_copied():
    sparse, _ = untidy(0, "unsorted")
    counts = sp.csr_array((sparse.data.astype(np.int32), sparse.indices, sparse.indptr), shape=sparse.shape)
    for rows in (sparse, counts):
        blocks, _ = blocks_of(rows, "float64")
        assert all(np.shares_memory(block.data, rows.data) for block in blocks)
        assert all(np.shares_memory(block.indices, rows.indices) for block in blocks)


def test_duplicates_that_a_small_type_cannot_hold_together_are_summed():
    parts = (np.array([200, 100, 7], np.uint8), np.array([2, 2, 1]), np.array([0, 2, 3, *[3] * (N - 2)]))
    (first, *_), findings = blocks_of(sp.csr_array(parts, shape=(N, F)), "float32")
    assert first.toarray()[0, 2] == 300
    assert findings.largest == 300
