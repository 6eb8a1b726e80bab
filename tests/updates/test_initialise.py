"""Starts: the same rows from any partition, streams that have nothing to do with each other, uniform."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from problems import problems
from scipy.stats import kstest

from bcnmf_dask.updates.initialise import draw_basis, draw_usages, even_usages, normalise

STREAMS = {
    "target": lambda seed, n, k: draw_usages(seed, "target", 0, n, k),
    "background": lambda seed, n, k: draw_usages(seed, "background", 0, n, k),
    "basis": draw_basis,
}
MANY = 20_000


@pytest.mark.parametrize("role", ["target", "background"])
@given(
    cuts=st.lists(st.integers(0, 60), max_size=6),
    seed=st.integers(0, 2**63),
    k=st.integers(1, 9),
)
def test_any_partition_draws_the_same_rows(role, cuts, seed, k):
    whole = draw_usages(seed, role, 0, 60, k)
    edges = sorted({0, 60, *cuts})
    pieces = [draw_usages(seed, role, a, b, k) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_rows_of_an_atlas_are_drawn_without_those_before_them():
    far = draw_usages(0, "target", 10**12, 10**12 + 3, 20)
    assert far.shape == (3, 20)
    np.testing.assert_array_equal(far[1:], draw_usages(0, "target", 10**12 + 1, 10**12 + 3, 20))
    assert not np.isin(far, draw_usages(0, "target", 0, 1000, 20)).any()


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("k", [1, 3, 4])
def test_draws_are_uniform(stream, k):
    numbers = STREAMS[stream](5, MANY // k, k)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert kstest(numbers.ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("target", 0), ("background", 0)),
        (("target", 0), ("basis", 0)),
        (("background", 0), ("basis", 0)),
        (("target", 0), ("target", 1)),
        (("target", 1), ("background", 0)),
        (("basis", 0), ("basis", 2**40)),
    ],
)
def test_streams_are_independent(one, other):
    first, second = (STREAMS[stream](seed, MANY, 1).ravel() for stream, seed in (one, other))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert not np.isin(first, second).any()


def test_rows_and_columns_of_a_draw_are_independent():
    numbers = draw_usages(3, "target", 0, MANY, 5)
    correlations = np.corrcoef(np.hstack([numbers[:-1], numbers[1:]]).T)
    assert np.abs(correlations - np.eye(10)).max() < 0.03


def test_draws_are_float64_and_contiguous():
    numbers = draw_usages(0, "target", 4, 9, 3)
    assert numbers.dtype == np.float64
    assert numbers.flags.c_contiguous


def test_normalise_gives_sums_of_one_and_the_scales_back():
    basis, scales = normalise(np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 2.0]]))
    np.testing.assert_array_equal(basis, [[0.25, 0.0, 0.5], [0.75, 0.0, 0.5]])
    np.testing.assert_array_equal(scales, [4.0, 1.0, 4.0])


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(problem=problems)
def test_even_usages_share_the_sum_of_each_row(form, dtype, problem):
    basis, _ = normalise(problem.basis.astype(dtype))
    usages = even_usages(form(problem.target.astype(dtype)), basis)
    assert usages.dtype == dtype
    assert usages.shape == problem.target_usages.shape
    assert (usages == usages[:, :1]).all()
    sums = problem.target.sum(axis=1)
    np.testing.assert_allclose((usages @ basis.T).sum(axis=1), sums, rtol=1e-5)
    assert not usages[sums == 0].any()
