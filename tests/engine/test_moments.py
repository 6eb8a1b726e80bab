"""The sums over each side that a load gives: of every kind of input, to the same bits whatever computes them."""

import dask
import numpy as np
import pytest
import scipy.sparse as sp
from cases import KINDS, pair

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine import local
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.clients import open_engine

STREAMED = {"bcnmf-dask.memory-limit": "1 MB"}


def load(given, client=False, dtype="float64"):
    inputs = read_inputs(*given)
    with open_engine(client, RunSpec(inputs, plan_shards(inputs), dtype, [4])) as engine:
        return engine.load(), engine.describe()


def bits(findings):
    return {
        role: [np.asarray(part).tobytes() for part in (*moments, findings.peaks[role])]
        for role, moments in findings.moments.items()
    }


def counts(n=4000, f=60):
    """Enough for many shards, and of values whose sums depend on their order."""
    draw = np.random.default_rng(2)
    return [sp.csr_array(draw.gamma(0.4, 3.0, (rows, f)) * (draw.random((rows, f)) < 0.3)) for rows in (n, n // 2)]


@pytest.mark.parametrize("engine", ["local", "cluster"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_has_the_moments_of_its_rows(kind, engine, client_of, tmp_path):
    findings, _ = load(KINDS[kind](tmp_path), client_of[engine]())
    for role, rows in zip(("target", "background"), pair(kind), strict=True):
        moments, totals = findings.moments[role], rows.sum(axis=1)
        filled, sums = rows[rows > 0], totals[totals > 0]
        assert (moments.n_rows, moments.zero_rows) == (len(rows), int((totals == 0).sum()))
        assert (moments.positive, moments.fractional) == (len(filled), 0)
        assert findings.peaks[role] == rows.max()
        np.testing.assert_array_equal(moments.feature_sums, rows.sum(axis=0))
        assert (moments.total, moments.squares) == (rows.sum(), (rows**2).sum())
        assert moments.value_logs == pytest.approx((filled * np.log(filled)).sum(), rel=1e-12)
        assert moments.row_logs == pytest.approx((sums * np.log(sums)).sum(), rel=1e-12)


@pytest.mark.parametrize("form", [lambda rows: rows, lambda rows: rows.toarray()], ids=["csr", "dense"])
def test_workers_and_threads_change_no_bit(form, start_client, monkeypatch):
    given = [form(rows) for rows in counts()]
    assert len(plan_shards(read_inputs(*given)).shards) > 8
    monkeypatch.setattr(local, "usable_cores", lambda: 1)
    reference = bits(load(given)[0])
    monkeypatch.setattr(local, "usable_cores", lambda: 3)
    assert bits(load(given)[0]) == reference
    for n_workers, threads in [(1, 1), (1, 2), (2, 1), (3, 1)]:
        assert bits(load(given, start_client(n_workers, threads))[0]) == reference


@pytest.mark.parametrize("kind", ["zarr", "anndata-h5ad-csr", "roles-zarr"])
def test_streamed_rows_have_the_bits_of_resident_ones(kind, tmp_path, client_of):
    given = KINDS[kind](tmp_path)
    reference = bits(load(given)[0])
    with dask.config.set(STREAMED):
        for engine in client_of.values():
            findings, described = load(given, engine())
            assert described["shards_streamed"] > 0
            assert bits(findings) == reference


def test_values_are_those_of_the_run():
    """In float32 a side has the sums of its rounded values."""
    given = counts(200)
    findings, _ = load(given, dtype="float32")
    rounded = given[0].astype(np.float32).astype(np.float64)
    assert findings.moments["target"].squares == pytest.approx((rounded.data**2).sum(), rel=1e-13)
