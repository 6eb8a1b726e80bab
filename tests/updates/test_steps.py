"""Every update of both losses, for one step, against the naive reference."""

import numpy as np
import oracle
import pytest
import scipy.sparse as sp
from problems import csr, make_problem

from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

SWEEPS = {"frobenius": oracle.frobenius_sweep, "kullback-leibler": oracle.kl_sweep}
DIVERGENCES = {"frobenius": oracle.frobenius, "kullback-leibler": oracle.kl}
PRECISION = {"float64": 1e-12, "float32": 1e-5}
LAYOUTS = {"dense": lambda matrix, dtype: matrix.astype(dtype), "csr": csr}

both_losses = pytest.mark.parametrize("name", LOSSES)
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)
both_dtypes = pytest.mark.parametrize("dtype", PRECISION)


def one_sweep(problem, name, alpha, damping, layout, dtype):
    """New basis, new usages and statistics of both sides, with the functions of the package."""
    loss, basis = LOSSES[name], problem.basis.astype(dtype)
    usages, statistics = [], []
    for matrix, start in problem.sides:
        rows = LAYOUTS[layout](matrix, dtype)
        usages.append(loss.update_usages(rows, start.astype(dtype), Basis(basis), Steps(1, damping)))
        statistics.append(loss.contribute(rows, usages[-1], Basis(basis)))
    new = loss.update_basis(basis.astype(np.float64), *statistics, alpha, damping)
    return new, usages, statistics


@both_losses
@both_layouts
@both_dtypes
@pytest.mark.parametrize("alpha", [0.0, 1.0, 7.5])
@pytest.mark.parametrize("damping", [1.0, 0.5])
def test_one_sweep_is_that_of_the_paper(name, layout, dtype, alpha, damping):
    problem = make_problem(seed=3, n=40, m=25, f=17, k=4)
    new, usages, _ = one_sweep(problem, name, alpha, damping, layout, dtype)
    expected = SWEEPS[name](
        problem.target,
        problem.background,
        problem.basis,
        problem.target_usages,
        problem.background_usages,
        alpha,
        damping,
    )
    for ours, theirs in zip((new, *usages), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=PRECISION[dtype])
    assert new.dtype == np.float64
    assert [one.dtype for one in usages] == [np.dtype(dtype)] * 2


@both_losses
@both_layouts
@both_dtypes
def test_statistics_are_the_sums_of_the_design(name, layout, dtype):
    problem = make_problem(seed=4)
    _, usages, statistics = one_sweep(problem, name, 1.0, 1.0, layout, dtype)
    x, h, w = problem.target, usages[0].astype(np.float64), problem.basis.astype(dtype).astype(np.float64)
    r = h @ w.T
    positive = x > 0
    cross, moment, data_term = {
        "frobenius": (x.T @ h, h.T @ h, (x**2).sum()),
        "kullback-leibler": (
            (x / r).T @ h,
            h.sum(axis=0),
            (x[positive] * np.log(x[positive] / r[positive])).sum() - x.sum(),
        ),
    }[name]
    np.testing.assert_allclose(statistics[0].cross, cross, rtol=PRECISION[dtype])
    np.testing.assert_allclose(statistics[0].moment, moment, rtol=PRECISION[dtype])
    assert statistics[0].data_term == pytest.approx(data_term, rel=PRECISION[dtype])
    assert statistics[0].cross.dtype == statistics[0].moment.dtype == np.float64


@both_losses
@both_layouts
@pytest.mark.parametrize(("dtype", "precision"), [("float64", 1e-12), ("float32", 1e-4)])
def test_divergence_of_statistics_is_that_of_the_rows(name, layout, dtype, precision):
    problem = make_problem(seed=5)
    _, usages, statistics = one_sweep(problem, name, 1.0, 1.0, layout, dtype)
    for (matrix, _), ours, sums in zip(problem.sides, usages, statistics, strict=True):
        expected = DIVERGENCES[name](matrix, ours.astype(np.float64) @ problem.basis.T)
        assert LOSSES[name].divergence(sums, problem.basis) == pytest.approx(expected, rel=precision)


@both_losses
def test_divergence_of_a_perfect_model_is_zero_and_never_below(name):
    problem = make_problem(seed=6)
    perfect = problem.target_usages @ problem.basis.T
    sums = LOSSES[name].contribute(perfect, problem.target_usages, Basis(problem.basis))
    assert 0.0 <= LOSSES[name].divergence(sums, problem.basis) < 1e-12 * (perfect**2).sum()


@both_losses
def test_divergence_of_float32_rows_survives_cancellation(name):
    problem = make_problem(seed=7, n=300, f=50)
    rows = (problem.target_usages @ problem.basis.T * 1.001).astype(np.float32)
    usages, basis = problem.target_usages.astype(np.float32), problem.basis.astype(np.float32)
    sums = LOSSES[name].contribute(rows, usages, Basis(basis))
    exact = DIVERGENCES[name](rows.astype(float), usages.astype(float) @ basis.astype(float).T)
    slack = 1e-5 * float((rows.astype(float) ** 2).sum())  # what rounding the products to float32 can do
    assert LOSSES[name].divergence(sums, basis.astype(float)) == pytest.approx(exact, abs=slack)


@both_losses
def test_without_background_the_basis_step_is_that_of_alpha_zero(name):
    problem, loss = make_problem(seed=8), LOSSES[name]
    target, background = (loss.contribute(rows, usages, Basis(problem.basis)) for rows, usages in problem.sides)
    alone = loss.update_basis(problem.basis, target, None, 3.0, 0.7)
    np.testing.assert_array_equal(alone, loss.update_basis(problem.basis, target, background, 0.0, 0.7))


@both_losses
def test_statistics_of_two_halves_sum_to_those_of_the_whole(name):
    problem, loss = make_problem(seed=9), LOSSES[name]
    rows, usages = problem.target, problem.target_usages
    whole = loss.contribute(rows, usages, Basis(problem.basis))
    halves = [loss.contribute(rows[part], usages[part], Basis(problem.basis)) for part in (slice(5), slice(5, None))]
    for one, first, second in zip(whole, *halves, strict=True):
        np.testing.assert_allclose(first + second, one, rtol=1e-12)


@both_losses
@both_layouts
def test_no_argument_is_changed(name, layout):
    problem, loss = make_problem(seed=10), LOSSES[name]
    rows = LAYOUTS[layout](problem.target, "float64")
    given = [problem.target_usages, problem.basis, rows.data if sp.issparse(rows) else rows]
    before = [array.copy() for array in given]
    usages = loss.update_usages(rows, problem.target_usages, Basis(problem.basis), Steps(1, 0.5))
    sums = loss.contribute(rows, usages, Basis(problem.basis))
    copies = [sums.cross.copy(), sums.moment.copy()]
    loss.update_basis(problem.basis, sums, sums, 2.0, 0.5)
    for array, old in zip([*given, sums.cross, sums.moment], before + copies, strict=True):
        np.testing.assert_array_equal(array, old)


def test_names_and_default_dampings_are_those_of_the_authors():
    assert {loss.name: loss.default_damping for loss in LOSSES.values()} == {
        "frobenius": 1.0,
        "kullback-leibler": 0.5,
    }
    assert all(loss.name == name for name, loss in LOSSES.items())
