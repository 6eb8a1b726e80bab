"""What a cluster can do to a fit, and what a fit leaves behind."""

import shutil
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest
import zarr
from anndata import AnnData
from cases import counts
from distributed import Client

from bcnmf_dask import BCNMF
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import Shard, plan_shards
from bcnmf_dask.engine import environment
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.clients import open_engine
from bcnmf_dask.engine.placement import assign, by_owner, to_move
from bcnmf_dask.errors import ClusterError, InputError
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.settings import Settings


def model(**changes):
    parameters = {"n_components": 3, "loss": "frobenius", "max_iter": 5, "tol": 0}
    return BCNMF(**parameters | changes)


def held(client):
    """Runs that the workers of a client hold."""
    return [
        run
        for runs in client.run(lambda dask_worker: list(vars(dask_worker).get("_bcnmf_runs", {}))).values()
        for run in runs
    ]


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_run_leaves_nothing_on_the_workers(start_client):
    client = start_client(3)
    target, background = counts()
    seen = []
    model().fit(target, background=background, client=client, callbacks=[lambda _: seen.append(len(held(client)))])
    assert seen == [3] * 5, "every worker holds the run while it lasts"
    assert eventually(lambda: not held(client))
    assert eventually(lambda: not client.processing() or not any(client.processing().values()))


def test_a_failed_run_leaves_nothing_on_the_workers(start_client):
    client = start_client(3)
    target, background = counts()

    def fail(_):
        raise KeyError("from a callback")

    with pytest.raises(KeyError, match="from a callback"):
        model().fit(target, background=background, client=client, callbacks=[fail])
    assert eventually(lambda: not held(client))


def test_a_run_is_freed_when_its_driver_is_gone(start_client):
    client = start_client(3)
    script = (
        "import os, sys, numpy as np; from distributed import Client; from bcnmf_dask import BCNMF\n"
        "client = Client(sys.argv[1]); x = np.random.default_rng(0).random((300, 40))\n"
        "BCNMF(3, 0, loss='frobenius', tol=0).fit(x, client=client, callbacks=[lambda record: os._exit(9)])"
    )
    ended = subprocess.run([sys.executable, "-c", script, client.scheduler.address], timeout=120)
    assert ended.returncode == 9
    assert eventually(lambda: not held(client), 60)


def test_two_fits_at_once_give_what_each_gives_alone(start_client):
    client = start_client(3)
    target, background = counts()
    alone = [model(random_state=seed).fit(target, background=background, client=client).components_ for seed in (1, 2)]
    found = {}

    def run(seed):
        found[seed] = model(random_state=seed).fit(target, background=background, client=client).components_

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [found[seed].tobytes() for seed in (1, 2)] == [one.tobytes() for one in alone]


def test_shared_storage_is_not_asked_for_where_a_path_is_seen(start_client, tmp_path):
    path = tmp_path / "a.h5ad"
    AnnData(counts()[0]).write_h5ad(path)
    settings = Settings(3, 0.0, "mean", "frobenius", None, 5, 0.0, 0)
    with h5py.File(path, "r+"), pytest.raises(InputError, match=r"a\.h5ad: worker tcp://.* on host ") as error:
        factorize(read_inputs(path, None), [settings], dtype="float32", client=start_client(3))
    assert "It is open for writing in another process: close it there" in str(error.value)
    assert "shared storage" not in str(error.value)
    assert "damaged" not in str(error.value)


def test_a_path_that_workers_cannot_open_is_named(start_client, tmp_path, monkeypatch):
    path = tmp_path / "rows.zarr"
    zarr.create_array(path, data=counts()[0])
    inputs = read_inputs(path, None)

    def gone_for_workers(*arguments):
        shutil.rmtree(path)
        return open_engine(*arguments)

    monkeypatch.setattr("bcnmf_dask.fitting.factorize.open_engine", gone_for_workers)
    settings = Settings(3, 0.0, "mean", "frobenius", None, 5, 0.0, 0)
    with pytest.raises(InputError, match=r"rows\.zarr: worker tcp://.* on host .* cannot read it.*shared storage"):
        factorize(inputs, [settings], dtype="float32", client=start_client(3))
    assert eventually(lambda: not held(start_client(3)))


