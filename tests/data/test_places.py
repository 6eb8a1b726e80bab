"""Rows that are picked, and where the usages of each block stand among those of its shard."""

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask import split
from bcnmf_dask.backend import is_sparse, parts_of
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.loading import order_shard, places_of
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.taking import from_chunks
from bcnmf_dask.updates.rows import pick_rows, row_sums

FORMS = {"dense": np.asarray, "csr": sp.csr_array}
ranges = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted), min_size=1, max_size=5)


def matrix(form, dtype="float32"):
    rows = np.random.default_rng(0).poisson(0.8, (20, 6)).astype(dtype)
    rows[4] = 0
    return FORMS[form](rows)


def dense(rows):
    return rows.toarray() if is_sparse(rows) else rows


@given(wanted=ranges)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "index"), [("float32", "int32"), ("int64", "int64"), ("uint8", "int32")])
def test_picked_rows_are_those_of_the_ranges_in_their_types(form, dtype, index, wanted):
    rows = matrix(form, dtype)
    if form == "csr":
        rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    picked = pick_rows(rows, np.array(wanted))
    expected = dense(rows)[[row for start, stop in wanted for row in range(start, stop)]]
    np.testing.assert_array_equal(dense(picked), expected)
    assert picked.shape == expected.shape
    assert [part.dtype for part in parts_of(picked)] == [part.dtype for part in parts_of(rows)]


@pytest.mark.parametrize("form", FORMS)
def test_one_range_is_a_view(form):
    rows = matrix(form)
    (*_, values), (*_, picked) = parts_of(rows), parts_of(pick_rows(rows, [(3, 9)]))
    assert np.shares_memory(values, picked)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stored", ["float32", "int64", "uint8", "bool"])
def test_row_sums_do_not_depend_on_how_values_are_held(form, dtype, stored):
    rows = matrix(form, stored)
    sums = row_sums(rows, dtype)
    assert (sums.dtype, sums.shape) == (dtype, (20,))
    np.testing.assert_array_equal(sums, dense(rows).sum(axis=1, dtype=float))
    np.testing.assert_array_equal(sums, row_sums(rows.astype(dtype), dtype))


@pytest.mark.parametrize("form", FORMS)
def test_row_sums_are_of_values_in_the_type_of_the_run(form):
    """A whole number that is no float32 would else count otherwise here than on a worker, which holds it as float32."""
    rows = FORMS[form](np.array([[2**24 + 1, 2**24 + 1, 2], [0, 0, 0]], np.int64))
    np.testing.assert_array_equal(row_sums(rows, "float32"), row_sums(rows.astype("float32"), "float32"))


@st.composite
def labels(draw):
    n = draw(st.integers(3, 900))
    chosen = np.random.default_rng(draw(st.integers(0, 99))).choice(["a", "b", "both", "none"], n)
    chosen = np.sort(chosen) if draw(st.booleans()) else chosen
    chosen[:3] = ["a", "b", "both"]
    return chosen


@given(chosen=labels())
@pytest.mark.parametrize("form", FORMS)
def test_usages_of_blocks_stand_one_after_the_other(form, chosen):
    given = FORMS[form](np.arange(1.0, len(chosen) + 1)[:, None] * np.ones((1, 4)))
    sides = split(cells_of(given, chosen), "label", ["a", "both"], ["b", "both"])
    inputs = read_inputs(*sides)
    for shard in plan_shards(inputs).shards:
        order = order_shard(inputs.stores[0], shard, "float64")
        places = places_of(order)
        held = from_chunks(order, [inputs.stores[0].source.read(shard.start, shard.stop)])
        assert [block.places for block in held.blocks] == places
        for role, (first, last) in shard.role_rows.items():
            mine = [place[role] for place in places if role in place]
            assert [row for place in mine for row in range(place.start, place.stop)] == list(range(last - first))
            parts = [dense(block.parts[role])[:, 0] for block in held.blocks if role in block.parts]
            assert [len(part) for part in parts] == [place.stop - place.start for place in mine]
            expected = np.flatnonzero(np.isin(chosen, [{"target": "a", "background": "b"}[role], "both"])) + 1.0
            np.testing.assert_array_equal(np.concatenate(parts), expected[first:last])


def cells_of(rows, chosen):
    return anndata.AnnData(rows, obs={"label": chosen})
