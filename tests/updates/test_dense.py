"""Products of dense rows with factors: those of NumPy, for any height, width and type."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.dense import add_cross, no_cross, times_basis


@given(n_rows=st.integers(0, 11), n_features=st.integers(1, 9))
@pytest.mark.parametrize("n_components", [1, 8, 20, 50])
@pytest.mark.parametrize(("stored", "dtype"), [("float32", "float32"), ("uint8", "float32"), ("int64", "float64")])
def test_products_are_those_of_numpy(n_rows, n_features, n_components, stored, dtype):
    draw = np.random.default_rng(n_rows * 100 + n_features)
    values = draw.integers(0, 9, (n_rows, n_features)).astype(stored)
    factor = draw.random((n_features, n_components)).astype(dtype)
    usages = draw.random((n_rows, n_components)).astype(dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    products = times_basis(values, Basis(factor))
    assert products.dtype == dtype
    np.testing.assert_allclose(products, values.astype(dtype) @ factor, rtol)
    cross = no_cross(values, usages)
    for _ in range(2):
        add_cross(values, usages, cross)
    np.testing.assert_allclose(cross[:, :n_components], 2 * values.T.astype(dtype) @ usages, rtol)
    assert not cross[:, n_components:].any()


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_a_row_has_the_same_bits_whatever_is_beside_it(cut):
    draw = np.random.default_rng(0)
    values, basis = draw.random((13, 40), dtype=np.float32), Basis(draw.random((40, 20), dtype=np.float32))
    parts = [times_basis(values[:cut], basis), times_basis(values[cut:], basis)]
    np.testing.assert_array_equal(np.concatenate(parts), times_basis(values, basis))
