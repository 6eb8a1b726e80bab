"""Sums over a side, gathered as its rows are looked at, and the divergence from the model of rank one."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from problems import csr, make_problem, problems, with_zeros

from bcnmf_dask.data.findings import inspect
from bcnmf_dask.updates.moments import Moments, both, kullback_leibler_deviance, mean_profile

FORMS = {"dense": lambda rows: rows, "csr": csr, "float32": lambda rows: csr(rows, np.float32)}
WHOLE = {"int64": np.int64, "uint8": np.uint8}


def moments_of(rows):
    return inspect(rows, "target", 0).moments["target"]


def x_log_x(values):
    filled = values[values > 0]
    return float((filled * np.log(filled)).sum())


def plain(rows):
    return Moments(
        n_rows=len(rows),
        zero_rows=int((rows <= 0).all(axis=1).sum()),
        positive=int((rows > 0).sum()),
        fractional=int((rows % 1 != 0).sum()),
        total=rows.sum(),
        squares=(rows**2).sum(),
        value_logs=x_log_x(rows),
        row_logs=x_log_x(rows.sum(axis=1)),
        row_squares=(rows.sum(axis=1) ** 2).sum(),
        feature_sums=rows.sum(axis=0),
    )


def assert_close(ours, expected, rtol=1e-12):
    for name in Moments._fields:
        np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), rtol=rtol, atol=1e-12, err_msg=name)


def divergence_of_rank_one(rows):
    """From ``t s / N``, summed term by term."""
    model = rows.sum(axis=1, keepdims=True) * rows.sum(axis=0) / rows.sum()
    filled = rows > 0
    return float((rows[filled] * np.log(rows[filled] / model[filled])).sum() - rows.sum() + model.sum())


@pytest.mark.parametrize("form", FORMS)
@given(problem=problems)
def test_moments_are_those_of_plain_numpy(form, problem):
    assert_close(moments_of(FORMS[form](problem.target)), plain(problem.target))


@pytest.mark.parametrize("form", FORMS)
def test_zeros_and_fractions(form):
    rows = with_zeros(make_problem()).target
    rows[3:6] *= 0.25
    ours = moments_of(FORMS[form](rows))
    assert ours.zero_rows == 1
    assert ours.fractional > 0
    assert_close(ours, plain(rows))


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_in_a_type_of_their_own(dtype):
    rows = with_zeros(make_problem(n=300, f=40)).target
    held = rows.astype(WHOLE[dtype])
    for form in (held, sp.csr_array(held)):
        assert_close(moments_of(form), plain(rows))


def test_stored_zeros_add_nothing():
    rows = make_problem(n=30, f=11).target
    stored = sp.csr_array((rows.ravel(), np.tile(np.arange(11), 30), np.arange(31) * 11), shape=rows.shape)
    assert (stored.data == 0).any()
    assert_close(moments_of(stored), plain(rows))


def test_wide_values_keep_their_logarithms():
    rows = 10.0 ** np.random.default_rng(0).uniform(-12, 12, (50, 30))
    assert_close(moments_of(rows), plain(rows))
    np.testing.assert_allclose(kullback_leibler_deviance(moments_of(rows)), divergence_of_rank_one(rows), rtol=1e-9)


def test_both_adds_every_part_and_changes_neither():
    rows = make_problem(n=20).target
    left, right = moments_of(rows[:8]), moments_of(rows[8:])
    before = left.feature_sums.copy(), right.feature_sums.copy()
    assert_close(both(left, right), plain(rows))
    np.testing.assert_array_equal((left.feature_sums, right.feature_sums), before)


@given(problem=problems)
def test_the_deviance_is_the_divergence_from_the_best_model_of_rank_one(problem):
    rows = problem.target
    ours = kullback_leibler_deviance(moments_of(csr(rows)))
    expected = divergence_of_rank_one(rows) if rows.any() else 0.0
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9 * (rows.sum() + 1))


def test_rows_of_one_profile_have_no_deviance():
    rows = np.outer([1.0, 5.0, 0.0, 2.0], [3.0, 0.0, 1.0, 7.0])
    assert 0.0 <= kullback_leibler_deviance(moments_of(rows)) < 1e-12 * rows.sum() * np.log(rows.sum())
    assert kullback_leibler_deviance(moments_of(np.zeros((3, 4)))) == 0.0


def test_the_mean_profile_is_the_mean_row():
    rows = make_problem(n=20).target
    np.testing.assert_allclose(mean_profile(moments_of(csr(rows))), rows.mean(axis=0), rtol=1e-12)
