"""The accelerated solver: when it looks, what makes it fall back, and that it is ahead of the published rule."""

import numpy as np
import pytest
from small_counts import X, Y, make

from bcnmf_dask.solvers.accelerated import FIRST_LOOK, SAMPLE_ROWS, TOLERANCE, USAGE_STEPS, Accelerated
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.statistics import Statistics

F, K = 4, 2


def make_solver(loss="frobenius", alpha=0.0, damping=0.7, n_rows=None):
    return Accelerated(loss, alpha, damping, n_rows or {"target": 100, "background": 50}, seed=3, piece=8)


def record(divergence, background=0.0):
    """Of rows whose divergences are these at any basis."""
    return {
        role: Statistics(np.zeros((F, K)), np.zeros((K, K)), number)
        for role, number in (("target", divergence), ("background", background))
    }


def after(solver, sweeps):
    for _ in range(sweeps):
        solver.next_basis(np.ones((F, K)), record(1.0))
    return solver


def test_it_looks_ever_more_rarely():
    solver, looked = make_solver(), []
    for sweep in range(1, 200):
        after(solver, 1)
        if solver.look() is not None:
            looked.append(sweep)
            solver.judge(np.ones((F, K)), record(1.0))
    assert looked == [FIRST_LOOK, 2 * FIRST_LOOK, 4 * FIRST_LOOK, 8 * FIRST_LOOK]


@pytest.mark.parametrize(
    ("n_rows", "of"),
    [
        ({"target": 100, "background": 50}, 1),
        ({"target": 2 * SAMPLE_ROWS - 1}, 1),
        ({"target": 60 * SAMPLE_ROWS, "background": 40 * SAMPLE_ROWS}, 100),
        ({"target": 100 * SAMPLE_ROWS, "background": 7}, 3),
        ({"target": 100 * SAMPLE_ROWS, "background": 1}, 1),
        ({"target": 17_000, "background": 4000 * 17_005}, 8500),
    ],
)
def test_the_sample_has_rows_of_every_role_and_is_always_the_same(n_rows, of):
    solver = make_solver(n_rows=n_rows)
    draws = [after(solver, number).look()[0] for number in (FIRST_LOOK, FIRST_LOOK)]
    assert draws[0] == draws[1]
    assert draws[0].of == of
    assert all(draws[0].count(role) for role in n_rows)


def test_a_rise_of_the_refitted_objective_brings_the_last_good_basis_back():
    solver = after(make_solver(), FIRST_LOOK)
    good, bad = np.full((F, K), 0.25), np.full((F, K), 0.5)
    assert solver.steps == USAGE_STEPS["frobenius"]
    assert solver.judge(good, record(10.0)) is good
    assert solver.judge(bad, record(10.0 * (1 + 2 * TOLERANCE))) is good
    assert solver.steps == Steps(1, 0.7)
    assert after(solver, 4 * FIRST_LOOK).look() is None


@pytest.mark.parametrize("looks", [(10.0, 9.0, 9.0 * (1 + TOLERANCE / 2)), (10.0, 10.0), (-5.0, -5.01)])
def test_no_rise_worth_the_name_lets_it_go_on(looks):
    solver, basis = make_solver(alpha=1.0), np.full((F, K), 0.25)
    for look in looks:
        assert solver.judge(basis, record(look + 100.0, 100.0)) is basis
    assert not solver.fallen_back


def test_numbers_that_stopped_being_finite_bring_the_last_good_basis_back():
    solver, good = make_solver(), np.full((F, K), 0.25)
    solver.judge(good, record(10.0))
    assert solver.judge(good * 2, record(np.nan)) is good


@pytest.mark.parametrize("fallen_back", [False, True])
def test_it_goes_on_from_its_state(fallen_back):
    solver, other = after(make_solver(), FIRST_LOOK), make_solver()
    solver.judge(np.full((F, K), 0.25), record(10.0))
    if fallen_back:
        solver.judge(np.full((F, K), 0.5), record(20.0))
    other.go_on(solver.state())
    for one in (solver, other):
        after(one, FIRST_LOOK)
    assert other.steps == solver.steps
    assert other.look() == solver.look()
    np.testing.assert_array_equal(
        other.judge(np.ones((F, K)), record(30.0)), solver.judge(np.ones((F, K)), record(30.0))
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_without_a_contrast_it_is_as_far_in_half_of_the_sweeps(loss):
    """Where nothing pulls the other way, the divergence itself tells how far a fit is."""
    published = make(alpha=0.0, loss=loss, max_iter=60, dtype="float64").fit(X)
    ours = make(alpha=0.0, loss=loss, max_iter=30, dtype="float64", solver="accelerated").fit(X)
    assert ours.history_.target_divergence.iloc[-1] <= published.history_.target_divergence.iloc[-1]
    assert ours.run_["data_visits"] == 30 + 1 + 2, "sweeps, a look at all rows, their usages, the evaluation"


def test_a_fit_that_falls_back_goes_on_from_the_last_good_basis(monkeypatch):
    """With steps as long as these, Frobenius swings; the published rule then ends where it should."""
    monkeypatch.setattr("bcnmf_dask.solvers.accelerated.BASIS_EXPONENT", 6.0)
    monkeypatch.setattr("bcnmf_dask.solvers.accelerated.FIRST_LOOK", 2)
    fitted = make(loss="frobenius", max_iter=200, solver="accelerated", dtype="float64").fit(X, background=Y)
    published = make(loss="frobenius", max_iter=200, dtype="float64").fit(X, background=Y)
    assert np.isfinite(fitted.components_).all()
    assert fitted.history_.basis_change.iloc[-1] < 10 * published.history_.basis_change.iloc[-1] + 1e-3


def test_it_does_not_look_when_no_sweep_can_follow():
    fitted = make(solver="accelerated", max_iter=FIRST_LOOK).fit(X, background=Y)
    assert fitted.history_.data_visits.iloc[-1] == FIRST_LOOK
