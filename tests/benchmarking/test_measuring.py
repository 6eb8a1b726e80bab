"""The benchmarks themselves, on tiny sizes; no figure is judged."""

import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask.benchmarking import stand_in
from bcnmf_dask.benchmarking.benchmark import powers_to_cores
from bcnmf_dask.benchmarking.model import Workload
from bcnmf_dask.benchmarking.synthetic import csr_chunk, dense_chunk, synthetic_inputs
from bcnmf_dask.benchmarking.timing import sweep_seconds
from bcnmf_dask.updates import kullback_leibler
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.multiplicative import Steps


def test_csr_chunks_have_the_same_number_of_values_in_every_row():
    rows = csr_chunk(50, 30, 7, (0, 1))
    assert rows.shape == (50, 30)
    assert (np.diff(rows.indptr) == 7).all()
    assert rows.has_canonical_format
    assert rows.data.dtype == np.float32
    assert rows.data.min() >= 1
    assert len(np.unique(rows.indices)) == 30


def test_chunks_are_those_of_their_seed():
    assert (csr_chunk(20, 30, 7, (0, 1)) != csr_chunk(20, 30, 7, (0, 1))).nnz == 0
    assert (csr_chunk(20, 30, 7, (0, 1)) != csr_chunk(20, 30, 7, (0, 2))).nnz > 0
    np.testing.assert_array_equal(dense_chunk(20, 30, (3,)), dense_chunk(20, 30, (3,)))


@pytest.mark.parametrize("stored_per_row", [None, 3])
def test_inputs_are_lazy_and_have_both_roles(stored_per_row):
    inputs = synthetic_inputs(2500, 40, stored_per_row)
    assert inputs.n_rows == {"target": 1250, "background": 1250}
    source = inputs.stores[0].source
    assert source.sparse is (stored_per_row is not None)
    rows = source.read(0, 1250)
    assert rows.shape == (1250, 40)
    assert sp.issparse(rows) is source.sparse


def test_the_stand_in_sleeps_and_gives_the_statistics_of_a_perfect_fit(monkeypatch):
    slept = []
    monkeypatch.setattr(stand_in.time, "sleep", slept.append)
    random = np.random.default_rng(0)
    usages, basis = random.random((16, 3)).astype(np.float32), random.random((5, 3)).astype(np.float32)
    exact = usages.astype(float) @ basis.T.astype(float)
    prepared = Basis(basis)
    assert stand_in.update_usages(exact, usages, prepared, Steps(1, 1.0)) is usages
    assert slept == [16 * stand_in.SECONDS_PER_ROW]
    found, expected = stand_in.contribute(exact, usages, prepared), kullback_leibler.contribute(exact, usages, prepared)
    for mine, real in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, real, rtol=1e-6)
        assert np.shape(mine) == np.shape(real)
    stepped = kullback_leibler.update_basis(basis.astype(float), found, found, 0.0, 1.0)
    np.testing.assert_allclose(stepped, basis, rtol=1e-6)


def test_the_stand_in_runs_in_this_process(monkeypatch):
    monkeypatch.setattr(stand_in, "SECONDS_PER_ROW", 1e-6)
    stand_in.register()
    workload = Workload(0, 200, 40, 3, stand_in.NAME, sparse=True)
    figures = sweep_seconds(False, synthetic_inputs(200, 40, 1), workload, 2)
    assert figures.keys() == {
        *("sweep_seconds", "compute_seconds", "read_seconds"),
        *("merge_seconds", "scheduler_seconds", "driver_seconds"),
    }
    assert 0 < figures["compute_seconds"] <= figures["sweep_seconds"]


def test_the_sizes_end_with_the_cores(monkeypatch):
    for cores, sizes in ((1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))):
        monkeypatch.setattr("bcnmf_dask.benchmarking.benchmark.usable_cores", lambda cores=cores: cores)
        assert powers_to_cores() == sizes
