"""Draws of rows: together all of them, none twice, and the same wherever the rows are cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask.data.draws import RUNS, Draw

ROLES = ("target", "background")


@st.composite
def shuffles(draw):
    """All draws of one shuffle, of which there may be more than rows."""
    n_rows = {"target": draw(st.integers(1, 400)), "background": draw(st.integers(1, 60))}
    seed = tuple(draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=2)))
    of, longest = draw(st.integers(1, 30)), draw(st.integers(1, 50))
    return [Draw(seed, number, of, n_rows, longest) for number in range(of)]


def rows(one, role, start=0, stop=None):
    """Every drawn row."""
    runs = one.runs(role, start, one.n_rows[role] if stop is None else stop)
    return [row for first, behind in runs for row in range(first, behind)]


@given(draws=shuffles())
@pytest.mark.parametrize("role", ROLES)
def test_the_draws_of_a_shuffle_are_all_rows_and_none_twice(role, draws):
    drawn = [row for one in draws for row in rows(one, role)]
    assert sorted(drawn) == list(range(draws[0].n_rows[role]))


@given(draws=shuffles())
@pytest.mark.parametrize("role", ROLES)
def test_runs_rise_with_gaps(role, draws):
    for one in draws:
        runs = one.runs(role, 0, one.n_rows[role])
        assert runs.shape[1] == 2
        assert all(first < behind for first, behind in runs)
        assert all(behind < first for (_, behind), (first, _) in pairwise(runs.tolist()))


@given(draws=shuffles(), data=st.data())
@pytest.mark.parametrize("role", ROLES)
def test_any_cutting_draws_the_same_rows(role, draws, data):
    n_rows = draws[0].n_rows[role]
    cuts = data.draw(st.lists(st.integers(0, n_rows), max_size=5))
    edges = sorted({0, n_rows, *cuts})
    for one in draws:
        assert [row for a, b in pairwise(edges) for row in rows(one, role, a, b)] == rows(one, role)
        for a, b in pairwise(edges):
            assert rows(one, role, a, b) == [row for row in rows(one, role) if a <= row < b]


@given(draws=shuffles())
@pytest.mark.parametrize("role", ROLES)
def test_rows_are_counted(role, draws):
    counts = [one.count(role) for one in draws]
    assert counts == [len(rows(one, role)) for one in draws]
    length = max(1, min(draws[0].longest, draws[0].n_rows[role] // (RUNS * len(draws))))
    assert max(counts) - min(counts) <= 2 * length, "one run more, and the last run may be short"


@pytest.mark.parametrize("role", ROLES)
def test_more_draws_than_rows_leave_some_without(role):
    draws = [Draw((0,), number, 10, {"target": 3, "background": 1}, 5) for number in range(10)]
    counts = [one.count(role) for one in draws]
    assert (sum(counts), max(counts)) == (draws[0].n_rows[role], 1)


@pytest.mark.parametrize("seeds", [[(0,), (1,), (2**40,)], [(0, 0), (0, 1), (1, 0), (1, 1)]])
def test_another_seed_role_or_number_draws_other_rows(seeds):
    n_rows = {"target": 4000, "background": 4000}
    draws = [Draw(seed, number, 10, n_rows, 5) for seed in seeds for number in (0, 1)]
    found = [tuple(rows(one, role)) for one in draws for role in ROLES]
    assert len(set(found)) == len(found)


def test_rows_are_drawn_from_everywhere():
    n_rows = {"target": 100_000}
    drawn = np.array(rows(Draw((3,), 4, 20, n_rows, 100), "target"))
    assert len(np.unique(drawn // 10_000)) == 10
    assert abs(drawn.mean() / 50_000 - 1) < 0.2