def test_versions_that_differ_are_refused(start_client, monkeypatch):
    here = environment.versions()
    monkeypatch.setattr(environment, "versions", lambda: here | {"numpy": "1.0"})
    with pytest.raises(ClusterError, match=r"has numpy .*this process 1\.0.*install the same environment"):
        model().fit(counts()[0], background=counts()[1], client=start_client(3))


def test_other_processors_are_logged(caplog):
    here = environment.versions()
    environment.refuse_unlike({"tcp://w": here | {"cpu": "another"}})
    assert "Processors differ" in caplog.text


def test_a_closed_client(start_client):
    client = Client(start_client(3).scheduler.address, set_as_default=False)
    client.close()
    with pytest.raises(ClusterError, match=r"the scheduler no longer answers \(the client is closed\)"):
        model().fit(counts()[0], background=counts()[1], client=client)


def test_the_copy_of_the_workers_that_a_client_keeps_is_not_believed(start_client, monkeypatch):
    client = start_client(3)
    monkeypatch.setattr(client, "scheduler_info", lambda **_: {"workers": {}})
    fitted = model().fit(counts()[0], background=counts()[1], client=client)
    assert (fitted.run_["workers_lost"], len(fitted.run_["shards_per_worker"])) == (0, 3)


def test_a_folder_that_workers_do_not_see(start_client, tmp_path):
    inputs = read_inputs(counts()[0], None)
    with open_engine(start_client(3), RunSpec(inputs, plan_shards(inputs), "float32", [3])) as engine:
        engine.check_writable(str(tmp_path))
        with pytest.raises(InputError, match=r"nowhere: worker tcp://.* on host .* cannot write there.*shared storage"):
            engine.check_writable(str(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_is_none():
    with pytest.raises(InputError, match=r"client: got int\. Expected a distributed.Client"):
        model().fit(counts()[0], background=counts()[1], client=7)


def shard(index, values):
    return Shard(index, 0, index, index + 1, 1, index, {"target": (index, index + 1)}, values)


def test_shards_are_spread_by_stored_values():
    shards = [shard(i, values) for i, values in enumerate([10, 10, 10, 30])]
    assert by_owner(assign(shards, ["a", "b"], {}, {})) == {"a": [0, 1, 2], "b": [3]}


def test_holders_are_preferred_up_to_their_fair_share():
    shards = [shard(i, 10) for i in range(4)]
    owners = assign(shards, ["a", "b"], {}, {index: ["b"] for index in range(4)})
    assert by_owner(owners) == {"b": [0, 1], "a": [2, 3]}


def test_orphans_go_to_the_least_loaded():
    shards = [shard(i, 10) for i in range(6)]
    assert assign(shards, ["a", "b"], {0: "a", 1: "a", 2: "a", 3: "b"}, {}) == {4: "b", 5: "b"}


def test_a_worker_that_joins_is_given_its_share():
    shards = [shard(i, 10) for i in range(6)]
    owners = {0: "a", 1: "a", 2: "a", 3: "a", 4: "b", 5: "b"}
    assert to_move(shards, ["a", "b", "c"], owners) == [2, 3]
    assert to_move(shards, ["a", "b"], owners) == []


def test_more_workers_than_shards():
    assert assign([shard(0, 5)], ["a", "b", "c"], {}, {}) == {0: "a"}


def test_a_small_fit_runs_where_most_workers_own_nothing(start_client):
    target = np.random.default_rng(0).random((20, 6))
    fitted = model(alpha=0.0).fit(target, client=start_client(3))
    assert sorted(fitted.run_["shards_per_worker"].values()) == [0, 0, 1]
    assert np.isfinite(fitted.target_usages_).all()
