"""When a fit has collapsed, when that is in doubt, when nothing specific was found, and when components repeat."""

import numpy as np
import pytest

from bcnmf_dask.fitting.collapse import (
    BOUNDS,
    Statistics,
    distinct,
    explained,
    judge,
    rare_features,
    statistics_of,
)
from bcnmf_dask.results.summary import effective_features
from bcnmf_dask.updates.coverage import cover
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.statistics import Evaluation

N, WIDTH = 500, 200
SOUND = Statistics(40.0, 0.0, 0.1, 0.5, 0.1, 4)

both_losses = pytest.mark.parametrize("loss", sorted(LOSSES))


def evaluated(usages, width=WIDTH, sums=None, rows=None, overlap=1.0):
    sums = np.ones(width) if sums is None else sums
    rows = np.full(width, float(N)) if rows is None else rows
    k = usages.shape[1]
    closing = np.zeros(k + 1), np.zeros(k)
    return Evaluation(0.0, usages.sum(axis=0), usages.T @ usages, overlap, sums, rows, *closing)


def spread(*n_features, width=WIDTH):
    """Components that are uniform over so many features each, which begin at different places."""
    components = np.zeros((len(n_features), width))
    for number, (row, count) in enumerate(zip(components, n_features, strict=True)):
        row[number : number + count] = 1 / count if count else 0
    return components


def independent(k):
    return np.random.default_rng(0).random((N, k))


def correlated(k, noise):
    draw = np.random.default_rng(1)
    return draw.random((N, 1)) * np.arange(1, k + 1) + noise * draw.random((N, k))


def verdict(components, usages, loss="kullback-leibler", n_features=WIDTH):
    found = statistics_of(components, {"target": evaluated(usages, components.shape[1])}, {"target": N})
    return judge(found, len(components), n_features, loss, contrasted=False)


def said(loss="kullback-leibler", n_features=WIDTH, contrasted=True, n_components=4, **changed):
    return judge(Statistics(**{**vars(SOUND), **changed}), n_components, n_features, loss, contrasted)


def test_effective_features_of_a_uniform_component_is_its_width():
    np.testing.assert_allclose(effective_features(spread(1, 2, 7, 20, 0)), [1, 2, 7, 20, 0], rtol=1e-12)


def test_effective_features_is_the_exponential_of_the_entropy():
    weights = np.array([[0.5, 0.25, 0.25, 0.0]])
    np.testing.assert_allclose(effective_features(weights), [2**1.5])
    np.testing.assert_allclose(effective_features(weights.astype(np.float32)), [2**1.5])


@both_losses
def test_a_sound_fit_has_not_collapsed_and_nothing_is_said_of_it(loss):
    judged = said(loss)
    assert judged.collapsed is None
    assert judged.remarks == ()


@both_losses
def test_below_its_bound_a_loss_has_collapsed(loss):
    bound = BOUNDS[loss].collapsed
    assert "rest on" in said(loss, effective_features=0.99 * bound).collapsed
    assert said(loss, effective_features=1.01 * bound).collapsed is None


def test_between_two_bounds_a_collapse_is_in_doubt_and_the_number_is_told():
    judged = said(effective_features=4.2)
    assert judged.collapsed is None
    (remark,) = judged.remarks
    assert "doubtful" in remark
    assert "4.2 features" in remark
    assert "smaller alpha" in remark


def test_without_a_contrast_no_smaller_alpha_is_advised():
    (remark,) = said(effective_features=4.2, contrasted=False).remarks
    assert "doubtful" in remark
    assert "alpha" not in remark
    assert "fewer components" in remark


@pytest.mark.parametrize("widths", [(2, 2, 30), (1, 1, 1), (2, 2), (0, 2, 2)])
def test_half_of_the_components_on_few_features_is_a_collapse(widths):
    assert "rest on" in verdict(spread(*widths), independent(len(widths))).collapsed


@pytest.mark.parametrize("widths", [(6, 6, 6), (2, 6, 6), (1, 1, 6, 6, 6), (1, 12)])
def test_half_of_the_components_on_more_is_none(widths):
    assert verdict(spread(*widths), independent(len(widths))).collapsed is None


def test_the_words_are_true():
    """Components of exactly one feature do not rest on fewer than one."""
    assert "fewer than 1.0 " not in verdict(spread(1, 1, 1), independent(3)).collapsed


@pytest.mark.parametrize(
    ("n_features", "bound"), [(4, 1.0), (8, 2.0), (12, 3.0), (20, 3.0), (100, 15.0), (10**4, 20.0)]
)
def test_of_few_features_fewer_are_enough(n_features, bound):
    assert said("frobenius", n_features, effective_features=bound - 0.01).collapsed is not None
    assert said("frobenius", n_features, effective_features=bound + 0.01).collapsed is None


def test_zero_components_are_a_collapse_of_any_data():
    assert "zero" in verdict(spread(0, 0, 1), independent(3), n_features=1).collapsed
    assert "zero" in verdict(spread(0, 0), np.zeros((N, 2))).collapsed


def test_usages_that_rise_and_fall_together_are_a_collapse():
    assert "together" in verdict(spread(9, 9, 9), correlated(3, noise=0.01)).collapsed


def test_usages_that_correlate_less_are_not():
    usages = correlated(3, noise=0.4)
    assert 0.5 < np.corrcoef(usages.T).min() < 0.99
    assert verdict(spread(9, 9, 9), usages).collapsed is None


