"""Temporary stores of lazy usages where clusters read and write them."""

import gc
import logging
import multiprocessing.util
import os
import shlex
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from bcnmf_dask import BCNMF
from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.errors import InputError

pytestmark = pytest.mark.timeout(180)
SECONDS = 30
"""For what takes one or two."""


@cache
def counts():
    draw = np.random.default_rng(3)
    return draw.poisson(1.0, (400, 30)).astype(np.float32), draw.poisson(1.0, (300, 30)).astype(np.float32)


def model():
    return BCNMF(n_components=3, max_iter=4, tol=0)


@pytest.fixture(scope="module")
def expected():
    return model().fit(counts()[0], background=counts()[1])


@pytest.fixture
def paths(tmp_path):
    for name, values in zip("tb", counts(), strict=True):
        np.save(tmp_path / f"{name}.npy", values)
    return tmp_path / "t.npy", tmp_path / "b.npy"


@pytest.fixture
def top(monkeypatch):
    multiprocessing.util.get_temp_dir()  # kept for all processes that are started: it must stay, and have a short name
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def stores(top):
    return list(top.glob("bcnmf-*"))


def all_gone(top):
    gc.collect()
    deadline = time.monotonic() + SECONDS
    while stores(top) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not stores(top)


def slowly(block):
    time.sleep(0.5)
    return block


def test_computing_on_a_cluster_ends_with_the_last_user(workers, top, paths, expected):
    client = workers(2)
    fitted = model().fit(paths[0], background=paths[1], client=client)
    assert stores(top) == [Path(fitted.run_["temporary_store"]).parent]
    usages = fitted.target_usages_
    del fitted
    gc.collect()
    computed = client.compute(usages.sum(axis=0))
    np.testing.assert_allclose(computed.result(timeout=SECONDS), expected.target_usages_.sum(axis=0), rtol=1e-5)
    assert stores(top)
    del usages, computed
    assert all_gone(top)


def test_what_a_cluster_keeps_is_read_to_the_end(workers, top, paths, expected):
    client = workers(2)
    fitted = model().fit(paths[0], background=paths[1], client=client)
    kept = client.persist(fitted.target_usages_.map_blocks(slowly)[:350])
    del fitted
    gc.collect()
    np.testing.assert_array_equal(client.compute(kept).result(timeout=SECONDS), expected.target_usages_[:350])
    assert stores(top)  # if a worker is lost, it is read again
    del kept
    assert all_gone(top)


def test_a_lost_worker_reads_again(fresh_workers, top, paths, expected):
    client = fresh_workers(2)
    kept = client.persist(model().fit(paths[0], background=paths[1], client=client).target_usages_)
    np.testing.assert_array_equal(client.compute(kept).result(timeout=SECONDS), expected.target_usages_)
    gc.collect()
    client.restart_workers(list(client.scheduler_info(n_workers=-1)["workers"])[:1], timeout=SECONDS)
    np.testing.assert_array_equal(client.compute(kept).result(timeout=SECONDS), expected.target_usages_)


def test_what_a_task_fits_and_sends_home_stays(workers, top, paths, expected):
    """The worker cannot know how long it is used elsewhere; whoever has it knows the place."""
    given = {"temporary-directory": str(top)}
    fitted = workers(2).submit(fit_there, *map(str, paths), given, pure=False).result(timeout=SECONDS)
    gc.collect()
    time.sleep(1.5)
    np.testing.assert_array_equal(fitted.target_usages_.compute(scheduler="sync"), expected.target_usages_)
    assert stores(top) == [Path(fitted.run_["temporary_store"]).parent]


def fit_there(target, background, given):
    with dask.config.set(given):
        return model().fit(target, background=background, client=False)


def can_unshare():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


