"""`run_fits` on an engine that only tells what it was told: divergences are scripted, solvers are played."""

from dataclasses import asdict, dataclass, field

import numpy as np
import pytest

from bcnmf_dask.engine.base import FitSpec, Times
from bcnmf_dask.errors import NumericalError
from bcnmf_dask.fitting.loop import FITTED, FitProgress, objective, run_fits
from bcnmf_dask.fitting.stopping import Convergence
from bcnmf_dask.results.record import HISTORY_COLUMNS
from bcnmf_dask.solvers.base import Solver
from bcnmf_dask.solvers.published import FixedBasis, Published
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.statistics import Optimality, Statistics

F, K = 4, 2


@dataclass
class ScriptedEngine:
    """Gives the divergences of a script, sweep by sweep, for every fit; keeps what it was asked."""

    target: object = 5.0
    background: object = 3.0
    asked: list = field(default_factory=list)

    def sweep(self, orders):
        self.asked.append([(order.key, order.stamp) for order in orders])
        return [self._record(order.stamp) for order in orders], Times(0.2, 0.1, 0.03, 0.05)

    def _record(self, stamp):
        script = {"target": self.target, "background": self.background}
        return {
            role: statistics(divergence(stamp) if callable(divergence) else divergence)
            for role, divergence in script.items()
            if divergence is not None
        }


def statistics(divergence):
    """Statistics whose Frobenius divergence is ``divergence`` at any basis."""
    return Statistics(np.zeros((F, K)), np.zeros((K, K)), divergence)


@dataclass
class Played(Solver):
    """A solver that gives one basis after the other."""

    bases: list
    steps = Steps(1, 1.0)

    def next_basis(self, basis, record):
        return self.bases.pop(0)


@dataclass
class Quiet(Solver):
    """A solver whose basis stays, as if it had converged."""

    steps = Steps(1, 1.0)

    def next_basis(self, basis, record):
        return basis


def make_fit(key="fit", max_iter=5, tol=0.0, alpha=2.0, solver=None):
    basis = np.full((F, K), 1 / F)
    spec = FitSpec(key, "frobenius", K, 0)
    return FitProgress(spec, solver or Quiet(), alpha, max_iter, Convergence(tol, "float64"), basis, np.ones(K))


def test_a_fit_ends_at_max_iter_and_says_what_to_try():
    fit, engine = make_fit(max_iter=4, solver=Published("frobenius", 0.0, 1.0)), ScriptedEngine()
    run_fits(engine, [fit], [])
    assert engine.asked == [[("fit", 0)], [("fit", 1)], [("fit", 2)], [("fit", 3)]]
    assert fit.status.word == "max_iter"
    assert not fit.status.converged
    assert "raise max_iter" in fit.status.sentence


def test_new_rows_that_were_not_solved_speak_of_their_usages():
    fit = make_fit(solver=FixedBasis())
    fit.status, fit.scales = FITTED, np.full(K, 2.0)
    fit.refitted({"target": Optimality(9, 20, 0, 4, 1e-9)})
    assert fit.status.converged
    np.testing.assert_array_equal(fit.scales, 1.0)
    assert fit.stamp == 1
    fit.refitted({"target": Optimality(9, 20, 3, 4, 2e-4)})
    assert fit.status.word == "unfinished"
    assert not fit.status.converged
    assert "usages of 3 rows did not get to their minimum (largest residual 2.0e-04)" in fit.status.sentence


def test_a_quiet_fit_converges():
    fit = make_fit(max_iter=100, tol=1e-3)
    run_fits(ScriptedEngine(), [fit], [])
    assert len(fit.history) == 11
    assert fit.status.word == "converged"
    assert fit.status.converged


def test_converging_at_the_last_sweep_is_converging():
    fit = make_fit(max_iter=11, tol=1e-3)
    run_fits(ScriptedEngine(), [fit], [])
    assert fit.status.word == "converged"


def test_fits_end_at_their_own_sweeps_and_the_others_go_on():
    fits, engine = [make_fit("a", 2), make_fit("b", 4), make_fit("c", 1)], ScriptedEngine()
    run_fits(engine, fits, [])
    assert [len(fit.history) for fit in fits] == [2, 4, 1]
    assert engine.asked == [
        [("a", 0), ("b", 0), ("c", 0)],
        [("a", 1), ("b", 1)],
        [("b", 2)],
        [("b", 3)],
    ]


def test_no_fits_need_no_sweep():
    engine = ScriptedEngine()
    run_fits(engine, [], [])
    assert engine.asked == []


