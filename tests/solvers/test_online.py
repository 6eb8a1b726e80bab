"""The online solver: how it passes over the rows, what it remembers, and how near it comes."""

import numpy as np
import pytest
from small_counts import X, Y, make

from bcnmf_dask import BCNMF
from bcnmf_dask.solvers.memories import MEMORIES, Sums
from bcnmf_dask.solvers.online import CONTRAST_STEPS, PASSES, PLAIN_STEPS, TRANSFORM, Online, default_batch, first_draw
from bcnmf_dask.updates.initialise import normalise
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.statistics import ROLES, Statistics

F, K = 6, 3


def make_solver(loss="frobenius", alpha=1.0, n_rows=None, batch_size=10, passes=2):
    n_rows = {"target": 60, "background": 40} if n_rows is None else n_rows
    return Online(loss, alpha, first_draw(n_rows, batch_size, seed=5, piece=4), passes)


def statistics(loss, seed):
    draw = np.random.default_rng(seed)
    usages = draw.random((20, K))
    moment = usages.T @ usages if loss == "frobenius" else usages.sum(axis=0)
    return Statistics(draw.random((F, K)) * 5, moment, 1.0)


def both(memory, basis, target, background, weight):
    pairs = zip(memory.terms(basis, target), memory.contrast(basis, background), strict=True)
    return [ours + weight * theirs for ours, theirs in pairs]


def basis_of(seed):
    return normalise(np.random.default_rng(seed).random((F, K)))[0]


@pytest.mark.parametrize(("n_rows", "rows"), [(50, 100), (30_000, 300), (10**6, 8192), (10**8, 8192)])
def test_batches_where_none_are_asked_for(n_rows, rows):
    assert default_batch(n_rows) == rows


def test_each_pass_draws_in_an_order_of_its_own_and_then_all_rows_are_swept():
    solver, draws = make_solver(), []
    while solver.draw is not None:
        assert solver.steps == CONTRAST_STEPS["frobenius"]
        draws.append(solver.draw)
        solver.next_basis(basis_of(0), {role: statistics("frobenius", len(draws)) for role in ROLES})
    assert [(draw.number, draw.of) for draw in draws] == [(number, 10) for number in range(10)] * 2
    assert len({draw.seed for draw in draws}) == 2
    assert (solver.steps, solver.done) == (TRANSFORM, False)
    kept = basis_of(1)
    assert solver.next_basis(kept, {}) is kept
    assert solver.done


@pytest.mark.parametrize("loss", MEMORIES)
def test_without_a_contrast_usages_are_fitted_closely(loss):
    assert make_solver(loss, alpha=0.0).steps == PLAIN_STEPS


@pytest.mark.parametrize("loss", MEMORIES)
def test_what_is_remembered_follows_the_scales_of_the_basis(loss):
    """The step is the same whether a component is large in the basis or in the usages."""
    memory, scales = MEMORIES[loss], np.array([0.5, 2.0, 7.0])
    basis, stats = basis_of(0), statistics(loss, 1)
    first, second = (memory.sums(role, basis, stats, 20) for role in ROLES)
    up, down = both(memory, basis, first, second, 1.5)
    rescaled = [memory.rescaled(role, sums, scales) for role, sums in zip(ROLES, (first, second), strict=True)]
    other_up, other_down = both(memory, basis / scales, *rescaled, 1.5)
    np.testing.assert_allclose(other_up / other_down, up / down, rtol=1e-12)


@pytest.mark.parametrize("loss", MEMORIES)
def test_at_the_basis_of_a_batch_the_step_is_the_published_one(loss):
    memory, basis = MEMORIES[loss], basis_of(0)
    target, background = statistics(loss, 1), statistics(loss, 2)
    sums = [memory.sums(role, basis, part, 20) for role, part in zip(ROLES, (target, background), strict=True)]
    up, down = both(memory, basis, *sums, 0.5)
    expected = LOSSES[loss].update_basis(basis, target, background, 0.5, 1.0)
    np.testing.assert_allclose(basis * up / down, expected, rtol=1e-8)


def test_sums_are_mixed_by_share():
    one, other = Sums(np.ones((F, K)), np.ones(K), 10.0), Sums(np.full((F, K), 3.0), np.zeros(K), 20.0)
    mixed = one.mixed(other, 0.25)
    assert (mixed.cross[0, 0], mixed.moment[0], mixed.n_rows) == (1.5, 0.75, 12.5)


@pytest.mark.parametrize("loss", MEMORIES)
def test_alpha_is_the_factor_of_the_sum_over_all_rows_however_roles_share_a_batch(loss):
    """All rows in one batch make the step of the whole sum, twice as many background rows no other."""
    steps = []
    for factor in (1, 2):
        solver = make_solver(loss, alpha=0.7, batch_size=100)
        solver._batches = 1
        background = Statistics(*(part * factor for part in statistics(loss, 2)))
        solver._remember(basis_of(0), {"target": statistics(loss, 1), "background": background}, solver.draw)
        sums = solver._sums["background"]
        solver._sums["background"] = sums._replace(n_rows=sums.n_rows * factor)
        steps.append(solver._ratio(basis_of(0), solver._sums["target"]))
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-12)
    expected = LOSSES[loss].update_basis(basis_of(0), statistics(loss, 1), statistics(loss, 2), 0.7, 0.5)
    np.testing.assert_allclose(basis_of(0) * steps[0], expected, rtol=1e-8)


