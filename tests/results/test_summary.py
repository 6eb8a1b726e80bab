import numpy as np
import pytest

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.summary import summarise


def test_shares_and_ratio(make_result):
    result = make_result(target_signal=np.array([1.0, 2.0, 5.0]), background_signal=np.array([4.0, 8.0, 4.0]))
    table = summarise(result)
    assert list(table) == ["component", "target_share", "background_share", "log2_ratio", "top_features"]
    assert table["component"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(table["target_share"], [0.125, 0.25, 0.625])
    np.testing.assert_allclose(table["background_share"], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(table["log2_ratio"], [-1.0, -1.0, np.log2(2.5)])


def test_ratio_of_components_absent_from_a_role(make_result):
    result = make_result(target_signal=np.array([1.0, 0.0, 0.0]), background_signal=np.array([0.0, 3.0, 0.0]))
    np.testing.assert_array_equal(summarise(result)["log2_ratio"], [np.inf, -np.inf, np.nan])


def test_without_a_background(plain_result):
    table = summarise(plain_result)
    assert table["target_share"].sum() == pytest.approx(1)
    assert table["background_share"].isna().all()
    assert table["log2_ratio"].isna().all()


def test_without_any_signal(make_result):
    table = summarise(make_result(target_signal=np.zeros(3)))
    assert table["target_share"].isna().all()
    assert table["log2_ratio"].isna().all()


WEIGHTS = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])


def test_top_features_are_the_heaviest_first(make_result):
    table = summarise(make_result(components=WEIGHTS), n_top=3)
    assert table["top_features"].tolist() == ["MX1, β-actin, IFI6", "ISG15, β-actin", ""]


def test_unnamed_features_go_by_their_index(make_result):
    table = summarise(make_result(components=WEIGHTS, features=None), n_top=2)
    assert table["top_features"].tolist() == ["3, 2", "0, 2", ""]


def test_naming_no_feature_is_refused(make_result):
    with pytest.raises(InputError, match=r"n_top is 0, but must be 1 or more"):
        summarise(make_result(), n_top=0)
