"""Both roles end with the same features in the same order."""

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError


def named(columns: str) -> pd.DataFrame:
    """One row whose values are the names as numbers, so that alignment shows in the values."""
    return pd.DataFrame([[ord(name) for name in columns]], columns=list(columns), index=["cell"])


def values(store):
    rows = store.source.read(0, 1)
    return (rows if store.columns is None else rows[:, store.columns])[0].tolist()


def test_the_same_features_in_the_same_order_need_no_columns():
    inputs = read_inputs(named("abc"), named("abc"))
    assert [store.columns for store in inputs.stores] == [None, None]
    assert inputs.features.tolist() == ["a", "b", "c"]


def test_the_same_features_in_another_order_are_aligned_to_the_target():
    target, background = read_inputs(named("abc"), named("cab")).stores
    assert target.columns is None
    assert background.columns.tolist() == [1, 2, 0]
    assert values(target) == values(background)


def test_different_features_are_refused_with_counts_and_the_repair():
    message = r'background: .* 2 shared, 1 only in the target, 3 only in the background.*="intersection"'
    with pytest.raises(InputError, match=message):
        read_inputs(named("abc"), named("cbxyz"))
    with pytest.raises(InputError, match=r"2 shared, 0 only in the target, 1 only in the background"):
        read_inputs(named("ab"), named("abc"))


def test_shared_features_are_used_in_the_order_of_the_target():
    inputs = read_inputs(named("zabc"), named("cxbz"), features="intersection")
    assert inputs.features.tolist() == ["z", "b", "c"]
    assert inputs.n_features == 3
    assert [values(store) for store in inputs.stores] == [[ord(name) for name in "zbc"]] * 2


@pytest.mark.parametrize("features", ["strict", "intersection"])
def test_no_shared_feature_is_refused_with_examples(features):
    with pytest.raises(InputError, match=r"background: .* 0 shared.* target has a, b; the background x, y"):
        read_inputs(named("ab"), named("xy"), features=features)


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True).map("".join)


@given(target=names, background=names)
def test_alignment_matches_names_whatever_they_are(target, background):
    shared = [name for name in target if name in background]
    if not shared:
        with pytest.raises(InputError, match="0 shared"):
            read_inputs(named(target), named(background), features="intersection")
        return
    inputs = read_inputs(named(target), named(background), features="intersection")
    assert inputs.features.tolist() == shared
    assert [values(store) for store in inputs.stores] == [[ord(name) for name in shared]] * 2


@pytest.mark.parametrize("swap", [False, True])
def test_unnamed_features_are_matched_by_position_and_take_the_names(swap):
    pair = (named("abc"), np.ones((2, 3)))
    inputs = read_inputs(*(pair[::-1] if swap else pair))
    assert inputs.features.tolist() == ["a", "b", "c"]
    assert [store.columns for store in inputs.stores] == [None, None]


@pytest.mark.parametrize("target", [named("abc"), np.ones((2, 3))])
@pytest.mark.parametrize("features", ["strict", "intersection"])
def test_unnamed_features_of_another_number_are_refused(target, features):
    with pytest.raises(InputError, match="background: has 4 features, the target has 3, and not both"):
        read_inputs(target, np.ones((2, 4)), features=features)


@pytest.mark.parametrize(("target", "background", "role"), [("abab", "ab", "target"), ("ab", "aba", "background")])
def test_repeated_names_are_refused(target, background, role):
    with pytest.raises(InputError, match=rf"{role}: \d feature name\(s\) .* more than once \(a.*make_unique"):
        read_inputs(named(target), named(background))


def test_another_way_to_match_is_refused():
    with pytest.raises(InputError, match=r'features: got \'union\'; expected "strict" .* or "intersection"'):
        read_inputs(named("a"), named("a"), features="union")


def marked(columns: str, chosen: str) -> anndata.AnnData:
    frame = named(columns)
    var = pd.DataFrame({"chosen": [name in chosen for name in columns]}, index=list(columns))
    return anndata.AnnData(frame.to_numpy().astype(float), obs=pd.DataFrame(index=["cell"]), var=var)


def test_the_target_chooses_features_by_column_and_the_background_follows():
    inputs = read_inputs(marked("abcd", "bd"), named("dcba"), mask_var="chosen")
    assert inputs.features.tolist() == ["b", "d"]
    assert [values(store) for store in inputs.stores] == [[ord("b"), ord("d")]] * 2


@pytest.mark.parametrize("mask", [[True, False, True], np.array([True, False, True])])
def test_features_are_chosen_by_values(mask):
    inputs = read_inputs(np.arange(6).reshape(2, 3), np.arange(3).reshape(1, 3), mask_var=mask)
    assert [store.columns.tolist() for store in inputs.stores] == [[0, 2], [0, 2]]
    assert (inputs.features, inputs.n_features) == (None, 2)


def test_features_are_chosen_among_the_shared():
    inputs = read_inputs(marked("abcd", "abd"), named("dxb"), mask_var="chosen", features="intersection")
    assert inputs.features.tolist() == ["b", "d"]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("variable", "target: mask_var='variable' is not a column .* The columns are: chosen"),
        ([True, False], "target: mask_var has 2 values of type bool; expected True or False for each"),
        ([1, 0, 1, 1], "target: mask_var has 4 values of type int64; expected True or False"),
        ([False] * 4, "target: mask_var selects no feature"),
    ],
)
def test_masks_that_choose_nothing_are_refused(mask, message):
    with pytest.raises(InputError, match=message):
        read_inputs(marked("abcd", "b"), None, mask_var=mask)


def test_a_mask_that_misses_the_shared_features_is_refused():
    with pytest.raises(InputError, match=r"mask_var: no feature selected for the target is also one"):
        read_inputs(marked("abc", "a"), named("bc"), mask_var="chosen", features="intersection")
