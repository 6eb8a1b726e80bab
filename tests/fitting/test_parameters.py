"""Parameters out of range are refused in words: the name, what came, what is expected."""

import json

import numpy as np
import pytest

from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting.parameters import check_parameter


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("n_components", 0, r"n_components: got 0\. Expected a whole number of at least 1"),
        ("n_components", 2.0, r"n_components: got 2\.0"),
        ("n_components", True, r"n_components: got True"),
        ("n_components", "3", r"n_components: got '3'"),
        ("alpha", -0.1, r"alpha: got -0\.1\. Expected a finite number of at least 0"),
        ("alpha", np.inf, r"alpha: got inf"),
        ("alpha", np.nan, r"alpha: got nan"),
        ("alpha", None, r"alpha: got None"),
        ("alpha", True, r"alpha: got True"),
        ("weighting", "median", r"weighting: got 'median'\. Expected one of 'deviance', 'mean', 'sum'"),
        ("loss", "hinge", r"loss: got 'hinge'\. Expected one of 'frobenius', 'kullback-leibler' .*: kl, poisson, sse"),
        ("loss", ["frobenius"], r"loss: got \['frobenius'\]"),
        ("damping", 0, r"damping: got 0\. Expected a number in \(0, 1\], or None"),
        ("damping", 1.01, r"damping: got 1\.01"),
        ("damping", np.nan, r"damping: got nan"),
        ("max_iter", 0, r"max_iter: got 0\. Expected a whole number of at least 1"),
        ("max_iter", 1e3, r"max_iter: got 1000\.0"),
        ("tol", -1e-9, r"tol: got -1e-09\. Expected a finite number of at least 0"),
        ("tol", "1e-3", r"tol: got '1e-3'"),
        ("seed", -1, r"random_state: got -1\. Expected a whole number of at least 0"),
        ("seed", 0.5, r"random_state: got 0\.5"),
        ("start", "nndsvd", r"init: got 'nndsvd'\. Expected a mapping"),
        ("start", {"W": 1}, r"init: got \['W'\]\. Expected a mapping with any of 'components'"),
        ("batch_size", 0, r"batch_size: got 0\. Expected a whole number of rows, at least 1, or None"),
        ("batch_size", 100, r"batch_size: got 100, but solver='published' .*set solver='online', or leave batch_size"),
    ],
)
def test_settings_out_of_range(make_settings, name, value, match):
    with pytest.raises(InputError, match=match):
        make_settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("dtype", "float16", r"dtype: got 'float16'\. Expected one of 'float32', 'float64'"),
        ("dtype", np.float32, r"dtype: got <class"),
        ("solver", "hals", r"solver: got 'hals'\. Expected one of 'published'"),
    ],
)
def test_parameters_of_the_run_out_of_range(name, value, match):
    with pytest.raises(InputError, match=match):
        check_parameter(name, value)


def test_batches_are_for_the_online_solver_alone(make_settings):
    assert make_settings(solver="online", batch_size=100).described()["batch_size"] == 100
    with pytest.raises(InputError, match=r"batch_size: got 7, but solver='accelerated'"):
        make_settings(solver="accelerated", batch_size=7)


@pytest.mark.parametrize(
    "given",
    [
        {"n_components": np.int64(1)},
        {"alpha": 0},
        {"alpha": np.float32(2.5)},
        {"damping": 1},
        {"damping": 1e-3},
        {"max_iter": np.int32(1)},
        {"tol": 0},
        {"seed": np.uint32(7)},
        {"seed": 2**70},
        {"start": {}},
    ],
)
def test_settings_in_range_can_be_described_as_json(make_settings, given):
    described = make_settings(**given).described()
    assert json.loads(json.dumps(described)) == described
    shown = {"seed": "random_state", "start": "init"}
    for name, value in given.items():
        assert described[shown.get(name, name)] == (value or ("random" if name == "start" else value))


def test_the_mean_weighting_counts_rows_and_the_sum_does_not(make_settings, both_sides, target_alone):
    assert make_settings(alpha=3.0, weighting="mean").effective_alpha(both_sides) == 3.0 * 40 / 20
    assert make_settings(alpha=3.0, weighting="sum").effective_alpha(both_sides) == 3.0
    assert make_settings(alpha=0.0).effective_alpha(target_alone) == 0.0


@pytest.mark.parametrize(("loss", "default"), [("frobenius", 1.0), ("kullback-leibler", 0.5)])
def test_damping_defaults_to_that_of_the_loss(make_settings, loss, default):
    assert make_settings(loss=loss).effective_damping() == default
    assert make_settings(loss=loss, damping=0.25).effective_damping() == 0.25


def test_more_components_than_features_or_rows_are_refused(make_settings, both_sides):
    with pytest.raises(InputError, match=r"n_components: got 9, with 8 features and 40 target rows.*at most 8"):
        make_settings(n_components=9).check_against(both_sides)
    make_settings(n_components=8).check_against(both_sides)


def test_a_contrast_needs_a_background(make_settings, target_alone):
    with pytest.raises(InputError, match=r"background: none given, but alpha=1.*set alpha=0 for plain NMF"):
        make_settings(alpha=1.0).check_against(target_alone)
    make_settings(alpha=0.0).check_against(target_alone)


@pytest.mark.parametrize(
    ("start", "match"),
    [
        ({"components": np.ones((8, 3))}, r"init: 'components' has shape \(8, 3\)\. Expected \(3, 8\)"),
        ({"target_usages": np.ones((3, 40))}, r"init: 'target_usages' has shape \(3, 40\)\. Expected \(40, 3\)"),
        ({"background_usages": np.ones((40, 3))}, r"'background_usages'.*Expected \(20, 3\)"),
        ({"components": -np.ones((3, 8))}, r"init: 'components' has negative or non-finite values"),
        ({"target_usages": np.full((40, 3), np.nan)}, r"init: 'target_usages' has negative or non-finite"),
    ],
)
def test_start_arrays_that_do_not_fit_are_refused(make_settings, both_sides, start, match):
    with pytest.raises(InputError, match=match):
        make_settings(start=start).check_against(both_sides)


def test_start_usages_of_a_background_that_is_not_there_are_refused(make_settings, target_alone):
    with pytest.raises(InputError, match=r"init: 'background_usages' was given without a background"):
        make_settings(alpha=0.0, start={"background_usages": np.ones((20, 3))}).check_against(target_alone)


def test_only_the_names_of_start_arrays_are_kept(make_settings):
    start = {"target_usages": np.ones((40, 3)), "components": np.ones((3, 8))}
    assert make_settings(start=start).described()["init"] == ["components", "target_usages"]


def test_the_start_basis_is_normalised_and_its_scales_given(make_settings):
    components = np.arange(1.0, 25.0).reshape(3, 8)
    basis, scales = make_settings(start={"components": components}).start_basis(8)
    np.testing.assert_allclose(basis.sum(axis=0), 1.0)
    np.testing.assert_array_equal(scales, components.sum(axis=1))
    np.testing.assert_allclose(basis * scales, components.T)
