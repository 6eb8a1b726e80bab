"""The sums of the visit that closes a fit, against plain arithmetic in float64."""

import numpy as np
import pytest
from problems import csr, make_problem

from bcnmf_dask.updates import coverage
from bcnmf_dask.updates.coverage import cover


def given(values="float64"):
    """Rows of which the first and the last are empty, and factors of them."""
    problem = make_problem(seed=3, n=19, f=23, k=4)
    rows = problem.target.astype(values)
    rows[[0, -1]] = 0
    return rows, problem.target_usages, problem.basis


def expected(rows, usages, basis):
    overlap = np.minimum(rows.astype(float), usages @ basis.T).sum()
    return overlap, rows.astype(float).sum(axis=0), (rows > 0).sum(axis=0)


@pytest.mark.parametrize("values", ["float64", "float32", "uint8", "bool"])
@pytest.mark.parametrize("form", [np.asarray, csr])
def test_sums_are_those_of_dense_arithmetic(values, form):
    rows, usages, basis = given(values)
    for ours, plain in zip(cover(form(rows), usages, basis), expected(rows, usages, basis), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-12)


def test_dense_rows_are_taken_a_few_at_a_time(monkeypatch):
    rows, usages, basis = given()
    monkeypatch.setattr(coverage, "VALUES_AT_ONCE", 3 * rows.shape[1])
    np.testing.assert_allclose(cover(rows, usages, basis).overlap, expected(rows, usages, basis)[0], rtol=1e-12)


def test_zeros_that_are_stored_are_no_rows_of_a_feature():
    rows, usages, basis = given()
    stored = csr(rows)
    feature = stored.indices[0]
    stored.data[0] = 0.0
    assert cover(stored, usages, basis).feature_rows[feature] == (rows[:, feature] > 0).sum() - 1


def test_sums_of_two_parts_are_those_of_the_whole():
    rows, usages, basis = given()
    first, second = cover(rows[:7], usages[:7], basis), cover(rows[7:], usages[7:], basis)
    for one, other, whole in zip(first, second, cover(rows, usages, basis), strict=True):
        np.testing.assert_allclose(one + other, whole, rtol=1e-12)
