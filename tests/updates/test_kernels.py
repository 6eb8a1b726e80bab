"""The loops over stored values, against dense arithmetic."""

import numpy as np
import pytest
from problems import csr, make_problem

from bcnmf_dask.kernels.csr import quotient_statistics, quotient_times_basis, sum_of_squares

DTYPES = {"float32": 1e-5, "float64": 1e-12}


def arguments(dtype, index_dtype, eps=1e-16):
    """A problem whose first and last rows are empty, as the kernels take it."""
    problem = make_problem(seed=2)
    rows = csr(problem.target, dtype)
    dense = rows.toarray()
    dense[[0, -1]] = 0
    rows = csr(dense)
    usages, basis = problem.target_usages.astype(dtype), problem.basis.astype(dtype)
    parts = (rows.indptr.astype(index_dtype), rows.indices.astype(index_dtype), rows.data)
    return dense.astype(float), (*parts, usages, basis, np.dtype(dtype).type(eps))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_quotient_times_basis_adds_to_what_is_there(dtype, index_dtype):
    dense, given = arguments(dtype, index_dtype)
    usages, basis = given[3].astype(float), given[4].astype(float)
    out = np.ones_like(given[3])
    quotient_times_basis(*given, out)
    np.testing.assert_allclose(out, 1 + (dense / (usages @ basis.T)) @ basis, rtol=DTYPES[dtype])
    np.testing.assert_array_equal(out[[0, -1]], 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_quotient_statistics_adds_to_cross_and_returns_the_data_term(dtype, index_dtype):
    dense, given = arguments(dtype, index_dtype)
    usages, basis = given[3].astype(float), given[4].astype(float)
    quotient = dense / (usages @ basis.T)
    positive = dense > 0
    expected = (dense[positive] * np.log(quotient[positive])).sum() - dense.sum()
    cross = np.ones_like(given[4])
    data_term = quotient_statistics(*given, cross)
    np.testing.assert_allclose(cross, 1 + quotient.T @ usages, rtol=DTYPES[dtype])
    assert data_term == pytest.approx(expected, rel=DTYPES[dtype])


def test_read_only_rows_are_taken():
    _, given = arguments("float64", "int32")
    expected = np.zeros_like(given[3])
    quotient_times_basis(*given, expected)
    for array in given[:5]:
        array.setflags(write=False)
    out = np.zeros_like(given[3])
    quotient_times_basis(*given, out)
    np.testing.assert_array_equal(out, expected)


def test_an_explicit_zero_adds_nothing():
    one = np.ones((1, 1))
    indptr, indices = np.array([0, 2]), np.array([0, 1])
    values, basis = np.array([0.0, 3.0]), np.array([[0.0], [1.0]])  # 0 / 0 but for eps
    cross = np.zeros((2, 1))
    data_term = quotient_statistics(indptr, indices, values, one, basis, 1e-16, cross)
    np.testing.assert_allclose(cross, [[0.0], [3.0]])
    assert data_term == pytest.approx(3 * np.log(3) - 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sum_of_squares(dtype):
    assert sum_of_squares(np.array([1, 2, 3], dtype=dtype)) == 14.0
    assert sum_of_squares(np.empty(0, dtype=dtype)) == 0.0


def test_sum_of_squares_of_float32_is_summed_in_float64():
    values = np.array([4097.0, *[1.0] * 1000], dtype=np.float32)  # 4097 ** 2 has no exact float32
    assert sum_of_squares(values) == 4097.0**2 + 1000
