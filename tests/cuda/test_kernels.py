"""What the CUDA kernels compute, run on this CPU by an emulator: against the kernels for CPUs and the oracle."""

import numpy as np
import pytest
import scipy.sparse as sp
from emulated_arrays import asarray
from emulator import launch, needs_compiler

from bcnmf_dask.kernels.cuda.specialise import Special
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

pytestmark = needs_compiler
EPS = {"frobenius": 1e-10, "kullback-leibler": 1e-16}
SHORT = {"frobenius": "frobenius", "kullback-leibler": "kullback_leibler"}


def case(n_components, dtype, seed=0, n_rows=23, n_features=17, density=0.4, stored="float32", index="int32"):
    draw = np.random.default_rng(seed)
    dense = draw.poisson(2.0, (n_rows, n_features)) * (draw.random((n_rows, n_features)) < density)
    dense[3] = 0
    dense[:, 5] = 0
    rows = sp.csr_array(dense.astype(stored))
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    usages, basis = draw.random((n_rows, n_components)), draw.random((n_features, n_components))
    usages[7] = 0
    basis[:, 0] *= np.arange(n_features) % 2
    return rows, usages.astype(dtype), basis.astype(dtype)


def special(rows, usages, team):
    names = (usages.dtype.name, rows.data.dtype.name, rows.indices.dtype.name, rows.indptr.dtype.name)
    return Special(*names, usages.shape[1], team)


def floor_of(basis):
    """Large enough to be seen, and different at each feature."""
    return np.linspace(0.01, 0.3, len(basis)).astype(basis.dtype)


def step(loss, rows, usages, basis, steps, team):
    fresh, real = asarray(np.full_like(usages, np.nan)), usages.dtype.type
    helpers = (basis.sum(axis=0), floor_of(basis)) if loss == "kullback-leibler" else (basis.T @ basis,)
    numbers = real(EPS[loss]), real(steps.exponent), np.int32(steps.times)
    given = map(asarray, (rows.indptr, rows.indices, rows.data, usages, basis, *helpers))
    launch(special(rows, usages, team), f"step_{SHORT[loss]}", rows.shape[0], None, *given, *numbers, fresh)
    return fresh.get()


def sums(loss, rows, usages, basis, team):
    columns = rows.tocsc()
    parts = columns.indptr.astype(rows.indptr.dtype), columns.indices.astype(rows.indices.dtype), columns.data
    cross, terms = (asarray(np.full(shape, np.nan)) for shape in (basis.shape, basis.shape[0]))
    extra = (asarray(basis), asarray(floor_of(basis))) if loss == "kullback-leibler" else ()
    given = map(asarray, (*parts, usages))
    launch(special(rows, usages, team), f"sum_{SHORT[loss]}", rows.shape[1], None, *given, *extra, cross, terms)
    return cross.get(), terms.get().sum()


@pytest.mark.parametrize("team", [1, 4, 16])
@pytest.mark.parametrize("n_components", [1, 20, 70])
@pytest.mark.parametrize("loss", LOSSES)
def test_factors_and_sums_are_those_of_the_kernels_for_cpus(loss, n_components, team):
    rows, usages, basis = case(n_components, "float64")
    for steps in (Steps(1, 1.0), Steps(3, 1.25), Steps(2, 0.5), Steps(1, 1.75)):
        expected = LOSSES[loss].update_usages(rows, usages, Basis(basis, floor_of(basis)), steps)
        np.testing.assert_allclose(step(loss, rows, usages, basis, steps, team), expected, rtol=1e-9, atol=1e-15)
    expected = LOSSES[loss].contribute(rows, usages, Basis(basis, floor_of(basis)))
    cross, data_term = sums(loss, rows, usages, basis, team)
    np.testing.assert_allclose(cross, expected.cross, rtol=1e-9, atol=1e-12)
    floors = rows.shape[0] * floor_of(basis).sum(dtype=float) if loss == "kullback-leibler" else 0.0
    np.testing.assert_allclose(data_term + floors, expected.data_term, rtol=1e-9)


@pytest.mark.parametrize(("stored", "index"), [("uint8", "int32"), ("int64", "int64"), ("float64", "int32")])
@pytest.mark.parametrize("loss", LOSSES)
def test_whole_numbers_and_long_indices_are_taken_as_they_are(loss, stored, index):
    rows, usages, basis = case(5, "float32", stored=stored, index=index)
    expected = LOSSES[loss].sweep(rows, usages, Basis(basis, floor_of(basis)), Steps(1, 1.0))
    fresh = step(loss, rows, usages, basis, Steps(1, 1.0), 1)
    np.testing.assert_allclose(fresh, expected[0], rtol=2e-5)
    cross, data_term = sums(loss, rows, fresh, basis, 1)
    np.testing.assert_allclose(cross, expected[1].cross, rtol=2e-5, atol=1e-6)
    floors = rows.shape[0] * floor_of(basis).sum(dtype=float) if loss == "kullback-leibler" else 0.0
    np.testing.assert_allclose(data_term + floors, expected[1].data_term, rtol=1e-5)


def test_long_columns_are_summed_in_double():
    """In REAL alone a million terms of one sign would lose half their digits."""
    rows = sp.csr_array(np.full((40_000, 1), 0.1, np.float32))
    usages, basis = np.full((40_000, 1), 0.3, np.float32), np.ones((1, 1), np.float32)
    cross, data_term = sums("frobenius", rows, usages, basis, 1)
    exact = 40_000 * np.float64(np.float32(0.1)) * np.float64(np.float32(0.3))
    np.testing.assert_allclose(cross[0, 0], exact, rtol=2e-6)
    np.testing.assert_allclose(data_term, 40_000 * np.float64(np.float32(0.1)) ** 2, rtol=1e-12)
