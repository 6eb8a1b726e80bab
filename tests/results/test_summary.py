from dataclasses import replace

import numpy as np
import pytest

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.record import Side
from bcnmf_dask.results.separation import Separation
from bcnmf_dask.results.summary import summarise

COLUMNS = [
    "component",
    "target_mean",
    "background_mean",
    "log2_fold_change",
    "log2_fold_change_per_count",
    "auroc",
    "target_fraction",
    "background_fraction",
    "target_explained",
    "background_explained",
    "largest_cosine",
    "effective_features",
    "top_features",
    "specific_features",
]


def side(signal, n_rows, total, explained=(1.0, 2.0, 5.0, 2.0)):
    return Side(n_rows, total, np.array(signal), np.array(explained), np.array([1.0, 0.0, n_rows]))


def test_usage_per_row_and_its_ratio(make_result):
    sides = {"target": side([1.0, 2.0, 5.0], 10, 100.0), "background": side([4.0, 8.0, 4.0], 20, 100.0)}
    table = summarise(make_result(sides=sides))
    assert list(table) == COLUMNS
    assert table["component"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(table["target_mean"], [0.1, 0.2, 0.5])
    np.testing.assert_allclose(table["background_mean"], [0.2, 0.4, 0.2])
    np.testing.assert_allclose(table["log2_fold_change"], [-1.0, -1.0, np.log2(2.5)])
    np.testing.assert_allclose(table["target_fraction"], [0.1, 0.0, 1.0])
    np.testing.assert_allclose(table["target_explained"], [0.01, 0.02, 0.05])
    np.testing.assert_allclose(table["auroc"], [0.9, 0.5, 0.25])


def test_depth_is_taken_out_of_the_ratio_per_count(make_result):
    """Twice as deep a target has twice the usage, and nothing else is different."""
    sides = {"target": side([2.0, 4.0, 8.0], 10, 200.0), "background": side([1.0, 2.0, 4.0], 10, 100.0)}
    table = summarise(make_result(sides=sides))
    np.testing.assert_allclose(table["log2_fold_change"], 1.0)
    np.testing.assert_allclose(table["log2_fold_change_per_count"], 0.0, atol=1e-12)


def test_ratio_of_components_absent_from_a_role(make_result):
    sides = {"target": side([1.0, 0.0, 0.0], 1, 1.0), "background": side([0.0, 3.0, 0.0], 1, 1.0)}
    table = summarise(make_result(sides=sides))
    for column in ("log2_fold_change", "log2_fold_change_per_count"):
        np.testing.assert_array_equal(table[column], [np.inf, -np.inf, np.nan])


def test_without_a_background(plain_result):
    table = summarise(plain_result)
    np.testing.assert_allclose(table["target_mean"], 1.0)
    for column in ("background_mean", "log2_fold_change", "auroc", "background_fraction", "background_explained"):
        assert table[column].isna().all(), column
    assert table.attrs["background"] == "none"


def test_without_any_signal(make_result):
    sides = {"target": side([0.0] * 3, 4, 0.0, explained=[0.0] * 4)}
    table = summarise(make_result(sides=sides))
    np.testing.assert_array_equal(table["target_mean"], 0.0)
    for column in ("log2_fold_change", "log2_fold_change_per_count", "target_explained"):
        assert table[column].isna().all(), column


WEIGHTS = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])


def test_top_features_are_the_heaviest_first(make_result):
    table = summarise(make_result(components=WEIGHTS), n_top=3)
    assert table["top_features"].tolist() == ["MX1, β-actin, IFI6", "ISG15, β-actin", ""]


def test_specific_features_exceed_the_other_components_and_the_profile(make_result):
    table = summarise(make_result(components=WEIGHTS, profile=np.array([0.05, 0.35, 0.0, 0.6])))
    # IFI6 and MX1 of the first are below the profile, its β-actin and ISG15 below the second.
    assert table["specific_features"].tolist() == ["", "ISG15, β-actin", ""]


def test_largest_cosines_and_effective_features(make_result):
    weights = np.array([[1.0, 1.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]) / 4
    table = summarise(make_result(components=weights))
    np.testing.assert_allclose(table["largest_cosine"], [1.0, 1.0, np.nan])
    np.testing.assert_allclose(summarise(make_result(components=WEIGHTS))["effective_features"][1:], [2.0, 0.0])


def test_unnamed_features_go_by_their_index(make_result):
    table = summarise(make_result(components=WEIGHTS, features=None), n_top=2)
    assert table["top_features"].tolist() == ["3, 2", "0, 2", ""]


def test_printed_it_shows_every_column_and_which_sides_it_compares(make_result):
    made = make_result().provenance
    background = replace(made.sides["background"], labels=("ctrl <1>",))
    made = replace(made, sides={**made.sides, "background": background})
    table = summarise(make_result(provenance=made, separation=Separation(np.full(3, 0.5), 0.002)))
    text, page = str(table), table._repr_html_()
    assert text.startswith("target: stim; background: ctrl <1>; auroc to within 0.002")
    assert "<p>target: stim; background: ctrl &lt;1&gt;; auroc to within 0.002</p>" in page
    for column in COLUMNS:
        assert column in page
        assert column.replace("_", " ") in text.replace("_", " ")
    assert table.attrs["target"] == "stim"
    assert "top_features" not in str(table[["component", "auroc"]]), "a part of it prints as what it is"


def test_naming_no_feature_is_refused(make_result):
    with pytest.raises(InputError, match=r"n_top is 0, but must be 1 or more"):
        summarise(make_result(), n_top=0)