def test_history_has_the_columns_of_a_result():
    fit = make_fit(max_iter=3, alpha=2.0)
    run_fits(ScriptedEngine(target=lambda stamp: 10.0 - stamp, background=lambda stamp: 4.0 + stamp), [fit], [])
    assert [tuple(asdict(swept)) for swept in fit.history] == [HISTORY_COLUMNS] * 3
    assert [swept.iteration for swept in fit.history] == [1, 2, 3]
    assert [swept.target_divergence for swept in fit.history] == [10.0, 9.0, 8.0]
    assert [swept.background_divergence for swept in fit.history] == [4.0, 5.0, 6.0]
    assert [swept.objective for swept in fit.history] == [2.0, -1.0, -4.0]
    assert all(swept.seconds >= 0 for swept in fit.history)


def test_history_without_background():
    fit = make_fit(max_iter=1, alpha=0.0)
    run_fits(ScriptedEngine(background=None), [fit], [])
    assert np.isnan(fit.history[0].background_divergence)
    assert fit.history[0].objective == 5.0


def test_the_basis_is_normalised_and_its_change_measured():
    before = np.full((F, K), 1 / F)
    given = np.array([[4.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    fit = make_fit(max_iter=1, solver=Played([given]))
    run_fits(ScriptedEngine(), [fit], [])
    np.testing.assert_array_equal(fit.basis, given / [8.0, 2.0])
    np.testing.assert_array_equal(fit.scales, [8.0, 2.0])
    change = np.linalg.norm(fit.basis - before) / np.linalg.norm(before)
    assert fit.history[0].basis_change == pytest.approx(change)


def test_scaling_the_basis_alone_is_no_change():
    fit = make_fit(max_iter=1, solver=Played([np.full((F, K), 7.0)]))
    run_fits(ScriptedEngine(), [fit], [])
    assert fit.history[0].basis_change == 0.0


def test_the_next_order_carries_basis_scales_and_stamp_of_the_last_sweep():
    fit = make_fit(max_iter=1, solver=Played([np.full((F, K), 7.0)]))
    run_fits(ScriptedEngine(), [fit], [])
    order = fit.order()
    assert (order.key, order.stamp) == ("fit", 1)
    np.testing.assert_array_equal(order.basis, np.full((F, K), 1 / F))
    np.testing.assert_array_equal(order.scales, [28.0, 28.0])


def test_the_basis_keeps_the_dtype_of_the_run():
    fit = make_fit(max_iter=1, solver=Played([np.full((F, K), 1 / 3)]))
    fit.basis = fit.basis.astype(np.float32)
    run_fits(ScriptedEngine(), [fit], [])
    assert fit.basis.dtype == np.float32
    assert fit.scales.dtype == np.float64


def test_a_callback_ends_a_fit_cleanly():
    fit, seen = make_fit(max_iter=50), []
    run_fits(ScriptedEngine(), [fit], [lambda swept: seen.append(swept) or swept.iteration == 3])
    assert fit.status.word == "stopped"
    assert not fit.status.converged
    assert seen == fit.history
    assert len(seen) == 3


def test_every_callback_sees_every_sweep():
    fit, seen = make_fit(max_iter=50), []
    run_fits(ScriptedEngine(), [fit], [lambda swept: swept.iteration == 2, lambda swept: seen.append(swept)])
    assert len(seen) == len(fit.history) == 2


def test_a_callback_cannot_hide_that_a_fit_converged():
    fit = make_fit(max_iter=50, tol=1e-3)
    run_fits(ScriptedEngine(), [fit], [lambda swept: swept.iteration == 11])
    assert fit.status.word == "converged"


def test_an_error_of_a_callback_comes_through():
    def fail(swept):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_fits(ScriptedEngine(), [make_fit()], [fail])


@pytest.mark.parametrize("side", ["target", "background"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_divergences_are_refused_with_the_sweep_and_the_repair(side, value):
    engine = ScriptedEngine(**{side: lambda stamp: value if stamp == 2 else 1.0})
    with pytest.raises(NumericalError, match=r"at sweep 3\..*dtype='float64', damping=0\.5, a smaller alpha"):
        run_fits(engine, [make_fit()], [])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_basis_is_refused(value):
    broken = np.full((F, K), 1.0)
    broken[0, 0] = value
    with pytest.raises(NumericalError, match="at sweep 1"):
        run_fits(ScriptedEngine(), [make_fit(solver=Played([broken]))], [])


def test_a_basis_of_zeros_stays_and_does_not_raise():
    fit = make_fit(max_iter=2, solver=Played([np.zeros((F, K))] * 2))
    run_fits(ScriptedEngine(), [fit], [])
    assert not fit.basis.any()
    assert fit.history[1].basis_change == 0.0


def test_objective():
    assert objective({"target": 7.0, "background": 2.0}, 3.0) == 1.0
    assert objective({"target": 7.0}, 0.0) == 7.0
