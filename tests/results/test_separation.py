"""Areas under the curve against the definition, exact and from counts in bins."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bcnmf_dask.results.separation import auroc, separate

usages = hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(0, 4, width=16))


def by_definition(positive, negative):
    higher = (positive[:, None] > negative[None, :]).mean()
    return higher + 0.5 * (positive[:, None] == negative[None, :]).mean()


@given(usages, usages)
def test_the_exact_area_is_that_of_all_pairs(positive, negative):
    assert auroc(positive, negative) == pytest.approx(by_definition(positive, negative))


@given(usages, usages)
def test_the_area_of_counts_is_off_by_no_more_than_it_says(positive, negative):
    counted = separate(positive[:, None], negative[:, None], exact_bytes=0)
    assert abs(counted.auroc[0] - by_definition(positive, negative)) <= counted.error + 1e-12


def test_bins_are_fine_enough_for_usages_over_many_orders_of_magnitude():
    draw = np.random.default_rng(0)
    sides = [np.exp(draw.normal(shift, 3, (20_000, 2))).astype(np.float32) for shift in (1.0, 0.0)]
    exact, counted = separate(*sides), separate(*sides, exact_bytes=0)
    assert exact.error == 0.0
    assert counted.error < 1e-2
    np.testing.assert_allclose(counted.auroc, exact.auroc, atol=1e-4)


def test_lazy_usages_are_counted_a_piece_at_a_time(monkeypatch):
    monkeypatch.setattr("bcnmf_dask.results.separation.PIECE_ROWS", 7)
    left, right = (np.random.default_rng(one).random((31, 3), dtype=np.float32) for one in (0, 1))
    lazy = separate(da.from_array(left, chunks=5), da.from_array(right, chunks=5), exact_bytes=0)
    whole = separate(left, right, exact_bytes=0)
    np.testing.assert_array_equal(lazy.auroc, whole.auroc)


def test_without_a_background_there_is_no_area():
    found = separate(np.ones((3, 2)), None)
    assert np.isnan(found.auroc).all()
    assert found.error == 0.0
