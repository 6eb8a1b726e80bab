"""The loops over stored values, against dense arithmetic in float64."""

import math

import numpy as np
import pytest
from problems import csr, make_problem

from bcnmf_dask.backend import csr_of, parts_of
from bcnmf_dask.kernels.csr import (
    step_frobenius,
    step_kullback_leibler,
    sum_frobenius,
    sum_kullback_leibler,
    sweep_frobenius,
    sweep_kullback_leibler,
)
from bcnmf_dask.kernels.lanes import padded
from bcnmf_dask.kernels.numbers import log, sum_of_logarithms, sum_of_squares
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps, multiply

DTYPES = {"float32": 2e-5, "float64": 1e-12}
VALUES = ["float64", "int64", "uint8", "bool"]

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def given(dtype, *, values="float32", index="int32", k=5, eps=1e-16, damping=0.5):
    """A problem whose first and last rows are empty, dense and as the kernels take it."""
    problem = make_problem(seed=2, n=17, f=23, k=k)
    dense = problem.target.astype(values).astype(float)
    dense[[0, -1]] = 0
    rows = csr(dense)
    parts = (rows.indptr.astype(index), rows.indices.astype(index), rows.data.astype(values))
    basis = Basis(problem.basis.astype(dtype))
    return dense, parts, problem.target_usages.astype(dtype), basis, (np.dtype(dtype).type(eps), damping, 1)


@both_dtypes
@pytest.mark.parametrize(("index", "k"), [("int32", 1), ("int64", 8), ("int32", 20)])
@pytest.mark.parametrize("damping", [1.0, 0.5, 0.3, 1.25])
def test_kullback_leibler_of_any_width(dtype, index, k, damping):
    dense, rows, usages, basis, step = given(dtype, index=index, k=k, damping=damping)
    h, w = usages.astype(float), basis.values.astype(float)
    new, cross = np.empty_like(usages), np.zeros_like(basis.lanes)
    data_term = sweep_kullback_leibler(
        rows, usages, basis.lanes, basis.sums, basis.floor, step, new, cross, basis.width
    )
    expected = h * ((dense / (h @ w.T)) @ w / w.sum(axis=0)) ** damping
    np.testing.assert_allclose(new, expected, rtol=DTYPES[dtype])
    positive = expected.copy()
    positive[[0, -1]] = 1  # these rows have no usages, and 0 / 0 means nothing in them
    quotients = dense / (positive @ w.T)
    np.testing.assert_allclose(cross[:, :k], quotients.T @ expected, rtol=DTYPES[dtype])
    assert not cross[:, k:].any()
    logs = np.log(np.where(dense > 0, quotients, 1))
    assert data_term == pytest.approx((dense * (logs - 1)).sum(), rel=DTYPES[dtype])


@both_dtypes
@pytest.mark.parametrize(("index", "k"), [("int32", 1), ("int64", 8), ("int32", 20)])
@pytest.mark.parametrize("damping", [1.0, 0.5])
def test_frobenius_of_any_width(dtype, index, k, damping):
    dense, rows, usages, basis, step = given(dtype, index=index, k=k, eps=1e-10, damping=damping)
    h, w = usages.astype(float), basis.values.astype(float)
    new, cross = np.empty_like(usages), np.zeros_like(basis.lanes)
    sweep_frobenius(rows, usages, basis.lanes, basis.gram_lanes, step, new, cross, basis.width)
    expected = h * ((dense @ w) / (h @ (w.T @ w) + 1e-10)) ** damping
    np.testing.assert_allclose(new, expected, rtol=DTYPES[dtype])
    np.testing.assert_allclose(cross[:, :k], dense.T @ expected, rtol=DTYPES[dtype], atol=DTYPES[dtype])
    assert not cross[:, k:].any()


