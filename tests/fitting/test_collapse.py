"""The definition: median effective features below 3, or usages of all components correlated above 0.99."""

import numpy as np
import pytest

from bcnmf_dask.fitting.stopping import collapse, effective_features
from bcnmf_dask.updates.statistics import Evaluation

N, WIDTH = 500, 20


def described(usages):
    return {"target": Evaluation(0.0, usages.sum(axis=0), usages.T @ usages)}


def spread(*n_features, width=WIDTH):
    """Components that are uniform over so many features each."""
    components = np.zeros((len(n_features), width))
    for row, count in zip(components, n_features, strict=True):
        row[:count] = 1 / count if count else 0
    return components


def independent(k):
    return np.random.default_rng(0).random((N, k))


def correlated(k, noise):
    draw = np.random.default_rng(1)
    return draw.random((N, 1)) * np.arange(1, k + 1) + noise * draw.random((N, k))


def test_effective_features_of_a_uniform_component_is_its_width():
    np.testing.assert_allclose(effective_features(spread(1, 2, 7, 20, 0)), [1, 2, 7, 20, 0], rtol=1e-12)


def test_effective_features_is_the_exponential_of_the_entropy():
    weights = np.array([[0.5, 0.25, 0.25, 0.0]])
    np.testing.assert_allclose(effective_features(weights), [2**1.5])
    np.testing.assert_allclose(effective_features(weights.astype(np.float32)), [2**1.5])


def test_a_sound_fit_has_not_collapsed():
    assert collapse(spread(5, 5, 5), described(independent(3)), N, WIDTH) is None


@pytest.mark.parametrize("widths", [(2, 2, 9), (1, 1, 1), (2, 2), (0, 2, 2)])
def test_half_of_the_components_on_few_features_is_a_collapse(widths):
    found = collapse(spread(*widths), described(independent(len(widths))), N, WIDTH)
    assert "rest on" in found
    assert "features" in found


@pytest.mark.parametrize("widths", [(4, 4, 4), (2, 4, 4), (1, 1, 5, 5, 5), (1, 6)])
def test_above_a_median_of_three_it_is_not(widths):
    assert collapse(spread(*widths), described(independent(len(widths))), N, WIDTH) is None


def test_the_words_are_true():
    """Components of exactly one feature do not rest on one."""
    words = collapse(spread(1, 1, 1), described(independent(3)), N, WIDTH)
    assert "fewer than 1.0 " not in words


def test_usages_that_rise_and_fall_together_are_a_collapse():
    found = collapse(spread(5, 5, 5), described(correlated(3, noise=0.01)), N, WIDTH)
    assert "together" in found


def test_usages_that_correlate_less_are_not():
    usages = correlated(3, noise=0.4)
    smallest = np.corrcoef(usages.T).min()
    assert 0.5 < smallest < 0.99
    assert collapse(spread(5, 5, 5), described(usages), N, WIDTH) is None


def test_one_component_of_its_own_is_enough_to_be_sound():
    usages = np.hstack([correlated(3, noise=0.0), independent(1)])
    assert collapse(spread(5, 5, 5, 5), described(usages), N, WIDTH) is None


def test_dead_components_do_not_hide_a_collapse():
    usages = correlated(4, noise=0.001)
    usages[:, 1] = 0
    assert "together" in collapse(spread(5, 5, 5, 5), described(usages), N, WIDTH)


def test_a_constant_usage_correlates_with_nothing():
    usages = correlated(3, noise=0.001)
    usages[:, 0] = 2.0
    assert "together" in collapse(spread(5, 5, 5), described(usages), N, WIDTH)
    assert collapse(spread(5, 5), described(usages[:, :2]), N, WIDTH) is None


def test_one_component_cannot_correlate_with_itself():
    assert collapse(spread(5), described(independent(1)), N, WIDTH) is None
    assert collapse(spread(2), described(independent(1)), N, WIDTH) is not None


def test_no_signal_at_all_is_a_collapse_and_no_warning():
    assert collapse(spread(0, 0), described(np.zeros((N, 2))), N, WIDTH) is not None


def test_only_the_target_counts():
    sides = described(independent(2)) | {"background": described(correlated(2, noise=0.0))["target"]}
    assert collapse(spread(5, 5), sides, N, WIDTH) is None


def test_of_few_features_less_than_a_quarter_is_few():
    rest_on_two = spread(2, 2, 2)
    assert collapse(rest_on_two, described(independent(3)), N, 8) is None
    assert "rest on 2.0 features" in collapse(rest_on_two, described(independent(3)), N, 9)
    assert collapse(spread(1, 1), described(independent(2)), N, 4) is None


def test_zero_components_are_a_collapse_of_any_data():
    assert "zero" in collapse(spread(0, 0, 1), described(independent(3)), N, 1)


def test_huge_usages_are_not_judged_and_do_not_warn():
    assert collapse(spread(5, 5), described(1e152 * correlated(2, noise=0.0)), N, WIDTH) is None
