import numpy as np
import pytest

from bcnmf_dask.fitting.stopping import PATIENCE, Convergence, SweepRecord

TOL = 1e-3


def record(target=100.0, background=50.0, change=0.0):
    return SweepRecord(1, 1.0, target, background, target - background, change, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0)


def first_reached(tol, records, dtype="float64"):
    """The number of the sweep, from 1, at which a fit has converged; None if it never has."""
    convergence = Convergence(tol, dtype)
    return next((i for i, one in enumerate(records, 1) if convergence.reached(one)), None)


def test_patience_is_that_of_the_design():
    assert PATIENCE == 10


def test_ten_quiet_sweeps_after_the_first_converge():
    """The first sweep has nothing to be compared with."""
    assert first_reached(TOL, [record()] * 50) == 11


def test_it_stays_converged():
    convergence = Convergence(TOL, "float64")
    assert [convergence.reached(record()) for _ in range(13)] == [False] * 10 + [True] * 3


@pytest.mark.parametrize(
    "loud",
    [
        record(change=2e-3),
        record(target=101.0),
        record(target=99.0),
        record(background=50.2),
        record(background=49.8),
    ],
)
def test_one_loud_sweep_starts_the_count_again(loud):
    records = [record()] * 10 + [loud] + [loud_after(loud)] * 50
    assert first_reached(TOL, records) == 21


def loud_after(loud):
    """A record as quiet as can be after ``loud``."""
    return record(loud.target_divergence, loud.background_divergence)


def test_changes_are_relative():
    slowly = [record(target=1e6 * (1 + 0.9e-3) ** i) for i in range(20)]
    faster = [record(target=1e-6 * (1 + 1.1e-3) ** i) for i in range(20)]
    assert first_reached(TOL, slowly) == 11
    assert first_reached(TOL, faster) is None


def test_a_tolerance_of_zero_never_converges():
    assert first_reached(0.0, [record()] * 1000) is None


def test_a_change_equal_to_the_tolerance_is_not_below_it():
    assert first_reached(TOL, [record(change=TOL)] * 50) is None
    assert first_reached(TOL, [record(change=np.nextafter(TOL, 0))] * 50) == 11


def test_without_background_only_the_target_counts():
    assert first_reached(TOL, [record(background=np.nan)] * 50) == 11


def test_divergences_of_zero_are_quiet():
    assert first_reached(TOL, [record(target=0.0, background=0.0)] * 50) == 11


def test_leaving_a_divergence_of_zero_is_loud():
    records = [record(target=0.0)] * 5 + [record(target=1e-9)] * 50
    assert first_reached(TOL, records) == 5 + 11


@pytest.mark.parametrize(("dtype", "share"), [("float64", 1e-16), ("float32", 1e-8)])
def test_rounding_errors_of_a_vanishing_divergence_are_quiet(dtype, share):
    draw = np.random.default_rng(0)
    noise = [record(target=100 * share * draw.random(), background=50 * share * draw.random()) for _ in range(30)]
    assert first_reached(TOL, [record(), *noise], dtype) == 12
    assert first_reached(TOL, noise, dtype) is None  # that began so small


def test_a_divergence_that_still_falls_is_loud():
    falling = [record(target=100 * 0.1**i) for i in range(13)]
    assert first_reached(TOL, falling) is None
