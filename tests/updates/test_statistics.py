import numpy as np
import pytest

from bcnmf_dask.updates.statistics import ROLES, Evaluation, Statistics, merge


def statistics(value):
    return Statistics(np.full((3, 2), value), np.full(2, 10 * value), 100 * value)


def evaluation(value):
    sums = np.full(2, 10 * value), np.full((2, 2), 100 * value), 3 * value, np.full(3, 4 * value), np.full(3, value)
    return Evaluation(value, *sums, np.full(3, 5 * value), np.full(2, 6 * value))


@pytest.mark.parametrize("make", [statistics, evaluation])
def test_merge_adds_every_part(make):
    both = merge(make(1.0), make(2.0))
    assert type(both) is type(make(0.0))
    for ours, expected in zip(both, make(3.0), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("make", [statistics, evaluation])
def test_merge_reuses_the_arrays_of_the_left_and_leaves_the_right(make):
    left, right = make(1.0), make(2.0)
    both = merge(left, right)
    for part, old, other, untouched in zip(both, left, right, make(2.0), strict=True):
        if isinstance(part, np.ndarray):
            assert part is old
        np.testing.assert_array_equal(other, untouched)


def test_target_comes_before_background():
    assert ROLES == ("target", "background")