@pytest.fixture
def apart(top, tmp_path):
    """A client of two workers, one of which has a temporary directory of its own, as on another machine."""
    if not sys.platform.startswith("linux") or not can_unshare():
        pytest.skip("a worker with a file system of its own needs root, or the right to make one")
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--host", "127.0.0.1"]
        worker += ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(top)]
        here = f"mount -t tmpfs tmpfs {shlex.quote(str(top))} && exec {shlex.join(worker)}"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with (tmp_path / "worker.log").open("w") as log:
            process = subprocess.Popen(["unshare", "-m", "bash", "-c", here], stderr=log, env=environment)
        try:
            client.wait_for_workers(2, timeout=60)
            yield client
        finally:
            process.terminate()
            process.wait(timeout=SECONDS)


def test_machines_with_temporary_directories_of_their_own(apart, top, paths, expected, caplog):
    caplog.set_level(logging.INFO, logger="bcnmf_dask")
    fitted = model().fit(paths[0], background=paths[1], client=apart)
    assert len(fitted.run_["shards_per_worker"]) == 2
    assert "temporary_store" not in fitted.run_
    assert "Usages are gathered" in caplog.text
    assert stores(top) == []
    for name in ("target_usages_", "background_usages_"):
        np.testing.assert_array_equal(getattr(fitted, name).compute(), getattr(expected, name))
    np.testing.assert_array_equal(apart.compute(fitted.target_usages_).result(timeout=SECONDS), expected.target_usages_)
    again = fitted.transform(paths[0], client=apart)
    np.testing.assert_array_equal(again.compute(), expected.transform(counts()[0]))
    assert expected.explained_fraction(paths[0], client=apart).compute().shape == (400,)


def test_a_shared_temporary_directory_of_dask_is_used(apart, top, tmp_path, paths, expected):
    with dask.config.set({"temporary-directory": str(tmp_path / "shared")}):
        usages = expected.transform(paths[0], client=apart)
    assert str(tmp_path / "shared") in expected.transform_run_["temporary_store"]
    np.testing.assert_array_equal(apart.compute(usages).result(timeout=SECONDS), expected.transform(counts()[0]))
    written = expected.transform(paths[0], client=apart, out=tmp_path / "usages.zarr")
    np.testing.assert_array_equal(apart.compute(written).result(timeout=SECONDS), usages.compute())


def test_usages_that_the_driver_has_no_room_for(apart, top, paths, expected, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.fitting.sharing.is_small_here", lambda nbytes: nbytes < 400)
    words = r"^out: none was given.* worker tcp://.* cannot write there .*give out=.*too large \(.*temporary-directory"
    seen = []
    with pytest.raises(InputError, match=words):
        model().fit(paths[0], background=paths[1], client=apart, callbacks=[seen.append])
    assert (seen, stores(top)) == ([], [])
    with pytest.raises(InputError, match=words):
        expected.transform(paths[0], client=apart)


def test_a_worker_that_does_not_see_what_the_driver_wrote_refuses(apart, top, paths):
    """Zarr would read zeros."""
    usages = model().fit(paths[0], background=paths[1], client=False).target_usages_
    (store,) = stores(top)
    (other,) = [address for address, sees in apart.run(os.path.exists, str(store)).items() if not sees]
    with pytest.raises(InputError, match=r"the usages were there, but on host .*out="):
        apart.compute(usages, workers=[other]).result(timeout=SECONDS)


@pytest.mark.parametrize("blind", [1, 2])
def test_a_worker_that_comes_and_does_not_see_it(workers, top, paths, expected, monkeypatch, blind):
    """At the start of the fit, or only at its end."""
    looks, look = [], ClusterEngine.check_writable

    def check(engine, location):
        looks.append(location)
        if len(looks) >= blind:
            raise InputError(f"{location}: worker tcp://elsewhere cannot write there.")
        look(engine, location)

    monkeypatch.setattr(ClusterEngine, "check_writable", check)
    fitted = model().fit(paths[0], background=paths[1], client=workers(2))
    assert (len(looks), stores(top)) == (2, [])
    np.testing.assert_array_equal(fitted.target_usages_.compute(), expected.target_usages_)
    assert fitted.target_usages_.chunks == model().fit(paths[0], background=paths[1]).target_usages_.chunks
