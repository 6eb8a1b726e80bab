"""What holds for the updates on any data (mathematics, facts 1 to 3)."""

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import alphas, csr, dampings, make_problem, problems, with_zeros

from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.initialise import normalise
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

SLACK = 1e-9
DIVERGENCES = {"frobenius": oracle.frobenius, "kullback-leibler": oracle.kl}

both_losses = pytest.mark.parametrize("name", LOSSES)
layouts = st.sampled_from([np.asarray, csr])


def step_usages(loss, problem, damping, layout=np.asarray):
    basis, steps = Basis(problem.basis), Steps(1, damping)
    return [loss.update_usages(layout(rows), usages, basis, steps) for rows, usages in problem.sides]


def step_basis(loss, problem, usages, alpha, damping, layout=np.asarray):
    sums = [
        loss.contribute(layout(rows), one, Basis(problem.basis))
        for (rows, _), one in zip(problem.sides, usages, strict=True)
    ]
    return loss.update_basis(problem.basis, *sums, alpha, damping)


@both_losses
@given(problem=problems, alpha=alphas, damping=dampings, layout=layouts)
def test_factors_stay_finite_and_non_negative(name, problem, alpha, damping, layout):
    usages = step_usages(LOSSES[name], problem, damping, layout)
    basis = step_basis(LOSSES[name], problem, usages, alpha, damping, layout)
    for array in (*usages, basis):
        assert np.isfinite(array).all()
        assert (array >= 0).all()


@both_losses
@given(problem=problems, damping=dampings, layout=layouts)
def test_a_usage_step_never_raises_its_own_divergence(name, problem, damping, layout):
    divergence = DIVERGENCES[name]
    new = step_usages(LOSSES[name], problem, damping, layout)
    for (rows, old), usages in zip(problem.sides, new, strict=True):
        before = divergence(rows, old @ problem.basis.T)
        after = divergence(rows, usages @ problem.basis.T)
        assert after <= before + SLACK * (before + problem.size)


@both_losses
@given(problem=problems, alpha=alphas, damping=dampings, steps=st.integers(0, 3))
def test_a_basis_step_never_raises_the_objective_at_fixed_usages(name, problem, alpha, damping, steps):
    """From anywhere: the usages need not have been fitted."""
    loss = LOSSES[name]
    usages = [one for _, one in problem.sides]
    for _ in range(steps):
        usages = [
            loss.update_usages(rows, one, Basis(problem.basis), Steps(1, damping))
            for (rows, _), one in zip(problem.sides, usages, strict=True)
        ]
    new = step_basis(loss, problem, usages, alpha, damping)
    before, after = (objective(name, problem, usages, basis, alpha) for basis in (problem.basis, new))
    assert after <= before + SLACK * (abs(before) + (1 + alpha) * problem.size)


def objective(name, problem, usages, basis, alpha):
    divergence = DIVERGENCES[name]
    value = divergence(problem.target, usages[0] @ basis.T)
    # At alpha = 0 the background does not count, even where the new basis makes it infinite.
    return value if alpha == 0 else value - alpha * divergence(problem.background, usages[1] @ basis.T)


@both_losses
@given(problem=problems, alpha=alphas, damping=dampings, seed=st.integers(0, 2**32 - 1))
def test_every_step_commutes_with_scaling_the_components(name, problem, alpha, damping, seed):
    loss = LOSSES[name]
    scales = 2.0 ** np.random.default_rng(seed).integers(-4, 5, problem.basis.shape[1])
    scaled = type(problem)(
        problem.target,
        problem.background,
        problem.basis * scales,
        problem.target_usages / scales,
        problem.background_usages / scales,
    )
    plain_usages, scaled_usages = step_usages(loss, problem, damping), step_usages(loss, scaled, damping)
    for plain, other in zip(plain_usages, scaled_usages, strict=True):
        np.testing.assert_allclose(other * scales, plain, rtol=1e-6, atol=1e-12)  # eps alone is not scaled
    plain_basis = step_basis(loss, problem, plain_usages, alpha, damping)
    scaled_basis = step_basis(loss, scaled, scaled_usages, alpha, damping)
    np.testing.assert_allclose(scaled_basis / scales, plain_basis, rtol=1e-6, atol=1e-12)


@both_losses
@given(problem=problems.map(with_zeros), alpha=alphas, damping=dampings, layout=layouts)
def test_zero_rows_features_and_components_stay_zero(name, problem, alpha, damping, layout):
    loss = LOSSES[name]
    usages = step_usages(loss, problem, damping, layout)
    basis = step_basis(loss, problem, usages, alpha, damping, layout)
    for one in usages:
        assert np.isfinite(one).all()
        assert not one[0].any()
        assert not one[:, -1].any()
    assert np.isfinite(basis).all()
    assert not basis[:, -1].any()
    if alpha == 0:
        assert not basis[0].any()


@both_losses
@given(problem=problems.map(with_zeros))
def test_zeros_leave_the_divergence_finite(name, problem):
    usages = step_usages(LOSSES[name], problem, 1.0)
    sums = LOSSES[name].contribute(problem.target, usages[0], Basis(problem.basis))
    assert np.isfinite(LOSSES[name].divergence(sums, problem.basis))


@both_losses
@given(problem=problems, damping=dampings)
def test_a_row_is_stepped_alike_alone_and_among_others(name, problem, damping):
    together = step_usages(LOSSES[name], problem, damping)[0]
    alone = [
        LOSSES[name].update_usages(problem.target[i : i + 1], old[None], Basis(problem.basis), Steps(1, damping))[0]
        for i, old in enumerate(problem.target_usages)
    ]
    np.testing.assert_allclose(alone, together, rtol=1e-12)


@both_losses
@pytest.mark.parametrize("shape", [{"k": 1}, {"n": 1}, {"n": 1, "m": 1, "f": 1, "k": 1}])
def test_smallest_shapes_have_the_closed_form_answer(name, shape):
    """One component: the undamped usage step lands on the minimum at once."""
    problem = make_problem(seed=1, **{"k": 1} | shape)
    x, w = problem.target, problem.basis[:, 0]
    best = {"frobenius": x @ w / (w @ w), "kullback-leibler": x.sum(axis=1) / w.sum()}[name]
    usages = step_usages(LOSSES[name], problem, 1.0)[0]
    np.testing.assert_allclose(usages[:, 0], best, rtol=1e-8)


@given(problem=problems.map(with_zeros))
def test_normalising_changes_no_reconstruction(problem):
    basis, scales = normalise(problem.basis)
    np.testing.assert_allclose(
        (problem.target_usages * scales) @ basis.T, problem.target_usages @ problem.basis.T, rtol=1e-12
    )
    np.testing.assert_allclose(basis[:, :-1].sum(axis=0), 1.0, rtol=1e-12)
    assert not basis[:, -1].any()
    assert scales[-1] == 1.0
