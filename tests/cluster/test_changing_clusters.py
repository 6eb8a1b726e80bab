"""Clusters that grow, shrink, idle out or fall apart while a fit runs."""

import socket
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
from chaos import Signals, at_sweep, bits, eventually, left_in_peace, model, rows, stored, workers_of

from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.errors import ClusterError, InputError

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


def fit(client, **options):
    target, background = rows()
    return model().fit(target, background=background, client=client, **options)


def test_a_worker_that_joins_is_given_shards(fresh_workers):
    client = fresh_workers(1)

    def grow():
        client.cluster.scale(2)
        client.wait_for_workers(2, timeout=60)
        time.sleep(0.6)  # newcomers are looked for every half second

    fitted = fit(client, callbacks=[at_sweep(3, grow)])
    assert bits(fitted) == left_in_peace()
    assert [count > 0 for count in fitted.run_["shards_per_worker"].values()] == [True, True]
    assert (fitted.run_["workers_lost"], fitted.run_["replayed"] > 0) == (0, True)


def test_a_pause_longer_than_the_idle_timeout(fresh_workers):
    with dask.config.set({"distributed.scheduler.idle-timeout": "10s"}):  # enough to start in
        client = fresh_workers(1)
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.idle_timeout) == 10

    def pause():
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "idle_timeout", 2))
        time.sleep(4)

    fitted = fit(client, callbacks=[at_sweep(2, pause)])
    assert bits(fitted) == left_in_peace()
    assert fitted.run_["workers_lost"] == 0


def test_adaptive_scaling_leaves_the_workers_of_a_fit(fresh_workers):
    client = fresh_workers(2)
    client.cluster.adapt(minimum=0, maximum=2, interval="200ms", wait_count=2)
    fitted = fit(client, callbacks=[at_sweep(2, lambda: time.sleep(4))])
    assert bits(fitted) == left_in_peace()
    assert (fitted.run_["workers_lost"], fitted.run_["replayed"]) == (0, 0)
    assert eventually(lambda: not workers_of(client)), "once it is over they may go"


def test_a_cluster_that_has_shrunk_to_nothing_is_woken(fresh_workers):
    client = fresh_workers(0)
    client.cluster.adapt(minimum=0, maximum=1, interval="200ms")
    assert bits(fit(client)) == left_in_peace()


def test_a_worker_restarted_at_its_old_address(fresh_workers):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = fresh_workers(1, worker_port=port)
    (address,) = workers_of(client)
    kill = Signals(client)
    kill.choose = lambda _: [address]

    def lives():
        return client.run_on_scheduler(
            lambda dask_scheduler: [one.server_id for one in dask_scheduler.workers.values()]
        )

    def restart():
        before = lives()
        kill(None)
        assert eventually(lambda: lives() not in ([], before))

    fitted = fit(client, callbacks=[at_sweep(3, restart)])
    assert bits(fitted) == left_in_peace()
    assert list(fitted.run_["shards_per_worker"]) == [address]
    assert (fitted.run_["workers_lost"], fitted.run_["replayed"] > 0) == (1, True)


@pytest.mark.parametrize("saved", [True, False])
def test_no_worker_is_left(fresh_workers, stage, tmp_path, saved):
    client = fresh_workers(2)
    kill = Signals(client, count=2)
    options = {"checkpoint": tmp_path / "saved", "checkpoint_every": 2} if saved else {}

    def end():
        kill(stage.engines[-1])
        client.cluster.scale(0)

    patience = dask.config.set({"bcnmf-dask.patience": 2})
    with patience, pytest.raises(ClusterError, match=r"no worker for 2 s.*start workers") as raised:
        fit(client, callbacks=[at_sweep(5, end)], **options)
    assert ("resume=True" in str(raised.value)) == saved
    if saved:
        fitted = fit(False, resume=True, **options)
        assert fitted.run_["resumed_from"] == 4
        assert bits(fitted) == left_in_peace()


def test_workers_that_are_lost_for_ever(workers, stage, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.engine.cluster.ATTEMPTS", 3)
    client = workers(3)

    stage.replace(ClusterEngine, "_visit", lambda engine, task, orders: _kill_and(client, engine, task, orders))
    with pytest.raises(ClusterError, match=r"Workers were lost 3 times during one sweep; the last time: tcp://"):
        fit(client)


def _kill_and(client, engine, task, orders, visit=ClusterEngine._visit):
    client.wait_for_workers(1)
    Signals(client)(engine)
    return visit(engine, task, orders)


def test_a_scattered_chunk_that_is_lost_is_explained(fresh_workers, stage):
    client = fresh_workers(2)
    target = rows()[0][:3000]
    addresses = workers_of(client)
    pieces = [
        client.scatter(target[start : start + 500], workers=[addresses[start // 500 % 2]], hash=False)
        for start in range(0, 3000, 500)
    ]
    array = da.concatenate([da.from_delayed(piece, (500, 300), np.float32) for piece in pieces])
    kill = Signals(client)
    stage.on(ClusterEngine, "sweep", 4, kill)
    with pytest.raises(InputError, match=r"chunk of a Dask array was lost with its worker.*scattered.*da\.from_zarr"):
        model(alpha=0.0).fit(array, client=client)
    assert len(kill.victims) == 1


def test_two_fits_at_once_and_a_kill(workers, stage, tmp_path):
    client = workers(3)
    target, background = stored(tmp_path)
    alone = {seed: bits(model(random_state=seed).fit(target, background=background, client=False)) for seed in (1, 2)}
    kill, found = Signals(client), {}

    def run(seed):
        callbacks = [at_sweep(4, lambda: kill(stage.engines[0]))] if seed == 1 else []
        found[seed] = model(random_state=seed).fit(target, background=background, client=client, callbacks=callbacks)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert {seed: bits(fitted) for seed, fitted in found.items()} == alone
    assert [fitted.run_["workers_lost"] for fitted in found.values()] == [1, 1]
    assert all(fitted.run_["replayed"] > 0 for fitted in found.values())
