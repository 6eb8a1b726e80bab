"""Every solver in both engines: the same bits for any workers, and after it was stopped and resumed."""

import numpy as np
import pytest
from cases import KINDS, K, counts

from bcnmf_dask import BCNMF
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.engine.memory import Stays
from bcnmf_dask.errors import CheckpointError
from bcnmf_dask.fitting.parameters import SOLVERS
from bcnmf_dask.updates.losses import LOSSES

SWEEPS = 30


def model_of(solver, loss="frobenius"):
    size = 50 if solver == "online" else None
    return BCNMF(K, 1.0, loss=loss, solver=solver, batch_size=size, max_iter=SWEEPS, tol=0)


def fit(solver, loss="frobenius", client=False, callbacks=(), kind="numpy", folder=None, **options):
    x, y = KINDS[kind](folder) if folder else counts()
    return model_of(solver, loss).fit(x, background=y, client=client, callbacks=callbacks, **options)


def bits(fitted):
    parts = (fitted.components_, fitted.target_usages_, fitted.background_usages_)
    return [np.asarray(part).tobytes() for part in parts]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_same_bits_in_both_engines(solver, loss, start_client):
    alone = fit(solver, loss)
    for n_workers in (1, 3):
        there = fit(solver, loss, start_client(n_workers))
        assert bits(there) == bits(alone)
        assert there.history_.objective.tolist() == alone.history_.objective.tolist()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("engine", ["local", "cluster"])
@pytest.mark.parametrize("stop", [7, 25])
def test_a_fit_that_was_stopped_resumes_to_the_same_bits(solver, engine, stop, client_of, tmp_path):
    """After 25 sweeps the accelerated solver has looked, the online one is in its last pass."""
    client, saved = client_of[engine](), {"checkpoint": tmp_path / "saved", "checkpoint_every": 1}
    whole = fit(solver, client=client)

    def dies(record):
        if record.iteration == stop:
            raise RuntimeError("the driver dies")

    with pytest.raises(RuntimeError, match="the driver dies"):
        fit(solver, client=client, callbacks=[dies], **saved)
    resumed = fit(solver, client=client, resume=True, **saved)
    assert resumed.run_["resumed_from"] == stop - 1
    assert bits(resumed) == bits(whole)
    assert len(resumed.history_) == len(whole.history_)


def test_an_online_fit_that_has_made_its_passes_makes_no_more(tmp_path):
    x, y = counts()
    model = BCNMF(K, 1.0, loss="frobenius", solver="online", max_iter=1)
    saved = {"background": y, "client": False, "checkpoint": tmp_path / "saved"}
    model.fit(x, **saved, checkpoint_every=1)
    with pytest.raises(CheckpointError, match="passes was 1 and is now 3"):
        model.set_params(max_iter=20).fit(x, **saved, resume=True)
    assert model.set_params(max_iter=1).fit(x, **saved, resume=True).status_.word == "passed"


def test_usages_that_no_sweep_has_changed_are_not_saved(tmp_path):
    def fails(record):
        if record.iteration == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fit("online", callbacks=[fails], checkpoint=tmp_path / "saved", checkpoint_every=2)
    assert not list((tmp_path / "saved").rglob("*usages*"))
    fit("online", checkpoint=tmp_path / "whole", checkpoint_every=1)
    assert list((tmp_path / "whole").rglob("*usages*"))


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_that_are_streamed_give_the_same_bits(solver, tmp_path, monkeypatch):
    kept = fit(solver, kind="anndata-zarr-csr", folder=tmp_path, out=tmp_path / "kept.zarr")
    monkeypatch.setattr("bcnmf_dask.engine.local.resident", lambda *_: Stays())
    sources = [tmp_path / "x.zarr", tmp_path / "y.zarr"]
    assert read_inputs(*sources).paths[0] is not None
    out = tmp_path / "streamed.zarr"
    streamed = model_of(solver).fit(sources[0], background=sources[1], client=False, out=out)
    assert streamed.run_["shards_streamed"] > 0
    assert bits(streamed) == bits(kept)