@both_dtypes
@pytest.mark.parametrize("k", [3, 20])
def test_a_sweep_has_the_bits_of_its_two_halves(dtype, k):
    _, rows, usages, basis, step = given(dtype, k=k)
    for sweep, do, add, extra in (
        (sweep_kullback_leibler, step_kullback_leibler, kullback_leibler_sums, (basis.sums, basis.floor)),
        (sweep_frobenius, step_frobenius, frobenius_sums, (basis.gram_lanes,)),
    ):
        new, cross = np.empty_like(usages), np.zeros_like(basis.lanes)
        data_term = sweep(rows, usages, basis.lanes, *extra, step, new, cross, basis.width)
        again, cross_again = np.empty_like(usages), np.zeros_like(basis.lanes)
        do(rows, usages, basis.lanes, *extra, step, again, basis.width)
        assert add(rows, again, basis, cross_again) == data_term
        np.testing.assert_array_equal(again, new)
        np.testing.assert_array_equal(cross_again, cross)


def kullback_leibler_sums(rows, usages, basis, cross):
    return sum_kullback_leibler(rows, usages, basis.lanes, basis.floor, cross, basis.width)


def frobenius_sums(rows, usages, basis, cross):
    return sum_frobenius(rows, usages, cross, basis.width)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("layout", ["csr", "dense"])
