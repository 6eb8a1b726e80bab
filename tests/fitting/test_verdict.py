"""The words for a collapse name the cause that the data shows, and alpha only where it shows none."""

import numpy as np
import pytest

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import DataWarning
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.profiles import Surroundings


def status(target, settings, background=None, **given):
    (result,) = factorize(read_inputs(target, background), [settings], dtype="float64", client=False, **given)
    return result.status


def noise(n_rows, n_features, seed=0):
    return np.random.default_rng(seed).random((n_rows, n_features)) + 0.1


@pytest.fixture
def two_of_many():
    """Most of the signal on two features of 20: no component can rest on three."""
    rows = 1e-3 * noise(60, 20)
    rows[:, :2] = noise(60, 2)
    return rows


def test_without_a_cause_in_the_data_it_is_the_parameters(two_of_many, make_settings):
    plain = status(two_of_many, make_settings(alpha=0.0, n_components=2))
    assert plain.word == "collapsed"
    assert not plain.converged
    assert plain.sentence.endswith("; ask for fewer components.")
    with pytest.warns(DataWarning, match="rows with the same values are on both sides"):  # rightly
        contrasted = status(two_of_many, make_settings(alpha=0.1, n_components=2), two_of_many[:30])
    assert contrasted.word == "collapsed"
    assert "alpha is probably too large" in contrasted.sentence


def test_a_collapsed_fit_may_have_converged(two_of_many, make_settings):
    ended = status(two_of_many, make_settings(alpha=0.0, n_components=2, max_iter=2000, tol=1e-2))
    assert ended.word == "collapsed"
    assert ended.converged


@pytest.mark.parametrize("n_features", [2, 3, 8])
def test_few_features_alone_are_no_collapse(make_settings, n_features):
    ended = status(noise(60, n_features), make_settings(alpha=0.1, n_components=2), noise(30, n_features))
    assert ended.word == "max_iter"


def test_a_collapse_of_few_features_says_so(make_settings):
    rows = 1e-3 * noise(60, 10)
    rows[:, :2] = noise(60, 2)
    ended = status(rows, make_settings(n_components=2, alpha=0.1), rows[:30])
    assert ended.word == "collapsed"
    assert "only 10 features have a positive value, which are few for 2 components" in ended.sentence
    assert "alpha" not in ended.sentence


def test_a_target_without_signal_says_so(make_settings):
    ended = status(np.zeros((20, 15)), make_settings(), noise(30, 15))
    assert ended.word == "collapsed"
    assert "the target has no signal, as all its values are zero" in ended.sentence
    assert "alpha" not in ended.sentence


def test_a_dominating_value_is_named(make_settings):
    rows = noise(60, 20)
    rows[7, 3] = 2e6
    with pytest.warns(DataWarning, match="target: its rows sum to"):  # rightly: that value alone makes the difference
        ended = status(rows, make_settings(n_components=1, alpha=0.1), noise(30, 20, seed=1))
    assert ended.word == "collapsed"
    assert "one value (2e+06) makes up 100% of the sum of squares" in ended.sentence
    assert "alpha" not in ended.sentence


def test_new_rows_cannot_collapse_a_basis_that_is_kept(make_settings):
    """Usages of two rows are always correlated, by 1 or by -1."""
    rows = np.outer([1.0, 2.0], noise(1, 20))
    start = {"components": noise(3, 20)}
    ended = status(rows, make_settings(alpha=0.0, start=start), fixed=Surroundings(np.full(20, 0.05), None))
    assert ended.word == "fitted"
    assert ended.converged
