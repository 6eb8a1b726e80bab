"""Hashes of rows: the same for the same content, however it is stored."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from problems import csr, problems

from bcnmf_dask.kernels.contents import hash_rows


@given(problem=problems)
def test_equal_rows_and_no_others_have_equal_hashes(problem):
    rows = np.vstack([problem.target, problem.background, problem.target])
    hashes, counts = hash_rows(rows)
    equal = (rows[:, None] == rows[None]).all(axis=2)
    np.testing.assert_array_equal(hashes[:, None] == hashes[None], equal)
    np.testing.assert_array_equal(counts, (rows != 0).sum(axis=1))


@given(problem=problems, seed=st.integers(0, 2**32 - 1))
def test_the_way_of_storing_changes_no_hash(problem, seed):
    rows = problem.target
    order = np.random.default_rng(seed).permutation(rows.shape[1])
    shuffled = sp.csr_array(
        (rows[:, order].ravel(), np.tile(order, len(rows)), np.arange(len(rows) + 1) * rows.shape[1]), shape=rows.shape
    )
    expected, counts = hash_rows(rows)
    for form in (csr(rows), csr(rows, np.float32), csr(rows, np.int64), rows.astype(np.uint8), shuffled):
        ours, counted = hash_rows(form)
        np.testing.assert_array_equal(ours, expected)
        np.testing.assert_array_equal(counted, counts)


@pytest.mark.parametrize("change", [lambda row: row[::-1], lambda row: row + 1e-9, lambda row: row * 2])
def test_place_and_value_matter(change):
    row = np.array([[1.0, 0.0, 3.0, 2.0]])
    assert hash_rows(change(row[0])[None].copy())[0] != hash_rows(row)[0]


def test_hashes_spread_evenly():
    """A share of all numbers is a share of the rows, also of rows that differ little."""
    rows = np.eye(4000) + np.ones(4000)
    hashes, _ = hash_rows(rows)
    shares = (hashes[None] < (np.arange(1, 8) / 8 * 2.0**64).astype(np.uint64)[:, None]).mean(axis=1)
    np.testing.assert_allclose(shares, np.arange(1, 8) / 8, atol=0.04)
