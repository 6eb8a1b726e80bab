"""Fits that are saved and taken up again where stores, callers and hosts of the process misbehave."""

import os
import shutil
import signal
import threading

import numpy as np
import pytest
import zarr
from cases import F, K, M, N, counts
from distributed import get_worker

from bcnmf_dask import BCNMF
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine import cluster, runs, writing
from bcnmf_dask.engine.base import FitSpec, RunSpec, Saved
from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.engine.hardware import Hardware
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.orders import Order
from bcnmf_dask.errors import CheckpointError, CheckpointWarning, InputError, Preempted
from bcnmf_dask.fitting.preemption import stop_requests
from bcnmf_dask.updates.multiplicative import Steps

CPU = Hardware("cpu", None, None)


def fit(client, saved=None, callbacks=(), max_iter=6, init="random", **options):
    x, y = counts()
    model = BCNMF(K, max_iter=max_iter, init=init, tol=0)
    return model.fit(x, background=y, client=client, checkpoint=saved, callbacks=callbacks, **options)


def bits(fitted):
    return [np.asarray(part).tobytes() for part in (fitted.components_, fitted.target_usages_)]


@pytest.fixture(params=["local", "cluster"])
def client(request, client_of):
    return client_of[request.param]()


def test_a_shorter_fit_resumes_from_the_checkpoint_before_a_damaged_one(client, tmp_path):
    fit(client, tmp_path / "saved", checkpoint_every=1)
    newest = max(tmp_path.glob("saved/generation-*"))
    usages = zarr.open_array(newest / "fit-0", path="background_usages")
    usages[M - 1 :] = 0
    with pytest.warns(CheckpointWarning, match="checksums differ"):
        again = fit(client, tmp_path / "saved", resume=True, max_iter=5)
    assert again.run_["resumed_from"] == again.n_iter_ == 5
    assert bits(again) == bits(fit(False, max_iter=5))


def test_a_start_that_fails_does_not_keep_others_from_starting(start_client, tmp_path):
    inputs = read_inputs(*counts())
    engine = ClusterEngine(start_client(3), RunSpec(inputs, plan_shards(inputs), "float32", [K]))
    first, second = (FitSpec(key, "frobenius", K, 0) for key in ("fit-0", "fit-1"))
    order = Order(np.ones((F, K), dtype=np.float32), Steps(1, 1.0), "fit-0", 0, np.ones(K))
    try:
        engine.load()
        engine.start(first, {})
        with pytest.raises(CheckpointError):
            engine.start(second, {}, Saved(str(tmp_path / "none"), 3, {}))
        engine.start(first, {})
        assert engine.usages(order, "target").shape == (N, K)
    finally:
        engine.close()


def test_start_arrays_are_part_of_what_a_checkpoint_belongs_to(tmp_path):
    draw = np.random.default_rng(0)
    one, other = ({"components": draw.random((K, F))} for _ in range(2))
    fit(False, tmp_path / "saved", init=one, checkpoint_every=2)
    assert fit(False, tmp_path / "saved", init=one, resume=True).run_["resumed_from"] == 6
    with pytest.raises(CheckpointError, match="the values of init components differ"):
        fit(False, tmp_path / "saved", init=other, resume=True)


def test_who_asks_to_stop_is_not_promised_a_checkpoint_that_there_is_not(tmp_path):
    saved = tmp_path / "saved"

    def stop(_):
        saved.write_text("a file now")
        os.kill(os.getpid(), signal.SIGTERM)

    with (
        pytest.warns(CheckpointWarning, match="could not be saved"),
        pytest.raises(Preempted, match="could not be saved: it will start from the beginning"),
    ):
        fit(False, saved, [stop])


def test_handlers_that_are_not_of_python_are_left_alone(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    with stop_requests() as asked:
        assert not asked()


def test_an_array_that_workers_do_not_see_is_a_warning(start_client, tmp_path, monkeypatch):
    create = cluster.create_all_usages

    def late(inputs, plan, order, location):
        create(inputs, plan, order, location)
        shutil.rmtree(f"{location}/target_usages")

    monkeypatch.setattr(cluster, "create_all_usages", late)
    with pytest.warns(CheckpointWarning, match="sweep 6 could not be saved"):
        fitted = fit(start_client(3), tmp_path / "saved", checkpoint_every=6)
    assert bits(fitted) == bits(fit(False))


def test_snapshots_that_fail_do_not_pile_up(start_client, tmp_path, monkeypatch):
    write, seen = ClusterEngine._write, []

    def full(engine, order, location):
        write(engine, order, location)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cluster, "HISTORY_SWEEPS", 2)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ClusterEngine, "_write", full)
    fitted = fit(start_client(3), callbacks=[lambda _: seen.append(len(list(tmp_path.glob("bcnmf-scratch-*/*/"))))])
    assert seen == [0] * 6
    assert fitted.run_["snapshots"] == 0
    assert bits(fitted) == bits(fit(False))