def test_the_smallest_correlation_is_that_of_the_usages():
    usages = correlated(4, noise=0.7)
    found = statistics_of(spread(9, 9, 9, 9), {"target": evaluated(usages)}, {"target": N})
    assert found.smallest_correlation == pytest.approx(np.corrcoef(usages.T).min(), rel=1e-10)


def test_one_component_of_its_own_is_enough_to_be_sound():
    usages = np.hstack([correlated(3, noise=0.0), independent(1)])
    assert verdict(spread(9, 9, 9, 9), usages).collapsed is None


def test_dead_components_do_not_hide_a_collapse():
    usages = correlated(4, noise=0.001)
    usages[:, 1] = 0
    assert "together" in verdict(spread(9, 9, 9, 9), usages).collapsed


def test_a_constant_usage_correlates_with_nothing():
    usages = correlated(3, noise=0.001)
    usages[:, 0] = 2.0
    assert "together" in verdict(spread(9, 9, 9), usages).collapsed
    assert verdict(spread(9, 9), usages[:, :2]).collapsed is None


def test_one_component_cannot_correlate_with_itself():
    assert verdict(spread(9), independent(1)).collapsed is None
    assert verdict(spread(2), independent(1)).collapsed is not None


def test_huge_usages_are_not_judged_and_do_not_warn():
    assert verdict(spread(9, 9), 1e152 * correlated(2, noise=0.0)).collapsed is None


def test_features_are_rare_against_the_rows_that_have_the_features_of_most_values():
    rows = np.array([400.0, 300.0, 19.0, 15.0, 0.0])
    sums = np.array([700.0, 300.0, 19.0, 15.0, 0.0])
    usual = (sums @ rows) / sums.sum()
    found = rare_features(evaluated(independent(1), 5, sums, rows), N)
    np.testing.assert_array_equal(found, rows < 0.05 * usual)
    np.testing.assert_array_equal(found, [False, False, False, True, True])


def test_no_feature_of_data_without_zeros_is_rare_and_none_of_data_without_values():
    assert not rare_features(evaluated(independent(1)), N).any()
    nothing = evaluated(independent(1), 3, np.zeros(3), np.zeros(3))
    assert not rare_features(nothing, N).any()


def test_weight_on_rare_features_is_a_collapse_of_components_of_many():
    components = spread(90, 90, 90)
    rows = np.full(WIDTH, float(N))
    rows[40:] = 2.0
    sums = np.where(rows > 2, 500.0, 2.0)
    found = statistics_of(components, {"target": evaluated(independent(3), sums=sums, rows=rows)}, {"target": N})
    assert found.rare_weight == pytest.approx(components[:, 40:].sum(axis=1).mean())
    assert "hardly any target row" in judge(found, 3, WIDTH, "kullback-leibler", contrasted=True).collapsed


def test_rare_features_that_explain_both_sides_alike_are_noise_and_no_collapse():
    judged = said(rare_weight=0.6, target_explained=0.12, background_explained=0.11)
    assert judged.collapsed is None
    assert "Nothing specific" in judged.remarks[0]


def test_both_sides_explained_alike_is_nothing_specific_and_the_shares_are_told():
    (remark,) = said(target_explained=0.52, background_explained=0.45).remarks
    assert "Nothing specific to the target" in remark
    assert "52.00%" in remark
    assert "45.00%" in remark
    assert said(target_explained=0.52, background_explained=0.45, contrasted=False).remarks == ()
    assert said(target_explained=0.52, background_explained=0.39).remarks == ()


def test_without_a_background_no_side_is_compared():
    assert said(background_explained=float("nan")).remarks == ()


def test_the_share_explained_is_that_of_dense_arithmetic():
    draw = np.random.default_rng(4)
    rows, usages, basis = draw.poisson(0.4, (30, 12)), draw.random((30, 3)), draw.random((12, 3))
    closing = np.zeros(usages.shape[1] + 1), np.zeros(usages.shape[1])
    side = Evaluation(0.0, usages.sum(axis=0), usages.T @ usages, *cover(rows, usages, basis), *closing)
    assert explained(side) == pytest.approx(np.minimum(rows, usages @ basis.T).sum() / rows.sum(), rel=1e-12)
    assert np.isnan(explained(evaluated(independent(1), 3, np.zeros(3), np.zeros(3), overlap=0.0)))


def test_copies_are_not_distinct_and_scale_does_not_matter():
    draw = np.random.default_rng(5)
    different = np.eye(4, 50) + 0.01 * draw.random((4, 50))
    copies = np.vstack([different, 3 * different[:2] + 0.001 * draw.random((2, 50))])
    assert distinct(different) == 4
    assert distinct(copies) == 4
    assert distinct(copies[::-1]) == 4
    assert distinct(np.zeros((2, 3))) == 2


def test_components_that_repeat_each_other_are_too_many():
    (remark,) = said(distinct=6, n_components=10).remarks
    assert "only 6 of 10" in remark
    assert "fewer would do" in remark
    assert said(distinct=7, n_components=10).remarks == ()


@pytest.mark.parametrize("changed", [{"effective_features": 1.0}, {"rare_weight": 0.9}, {"smallest_correlation": 1.0}])
def test_of_a_collapse_nothing_else_is_said(changed):
    judged = said(**changed, distinct=1)
    assert judged.collapsed is not None
    assert judged.remarks == ()