def test_values_of_any_type_give_the_bits_of_floats(name, values, layout):
    dense, rows, usages, basis, _ = given("float32", values=values)
    as_stored = dense.astype(values) if layout == "dense" else csr_of(rows[2], rows[1], rows[0], dense.shape[1])
    as_floats = as_stored.astype(np.float32)
    found = [LOSSES[name].sweep(one, usages, basis, Steps(1, 0.5)) for one in (as_stored, as_floats)]
    for ours, expected in zip((found[0][0], *found[0][1]), (found[1][0], *found[1][1]), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("values", ["int64", "uint64", "int32"])
@pytest.mark.parametrize("layout", ["csr", "dense"])
def test_whole_numbers_that_are_no_float32_give_the_bits_of_those_they_are_rounded_to(name, values, layout):
    dense, _, usages, basis, _ = given("float32")
    whole = np.where(dense > 2, dense + 2**24 + 2 * (dense % 2) + 1, dense).astype(values)
    assert (whole.astype(np.float32) != whole).any()
    as_stored, as_floats = whole, whole.astype(np.float32)
    if layout == "csr":
        as_stored, as_floats = csr(as_stored), csr(as_floats)
    found = [LOSSES[name].sweep(one, usages, basis, Steps(1, 0.5)) for one in (as_stored, as_floats)]
    for ours, expected in zip((found[0][0], *found[0][1]), (found[1][0], *found[1][1]), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("layout", ["csr", "dense"])
@both_dtypes
@pytest.mark.parametrize("steps", [Steps(1, 0.5), Steps(3, 1.25)])
def test_a_sweep_is_the_steps_and_then_the_statistics(name, layout, dtype, steps, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.updates.tiles.TILE", 5 * 23)
    dense, _, usages, basis, _ = given(dtype)
    rows, loss = csr(dense, dtype) if layout == "csr" else dense.astype(dtype), LOSSES[name]
    new, statistics = loss.sweep(rows, usages, basis, steps)
    np.testing.assert_array_equal(new, loss.update_usages(rows, usages, basis, steps))
    for ours, expected in zip(statistics, loss.contribute(rows, new, basis), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("layout", ["csr", "dense"])
@both_dtypes
def test_steps_in_one_visit_are_those_of_several(name, layout, dtype):
    dense, _, usages, basis, _ = given(dtype, k=20)
    rows, loss = csr(dense, dtype) if layout == "csr" else dense.astype(dtype), LOSSES[name]
    expected = usages
    for _ in range(3):
        expected = loss.update_usages(rows, expected, basis, Steps(1, 1.25))
    np.testing.assert_array_equal(loss.update_usages(rows, usages, basis, Steps(3, 1.25)), expected)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.25, 1.75, 1.9])
def test_a_step_of_any_exponent(exponent):
    factor, numerator, denominator = np.random.default_rng(0).random((3, 50)) + 0.1
    expected = factor * (numerator / denominator) ** exponent
    np.testing.assert_allclose(multiply(factor, numerator, denominator, 0.0, exponent), expected, rtol=1e-14)


def test_read_only_rows_are_taken():
    dense, _, usages, basis, _ = given("float64")
    rows = csr(dense)
    expected, _ = LOSSES["kullback-leibler"].sweep(rows, usages, basis, Steps(1, 1.0))
    for array in (*parts_of(rows), usages, basis.values):
        array.setflags(write=False)
    new, _ = LOSSES["kullback-leibler"].sweep(rows, usages, Basis(basis.values), Steps(1, 1.0))
    np.testing.assert_array_equal(new, expected)


@both_dtypes
def test_an_explicit_zero_adds_nothing(dtype):
    basis, usages = Basis(np.array([[0.0], [1.0]], dtype)), np.ones((1, 1), dtype)
    rows = (np.array([0, 2]), np.array([0, 1]), np.array([0.0, 3.0], dtype))  # 0 / 0 but for eps
    cross = np.zeros_like(basis.lanes)
    data_term = sum_kullback_leibler(rows, usages, basis.lanes, basis.floor, cross, basis.width)
    np.testing.assert_allclose(cross[:, 0], [0.0, 3.0])
    assert data_term == pytest.approx(3 * np.log(3) - 3)


@both_dtypes
def test_logarithms_to_the_precision_of_their_type(dtype):
    info = np.finfo(dtype)
    draw = np.random.default_rng(0)
    numbers = np.concatenate([[1.0, info.tiny, info.max, 0.5**0.5], 10.0 ** draw.uniform(-30, 30, 10_000)]).astype(
        dtype
    )
    exact = np.log(numbers.astype(np.longdouble)).astype(float)
    ours = np.array([log(number) for number in numbers], dtype=float)
    np.testing.assert_allclose(ours, exact, rtol=4 * info.eps, atol=2 * info.eps)
    assert math.isfinite(log(np.dtype(dtype).type(0)))


@both_dtypes
def test_sum_of_logarithms(dtype):
    values, quotients = np.array([2.0, 0.0, 3.0], dtype), np.array([1.0, 0.0, 4.0], dtype)
    assert sum_of_logarithms(values, quotients) == pytest.approx(-2 + 3 * (np.log(4) - 1), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_sum_of_squares(dtype):
    assert sum_of_squares(np.array([1, 2, 3], dtype=dtype), np.float64(1)) == 14.0
    assert sum_of_squares(np.empty(0, dtype=dtype), np.float64(1)) == 0.0


def test_sum_of_squares_of_float32_is_summed_in_float64():
    values = np.array([4097.0, *[1.0] * 1000], dtype=np.float32)  # 4097 ** 2 has no exact float32
    assert sum_of_squares(values, np.float32(1)) == 4097.0**2 + 1000


@pytest.mark.parametrize(("dtype", "columns"), [("float32", [8, 8, 16]), ("float64", [4, 8, 12])])
def test_factors_are_padded_with_zeros(dtype, columns):
    for k, expected in zip((1, 8, 9), columns, strict=True):
        rows = padded(np.ones((3, k), dtype))
        assert rows.shape == (3, expected)
        assert rows.dtype == dtype
        assert rows.sum() == 3 * k


def test_a_quotient_that_is_not_finite_stays_in_its_row():
    basis = Basis(np.array([[0.0], [1.0]], np.float32))
    rows = csr(np.array([[1e25, 1.0], [0.0, 3.0]]), "float32")
    new, _ = LOSSES["kullback-leibler"].sweep(rows, np.ones((2, 1), np.float32), basis, Steps(1, 1.0))
    assert not np.isfinite(new[0])
    assert new[1] == 3