def test_a_call_that_still_writes_shared_chunks_is_waited_for(tmp_path, monkeypatch):
    inputs = read_inputs(*counts())
    engine = LocalEngine(RunSpec(inputs, plan_shards(inputs), "float32", [K]), n_threads=1)
    engine.load()
    residency, began, go_on = engine._residency, threading.Event(), threading.Event()

    def slow(residency, order, location):
        began.set()
        go_on.wait()
        return iter(())

    monkeypatch.setattr(writing, "_arrays", slow)
    writer = threading.Thread(target=writing.write_shared, args=(residency, None, str(tmp_path)))
    looking = threading.Thread(target=residency.stamps)
    writer.start()
    assert began.wait(10)
    looking.start()
    looking.join(0.2)
    assert looking.is_alive()
    go_on.set()
    looking.join(10)
    assert not looking.is_alive()
    engine.close()


def test_a_guard_that_ends_late_spares_a_run_that_was_opened_again(start_client):
    def play():
        old = vars(get_worker())["_bcnmf_runs"]["again"]
        runs.open_run("again", 1, "float32", (), CPU)
        old.over.set()
        return True

    client = start_client(1)
    address = list(client.scheduler_info()["workers"])[:1]
    client.submit(runs.open_run, "again", 1, "float32", (), CPU, workers=address, pure=False).result()
    guard = client.submit(runs.guard, "again", workers=address, pure=False)
    assert client.submit(play, workers=address, pure=False).result()
    guard.result()
    assert client.submit(runs.holds, "again", workers=address, pure=False).result()
    client.submit(runs.close_run, "again", workers=address, pure=False).result()


def test_one_place_for_the_result_and_the_checkpoints_is_refused_before_the_fit(tmp_path):
    with pytest.raises(InputError, match=r"checkpoint: .* is also where the result shall be \(out\)"):
        fit(False, tmp_path / "fit.zarr", out=tmp_path / "fit.zarr")


def test_an_empty_checkpoint_path_is_refused():
    with pytest.raises(InputError, match="checkpoint: got an empty path"):
        fit(False, "")


def test_a_store_that_fails_in_a_way_of_its_own_is_a_warning(tmp_path, monkeypatch):
    def refuse(*_):
        raise LookupError("the bucket is gone")

    monkeypatch.setattr("bcnmf_dask.results.checkpoints.write_generation", refuse)
    with pytest.warns(CheckpointWarning, match="the bucket is gone"):
        fit(False, tmp_path / "saved", checkpoint_every=6)


def test_all_checkpoints_damaged_are_each_named(tmp_path):
    fit(False, tmp_path / "saved", checkpoint_every=3)
    for chunk in (tmp_path / "saved").rglob("target_usages/c/*/*"):
        chunk.write_bytes(b"nonsense")
    with (
        pytest.warns(CheckpointWarning, match="The checkpoint before it is used"),
        pytest.raises(CheckpointError, match=r"is whole \(.*usages.*usages"),
    ):
        fit(False, tmp_path / "saved", resume=True)


@pytest.mark.chaos
def test_a_checkpoint_lost_under_a_fit_that_needs_it_says_how_to_go_on(start_client, tmp_path):
    def lose(record):
        if record.iteration == 5:
            for chunk in (tmp_path / "saved").rglob("target_usages/c/*/*"):
                chunk.write_bytes(b"nonsense")
            client.restart()

    client = start_client(3)
    with pytest.raises(CheckpointError, match=r"cannot be read.*fit again with checkpoint=.*resume=True"):
        fit(client, tmp_path / "saved", [lose], checkpoint_every=4)


@pytest.mark.parametrize("stored", [np.uint8, np.int32, np.int64])
def test_the_fingerprint_is_that_of_the_values_however_they_are_held(stored):
    found = []
    for dtype in (stored, np.float32):
        inputs = read_inputs(*(rows.astype(dtype) for rows in counts()))
        engine = LocalEngine(RunSpec(inputs, plan_shards(inputs), "float32", [K]))
        engine.load()
        found.append(engine.fingerprint())
        engine.close()
    assert found[0] == found[1]
