"""Draws of rows: together all of them, none twice, the same wherever the rows are cut, and read once in each pass."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask.data.draws import PIECES, RUNS, Draw

ROLES = ("target", "background")
LARGE = {"target": 120_000, "background": 35_000}


@st.composite
def shuffles(draw):
    """All draws of one shuffle, of which there may be more than rows."""
    n_rows = {"target": draw(st.integers(1, 900)), "background": draw(st.integers(1, 60))}
    seed = tuple(draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=2)))
    of, piece = draw(st.integers(1, 30)), draw(st.integers(1, 50))
    return [Draw(seed, number, of, n_rows, piece) for number in range(of)]


def rows(one, role, start=0, stop=None):
    """Every drawn row."""
    return [row for first, behind in one.runs(role, start, stop) for row in range(first, behind)]


def pieces(one, role):
    """Pieces with drawn rows."""
    return sorted({row // one.piece for row in rows(one, role)})


@given(draws=shuffles())
@pytest.mark.parametrize("role", ROLES)
def test_the_draws_of_a_shuffle_are_all_rows_and_none_twice(role, draws):
    drawn = [row for one in draws for row in rows(one, role)]
    assert sorted(drawn) == list(range(draws[0].n_rows[role]))


@given(draws=shuffles())
@pytest.mark.parametrize("role", ROLES)
def test_runs_rise_with_gaps(role, draws):
    for one in draws:
        runs = one.runs(role)
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
    assert [one.count(role) for one in draws] == [len(rows(one, role)) for one in draws]


@pytest.mark.parametrize("of", [7, 50, 122, 1000])
@pytest.mark.parametrize("role", ROLES)
def test_draws_are_of_about_the_same_size(role, of):
    draws = [Draw((1,), number, of, LARGE, 256) for number in range(of)]
    counts = np.array([one.count(role) for one in draws])
    assert counts.sum() == LARGE[role]
    assert counts.max() < 1.6 * counts.min()
    assert draws[0].weight(role) == LARGE[role] / counts[0]


@pytest.mark.parametrize("role", ROLES)
def test_more_draws_than_rows_leave_some_without(role):
    draws = [Draw((0,), number, 10, {"target": 3, "background": 1}, 5) for number in range(10)]
    counts = [one.count(role) for one in draws]
    assert (sum(counts), max(counts)) == (draws[0].n_rows[role], 1)


def test_one_draw_is_all_rows_at_once():
    assert Draw((0,), 0, 1, {"target": 10**9}, 1).runs("target").tolist() == [[0, 10**9]]


def test_as_many_draws_as_rows_have_one_each():
    draws = [Draw((0,), number, 250, {"target": 250}, 16) for number in range(250)]
    assert {one.count("target") for one in draws} == {1}


@pytest.mark.parametrize("seeds", [[(0,), (1,), (2**40,)], [(0, 0), (0, 1), (1, 0), (1, 1)], [(0,), (0, 0)]])
@pytest.mark.parametrize("piece", [5, 4000])
def test_another_seed_or_number_draws_other_rows(seeds, piece):
    draws = [Draw(seed, number, 10, {"target": 4000}, piece) for seed in seeds for number in (0, 1)]
    found = [tuple(rows(one, "target")) for one in draws]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("piece", [100, 1000, 100_000])
@pytest.mark.parametrize("number", [0, 4, 19])
def test_rows_are_drawn_from_everywhere(number, piece):
    drawn = np.array(rows(Draw((3,), number, 20, {"target": 100_000}, piece), "target"))
    assert len(np.unique(drawn * RUNS // 100_000)) == RUNS
    assert abs(drawn.mean() / 50_000 - 1) < 0.2


@given(draws=shuffles())
@pytest.mark.parametrize("role", ROLES)
def test_pieces_are_wanted_in_one_window_and_then_no_more(role, draws):
    """So that whoever keeps those of draws that last reads every piece once."""
    reads, kept = Counter(), set()
    for one in draws:
        now, window = set(pieces(one, role)), {start // one.piece for start, _ in one.window(role)}
        assert now <= window
        reads.update(now - kept)
        kept = (kept | now) & window if one.lasts(role) else set()
        assert len(kept) <= one.pieces_kept
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("of", [5, 122, 1000])
@pytest.mark.parametrize("piece", [64, 1024])
def test_a_window_has_some_pieces_and_not_many_more(of, piece):
    for role, n_rows in LARGE.items():
        draws = [Draw((1,), number, of, LARGE, piece) for number in range(of)]
        assert all(len(pieces(one, role)) >= 2 / 3 * PIECES for one in draws), "neighbours of a piece may cover it"
        assert n_rows >= PIECES * piece
    assert draws[0].pieces_kept <= len(ROLES) * 4 * PIECES


def test_roles_that_lie_alike_are_drawn_alike():
    """Rows of both roles that alternate in one store are then read once, not twice."""
    draws = [Draw((2, 1), number, 40, dict.fromkeys(ROLES, 30_000), 128) for number in range(40)]
    assert all(rows(one, "target") == rows(one, "background") for one in draws)
