"""The same data and seed give the same bits, whatever computes them."""

import numpy as np
import pytest
import scipy.sparse as sp
from cases import KINDS, counts, settings

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine import local
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.settings import Settings

LOSSES = ("frobenius", "kullback-leibler")
CHOSEN = [Settings(5, 1.0, "mean", loss, None, 25, 0.0, 3) for loss in LOSSES]
INPUTS = {"dense": lambda: counts(), "csr": lambda: [sp.csr_array(rows) for rows in counts()]}


def bits(result):
    parts = (result.components, result.target_usages, result.background_usages, result.target_signal)
    return [np.asarray(part).tobytes() for part in parts]


def fit(form, client, dtype="float32"):
    return factorize(read_inputs(*INPUTS[form]()), CHOSEN, dtype=dtype, client=client)


@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize(("n_workers", "threads"), [(1, 1), (1, 2), (2, 1), (3, 1)])
def test_workers_and_threads_change_no_bit(form, n_workers, threads, start_client):
    reference = fit(form, client=False)
    results = fit(form, client=start_client(n_workers, threads))
    assert [bits(result) for result in results] == [bits(result) for result in reference]
    owners = sum(count > 0 for count in results[0].run["shards_per_worker"].values())
    assert owners == n_workers


@pytest.mark.parametrize("form", INPUTS)
def test_threads_of_this_process_change_no_bit(form, monkeypatch):
    monkeypatch.setattr(local, "usable_cores", lambda: 1)
    one = fit(form, client=False)
    monkeypatch.setattr(local, "usable_cores", lambda: 2)
    two = fit(form, client=False)
    assert two[0].run["threads"] == 2
    assert [bits(result) for result in one] == [bits(result) for result in two]


def test_a_fit_has_the_same_bits_alone_and_in_any_list(start_client):
    inputs = read_inputs(*counts())
    many = [*CHOSEN, Settings(3, 0.5, "sum", "frobenius", None, 10, 0.0, 9)]
    for client in (False, start_client(2)):
        together = factorize(inputs, many, dtype="float64", client=client)
        for one, result in zip(many, together, strict=True):
            (alone,) = factorize(inputs, [one], dtype="float64", client=client)
            assert bits(alone) == bits(result)


SWEPT = [Settings(k, 0.5, "sum", loss, None, 6, 0.0, k) for loss in LOSSES for k in (7, 3, 7, 12, 5)]


@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize("n_workers", [None, 2])
def test_a_sweep_of_many_fits_has_the_bits_of_each_alone_in_any_order(form, n_workers, start_client, monkeypatch):
    monkeypatch.setattr(local, "usable_cores", lambda: 2)
    inputs, client = read_inputs(*INPUTS[form]()), False if n_workers is None else start_client(n_workers)
    alone = [bits(factorize(inputs, [one], dtype="float32", client=False)[0]) for one in SWEPT]
    for order in (range(len(SWEPT)), range(len(SWEPT) - 1, -1, -1), [5, 0, 6, 1, 7, 2, 8, 3, 9, 4]):
        together = factorize(inputs, [SWEPT[number] for number in order], dtype="float32", client=client)
        assert [bits(one) for one in together] == [alone[number] for number in order]


def test_other_chunks_agree_to_rounding(start_client, tmp_path):
    one = settings("numpy", "kullback-leibler", 1.0, 0.5)
    kinds = ("numpy", "dask-50", "dask-uneven", "zarr")
    inputs = [read_inputs(*KINDS[kind](tmp_path)) for kind in kinds]
    bounds = {tuple((shard.start, shard.stop) for shard in plan_shards(each).shards) for each in inputs}
    assert len(bounds) > 2, "the plans were meant to differ"
    first, *others = [factorize(each, [one], dtype="float64", client=start_client(2))[0] for each in inputs]
    for result in others:
        np.testing.assert_allclose(result.components, first.components, rtol=1e-9, atol=1e-15)
