"""Fits that are swept together: every one has the bits that it has alone."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st

from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.together import FEWEST, WIDEST, Group, SharedRows, make_groups

TOGETHER = [name for name, loss in LOSSES.items() if loss.sweep_together is not None]
LAYOUTS = ["dense", "csr", "unsorted"]
STEPS = [Steps(1, 1.0), Steps(1, 0.5), Steps(3, 1.25), Steps(2, 0.3)]


def rows_of(draw, n, n_features, layout, values):
    """Counts with empty rows and features among them."""
    dense = draw.poisson(draw.gamma(0.4, 1.0, (n, 1)) * draw.gamma(0.5, 2.0, (1, n_features))).astype(values)
    if layout == "dense":
        return dense
    rows = sp.csr_array(dense)
    if layout == "unsorted":
        order = np.concatenate([draw.permutation(np.arange(*ends)) for ends in pairwise(rows.indptr)])
        rows = sp.csr_array((rows.data[order], rows.indices[order], rows.indptr), shape=rows.shape)
    return rows


def fits_of(draw, rows, dtype, ranks):
    """Usages and bases, some with a dead component."""
    usages = [draw.random((rows.shape[0], k)).astype(dtype) for k in ranks]
    bases = [draw.random((rows.shape[1], k)).astype(dtype) * (draw.random(k) < 0.9).astype(dtype) for k in ranks]
    return usages, [Basis(one / rows.shape[1]) for one in bases]


def assert_same(ours, expected):
    np.testing.assert_array_equal(ours[0], expected[0], strict=True)
    for part, other in zip(ours[1], expected[1], strict=True):
        np.testing.assert_array_equal(part, other, strict=isinstance(part, np.ndarray))


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    n_features=st.integers(1, 30),
    layout=st.sampled_from(LAYOUTS),
    values=st.sampled_from(["float64", "uint8"]),
    fits=st.lists(st.tuples(st.sampled_from([1, 3, 9]), st.sampled_from(STEPS)), min_size=1, max_size=3),
)
@example(seed=0, n=300, n_features=40, layout="csr", values="float32", fits=[(20, STEPS[0])] * 4)
@example(seed=0, n=9, n_features=7, layout="unsorted", values="int64", fits=[(3, STEPS[2]), (1, STEPS[1])])
@example(seed=0, n=9, n_features=7, layout="csr", values="bool", fits=[(3, STEPS[0]), (1, STEPS[1])])
def test_a_fit_has_the_same_bits_together_and_alone(name, dtype, seed, n, n_features, layout, values, fits):
    draw, loss = np.random.default_rng(seed), LOSSES[name]
    ranks, steps = zip(*fits, strict=True)
    rows = rows_of(draw, n, n_features, layout, values)
    usages, bases = fits_of(draw, rows, dtype, ranks)
    group = Group(range(len(fits)), bases)
    together = loss.sweep_together(SharedRows(rows, np.dtype(dtype)), group, usages, steps)
    for ours, *one in zip(together, usages, bases, steps, strict=True):
        assert_same(ours, loss.sweep(rows, *one))


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_a_transpose_keeps_the_order_of_rows_and_counts_of_any_index(index):
    rows = rows_of(np.random.default_rng(3), 50, 20, "unsorted", "uint8")
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    ends, numbers, values = SharedRows(rows, np.dtype("float32")).transposed
    expected = sp.csr_array(rows.toarray().T.astype("float32"))
    np.testing.assert_array_equal(ends, expected.indptr)
    np.testing.assert_array_equal(numbers, expected.indices)
    np.testing.assert_array_equal(values, expected.data, strict=True)


ranks_of_fits = st.lists(st.tuples(st.sampled_from(list(LOSSES)), st.integers(1, 200)), max_size=30)


@given(fits=ranks_of_fits)
def test_groups_are_neighbours_of_one_loss_that_are_not_too_wide(fits):
    losses, bases = [loss for loss, _ in fits], [Basis(np.zeros((2, k), np.float32)) for _, k in fits]
    groups = list(make_groups(losses, bases))
    assert [number for group in groups for number in group.numbers] == list(range(len(fits)))
    for group in groups:
        assert len({losses[number] for number in group.numbers}) == 1
        assert [bases[number] for number in group.numbers] == list(group.bases)
        assert len(group.bases) == 1 or sum(basis.values[0].nbytes for basis in group.bases) <= WIDEST


def test_a_few_fits_go_alone():
    bases = [Basis(np.zeros((2, 3), np.float32)) for _ in range(FEWEST)]
    assert [len(group.bases) for group in make_groups(["frobenius"] * FEWEST, bases)] == [FEWEST]
    assert [len(group.bases) for group in make_groups(["frobenius"] * (FEWEST - 1), bases[1:])] == [1] * (FEWEST - 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_stand_side_by_side(dtype):
    bases = [Basis(np.full((3, k), k, dtype)) for k in (2, 5)]
    group = Group(range(2), bases)
    for basis, columns in zip(bases, group.columns, strict=True):
        np.testing.assert_array_equal(group.lanes[:, columns], basis.values)
    assert not group.lanes[:, 7:].any()
    assert group.lanes.ctypes.data % 64 == 0
