"""Usages that minimise the divergence of each row: against solvers of others, and by their conditions."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from hypothesis import given
from problems import make_problem, problems, with_zeros

from bcnmf_dask.updates.basis import PUBLISHED_FLOOR, Basis
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.optimal import Optimum
from bcnmf_dask.updates.statistics import Optimality, merge

TOLERANCE = Optimum().tolerance
both_losses = pytest.mark.parametrize("loss", LOSSES)


def floor_for(problem, floor):
    return np.full(len(problem.basis), floor) * (1 + np.arange(len(problem.basis)))


def kullback_leibler(row, reconstruction):
    positive = row > 0
    return (row[positive] * np.log(row[positive] / reconstruction[positive])).sum() + reconstruction.sum() - row.sum()


def divergence(loss, row, usages, basis, floor):
    if loss == "frobenius":
        return ((row - basis @ usages) ** 2).sum()
    return kullback_leibler(row, basis @ usages + floor)


def by_others(loss, row, basis, floor):
    """A minimiser by SciPy: active sets, or a quasi-Newton method within bounds from several starts."""
    if loss == "frobenius":
        return scipy.optimize.nnls(basis, row)[0]
    used = row > 0

    def value_and_slope(usages):
        reconstruction = basis @ usages + floor
        value = reconstruction.sum() - (row[used] * np.log(reconstruction[used])).sum()
        return value, basis.sum(axis=0) - basis[used].T @ (row[used] / reconstruction[used])

    k = basis.shape[1]
    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-12}
    starts = [np.full(k, row.sum() / k / scale) for scale in (1.0, 10.0, 0.1)]
    found = [
        scipy.optimize.minimize(value_and_slope, start, jac=True, bounds=[(0, None)] * k, options=options)
        for start in starts
    ]
    return min(found, key=lambda one: one.fun).x


@both_losses
@pytest.mark.parametrize("floor", [1e-16, 1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_usages_are_those_of_another_solver(loss, floor, seed):
    problem = make_problem(seed, n=20, f=15, k=4)
    floors = floor_for(problem, floor)
    usages, reached = LOSSES[loss].minimise(problem.target, Basis(problem.basis, floors), Optimum())
    assert reached.largest_residual <= TOLERANCE
    for row, ours in zip(problem.target, usages, strict=True):
        theirs = by_others(loss, row, problem.basis, floors)
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4 * row.sum())


@both_losses
@given(problem=problems)
def test_no_usages_nearby_are_better_than_the_residual_allows(loss, problem):
    problem = with_zeros(problem) if problem.basis.shape[1] > 1 else problem
    floors = floor_for(problem, 1e-3)
    usages, reached = LOSSES[loss].minimise(problem.target, Basis(problem.basis, floors), Optimum())
    assert (usages >= 0).all()
    assert reached.unfinished == 0
    draw = np.random.default_rng(0)
    for row, ours in zip(problem.target, usages, strict=True):
        least = divergence(loss, row, ours, problem.basis, floors)
        for scale in (1e-4, 1e-2, 1.0):
            others = np.maximum(ours + scale * (1 + ours.max()) * draw.normal(size=(20, len(ours))), 0)
            slack = 2 * TOLERANCE * max(row.sum(), (row**2).sum())
            assert all(divergence(loss, row, one, problem.basis, floors) >= least - slack for one in others)


@both_losses
def test_a_row_has_the_same_bits_alone_dense_sparse_and_as_whole_numbers(loss):
    problem = make_problem(4, n=30, f=11, k=5)
    basis = Basis(problem.basis.astype(np.float32), floor_for(problem, 1e-3).astype(np.float32))
    rows = problem.target.astype(np.float32)
    expected, _ = LOSSES[loss].minimise(rows, basis, Optimum())
    assert expected.dtype == np.float32
    for other in (sp.csr_array(rows), rows.astype(np.int64), sp.csr_array(rows.astype(np.uint8))):
        np.testing.assert_array_equal(LOSSES[loss].minimise(other, basis, Optimum())[0], expected)
    np.testing.assert_array_equal(LOSSES[loss].minimise(rows[::-1], basis, Optimum())[0][::-1], expected)
    for number in (0, 7):
        alone, _ = LOSSES[loss].minimise(rows[number : number + 1], basis, Optimum())
        np.testing.assert_array_equal(alone[0], expected[number])


@both_losses
def test_zero_rows_and_dead_components_have_no_usage(loss):
    problem = with_zeros(make_problem(5, k=3))
    usages, reached = LOSSES[loss].minimise(problem.target, Basis(problem.basis, floor_for(problem, 1e-3)), Optimum())
    assert not usages[0].any()
    assert not usages[:, -1].any()
    assert usages[1:, :-1].any()
    assert reached.rows == len(usages)


@both_losses
@pytest.mark.parametrize("floor", [PUBLISHED_FLOOR, 1e-3])
def test_components_that_repeat_each_other_reach_the_least_divergence(loss, floor):
    problem = make_problem(6, n=20, f=9, k=3)
    floors = floor_for(problem, floor)
    twice = np.column_stack([problem.basis, problem.basis @ np.diag([2.0, 0.5, 1.0]), problem.basis[:, :1]])
    usages, reached = LOSSES[loss].minimise(problem.target, Basis(twice, floors), Optimum())
    once, _ = LOSSES[loss].minimise(problem.target, Basis(problem.basis, floors), Optimum())
    assert reached.unfinished == 0
    for row, ours, least in zip(problem.target, usages, once, strict=True):
        expected = divergence(loss, row, least, problem.basis, floors)
        assert divergence(loss, row, ours, twice, floors) == pytest.approx(expected, rel=1e-6, abs=1e-6 * row.sum())


def test_values_at_which_no_component_has_weight_are_left_to_the_floor():
    """Of 16 genes 12 are in no component, as with a strong contrast; their values may not change any usage."""
    problem = make_problem(7, n=25, f=16, k=2)
    basis = problem.basis.copy()
    basis[4:] = 0.0
    usages, _ = LOSSES["kullback-leibler"].minimise(problem.target, Basis(basis), Optimum())
    few, _ = LOSSES["kullback-leibler"].minimise(problem.target[:, :4], Basis(basis[:4]), Optimum())
    np.testing.assert_allclose(usages, few, rtol=1e-5, atol=1e-6)


def test_steps_that_are_not_enough_are_reported():
    problem = make_problem(8, n=40, f=15, k=4)
    _, reached = LOSSES["kullback-leibler"].minimise(problem.target, Basis(problem.basis), Optimum(1e-12, 1))
    assert reached.unfinished > 0
    assert reached.most_iterations == 1
    assert reached.largest_residual > 1e-12


def test_reports_of_two_sets_of_rows_are_merged():
    merged = merge(Optimality(3, 10, 1, 6, 1e-3), Optimality(2, 4, 0, 2, 1e-2))
    assert merged == Optimality(5, 14, 1, 6, 1e-2)