@pytest.mark.parametrize("loss", MEMORIES)
def test_it_goes_on_from_its_state(loss):
    solver, other, basis = make_solver(loss), make_solver(loss), basis_of(0)
    for number in range(4):
        basis = solver.next_basis(basis, {role: statistics(loss, number) for role in ROLES})
    other.go_on(solver.state())
    assert other.draw == solver.draw
    last = {role: statistics(loss, 9) for role in ROLES}
    np.testing.assert_array_equal(other.next_basis(basis, last), solver.next_basis(basis, last))


@pytest.mark.parametrize("loss", MEMORIES)
@pytest.mark.parametrize("missing", ROLES)
def test_a_batch_without_a_role_is_taken(loss, missing):
    solver, basis = make_solver(loss), basis_of(0)
    for number in range(6):
        roles = [role for role in ROLES if number % 2 or role != missing]
        basis = solver.next_basis(basis, {role: statistics(loss, number) for role in roles})
    assert np.isfinite(basis).all()
    np.testing.assert_allclose(basis.sum(axis=0), 1.0)


@pytest.mark.parametrize("loss", MEMORIES)
@pytest.mark.parametrize("batch_size", [1, 7, 10**6])
def test_a_fit_passes_three_times_and_transforms_once(loss, batch_size):
    fitted = make(loss=loss, solver="online", batch_size=batch_size).fit(X[:40], background=Y[:20])
    assert (fitted.status_.word, fitted.converged_) == ("passed", True)
    assert fitted.history_.data_visits.iloc[-1] == PASSES + 1
    assert len(fitted.history_) == PASSES * -(-60 // batch_size) + 1
    assert np.isfinite(fitted.components_).all()
    assert fitted.target_usages_.shape == (40, fitted.n_components)


def test_fewer_background_rows_than_batches():
    fitted = make(solver="online", batch_size=2).fit(X, background=Y[:3])
    assert np.isfinite(fitted.components_).all()


def test_max_iter_limits_the_passes():
    assert make(solver="online", max_iter=1).fit(X, background=Y).history_.data_visits.iloc[-1] == 2


@pytest.mark.parametrize("loss", MEMORIES)
def test_without_a_contrast_it_comes_near_the_published_solver(loss):
    draw = np.random.default_rng(0)
    programs = draw.gamma(0.3, 1.0, (5, 40))
    rows = draw.poisson(draw.gamma(0.3, 2.0, (20_000, 5)) @ programs).astype(np.float32)
    rows = np.log1p(rows) if loss == "frobenius" else rows  # of raw counts a few cells are all of the squares
    published = BCNMF(5, 0.0, loss=loss, max_iter=200, tol=0).fit(rows)
    online = BCNMF(5, 0.0, loss=loss, solver="online").fit(rows)
    expected = published.history_.target_divergence.iloc[-1]
    assert online.history_.target_divergence.iloc[-1] <= 1.03 * expected


def test_a_callback_ends_it_with_usages_that_match_the_components():
    whole = make(solver="online", batch_size=10).fit(X, background=Y)
    stopped = make(solver="online", batch_size=10).fit(X, background=Y, callbacks=[lambda one: one.data_visits >= 2])
    assert (stopped.status_.word, stopped.history_.data_visits.iloc[-1]) == ("stopped", 3)
    divergences = [fitted.result_.divergences.target for fitted in (stopped, whole)]
    assert divergences[0] < 1.5 * divergences[1]


@pytest.mark.parametrize("loss", MEMORIES)
def test_features_that_are_zero_everywhere_stay_zero(loss):
    rows, others = X.copy(), Y.copy()
    rows[:, 3], others[:, 3] = 0, 0
    fitted = make(loss=loss, solver="online").fit(rows, background=others)
    assert not fitted.components_[:, 3].any()
    assert fitted.components_[:, [0, 1, 2]].any()


def test_a_component_given_as_zero_stays_zero():
    components = np.random.default_rng(0).random((3, X.shape[1]))
    components[1] = 0
    fitted = make(solver="online", init={"components": components}).fit(X, background=Y)
    assert fitted.components_.any(axis=1).tolist() == [True, False, True]


def test_a_transform_after_one_pass_is_not_cut_short():
    fitted = make(alpha=0.0, solver="online", max_iter=1).fit(X)
    left = [np.square(X - usages @ fitted.components_).sum() for usages in (fitted.transform(X), fitted.target_usages_)]
    assert left[0] <= left[1]
