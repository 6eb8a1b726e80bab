"""Devices of a cluster: one process on each, several on one, a worker without, and how such a cluster is started."""

import sys
import types
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
from cases import K, counts
from distributed import Client, LocalCluster, Worker
from typer.testing import CliRunner

from bcnmf_dask import BCNMF, backend
from bcnmf_dask.engine import clusters, rooms
from bcnmf_dask.engine.hardware import DEVICE_SHARE
from bcnmf_dask.engine.limits import DeviceRoom
from bcnmf_dask.errors import InputError

FORMS = {"csr": sp.csr_array, "dense": np.asarray}


@contextmanager
def workers(processes, protocol="tcp"):
    """A cluster of two, and a client of it."""
    where = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "protocol": protocol}
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, processes=processes, **where) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield cluster, client


@pytest.fixture
def sharing(device, request):
    """Two workers that share the device; those of the emulated one are threads of this process."""
    with workers(processes="emulated" not in request.node.name) as found:
        yield *found, device


def fitted(client, device, form="csr", loss="kullback-leibler", callbacks=(), **more):
    x, y = map(FORMS[form], counts())
    model = BCNMF(K, 0.5, loss=loss, max_iter=4, tol=0, dtype="float64", **more)
    return model.fit(x, background=y, client=client, device=device, callbacks=callbacks)


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
@pytest.mark.parametrize("form", FORMS)
def test_workers_that_share_a_device_give_what_one_process_gives(form, loss, sharing):
    _, client, device = sharing
    found, alone = fitted(client, device, form, loss), fitted(False, device, form, loss)
    assert set(found.run_["devices"].values()) == {"cuda"}
    assert len(found.run_["devices"]) == 2
    for name in ("components_", "target_usages_", "background_usages_"):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), 1e-9, 1e-12)


def test_a_worker_that_is_lost_is_replayed_on_a_device(sharing):
    cluster, client, device = sharing
    undisturbed = fitted(client, device)

    def lose(record):
        if record.iteration == 2:
            first = next(iter(cluster.workers.values()))
            cluster.sync(first.close if isinstance(first, Worker) else first.kill)

    disturbed = fitted(client, device, callbacks=[lose])
    assert disturbed.run_["workers_lost"] == 1
    np.testing.assert_allclose(disturbed.components_, undisturbed.components_, 1e-9)
    np.testing.assert_allclose(disturbed.target_usages_, undisturbed.target_usages_, 1e-9, 1e-12)


def test_a_worker_without_a_device_says_so():
    if backend.no_device() is None:
        pytest.skip("the workers of this machine have a device")
    with workers(processes=True) as (_, client):
        with pytest.raises(InputError, match=r"device: got 'cuda', but .* said by worker tcp://.* on host"):
            fitted(client, "cuda")
        assert set(fitted(client, "auto").run_["devices"].values()) == {"cpu"}


def test_messages_go_by_ucx_where_it_is_installed():
    pytest.importorskip("distributed_ucxx", reason="distributed-ucxx is not installed")
    with workers(processes=True, protocol="ucxx") as (_, client):
        found = fitted(client, "cpu")
        assert len(rooms.rooms_of(client.scheduler.address, "cpu")) == 2
    assert found.components_.tobytes() == fitted(False, "cpu").components_.tobytes()


class Started:
    """A cluster of dask-cuda as far as it is asked for: what it was given, and workers without devices."""

    def __new__(cls, **given):
        cls.given = given
        return LocalCluster(
            n_workers=2, threads_per_worker=1, host=given["host"], dashboard_address=given["dashboard_address"]
        )


@pytest.fixture
def two_devices(monkeypatch):
    """A machine on which two devices are seen and dask-cuda is installed."""
    module = types.ModuleType("dask_cuda")
    module.LocalCUDACluster = Started
    monkeypatch.setitem(sys.modules, "dask_cuda", module)
    monkeypatch.setattr(clusters, "no_device", lambda: None)
    monkeypatch.setattr(rooms, "n_devices", lambda: 2)
    monkeypatch.setattr(rooms.Hardware, "device_room", lambda self, number=None: self.share_of(1e9))


def test_a_process_is_started_on_each_device(two_devices):
    fitted("local-cuda", "cpu")
    assert (Started.given["host"], Started.given["threads_per_worker"]) == ("127.0.0.1", 1)
    assert "n_workers" not in Started.given, "dask-cuda starts one on each device"
    assert len(rooms.rooms_of("local-cuda")) == 2


@pytest.mark.parametrize("installed", [True, False])
def test_they_share_the_pool_of_rmm_where_it_is_installed(installed, two_devices, monkeypatch):
    monkeypatch.setattr(clusters, "find_spec", lambda name: installed and name == "rmm")
    monkeypatch.setattr(clusters, "_started", lambda cluster, **given: given)
    found = clusters.local_cuda_cluster()
    assert ("rmm_pool_size" in found, found.get("rmm_allocator_external_lib_list")) == (
        (True, "cupy") if installed else (False, None)
    )


def test_the_command_starts_them(two_devices, tmp_path):
    from bcnmf_dask.cli.main import app  # which draws, and a machine with a device may lack matplotlib

    np.save(tmp_path / "x.npy", counts()[0])
    given = [
        "fit",
        str(tmp_path / "x.npy"),
        "--alpha",
        "0",
        "--n-components",
        "3",
        "--max-iter",
        "2",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, [*given, "--local-cuda", "--out", str(tmp_path / "fit.zarr")])
    assert done.exit_code == 0, done.output
    assert "a worker process on each CUDA device" in done.output


def test_what_a_scheduler_knows_of_devices():
    worker = {"memory_limit": 8e9, "nthreads": 2, "gpu": {"memory-total": 80e9, "name": "some device"}}
    worker["metrics"] = {"gpu": {"memory-used": 20e9, "utilization": 0}}
    room = rooms._of_worker(worker, rooms.Hardware("auto", None, 5e9))
    assert room.device == DeviceRoom(DEVICE_SHARE * 60e9, 5e9)
    assert rooms._of_worker(worker, rooms.Hardware("cpu", None, None)).device is None
    del worker["gpu"]
    assert rooms._of_worker(worker, rooms.Hardware("auto", None, None)).device is None


@pytest.mark.parametrize("command", ["plan", "fit"])
def test_a_command_without_devices_says_so(command, tmp_path, monkeypatch):
    from bcnmf_dask.cli.main import app

    monkeypatch.setattr(clusters, "no_device", lambda: "there is none")
    np.save(tmp_path / "x.npy", counts()[0])
    more = ["--alpha", "0", "--out", str(tmp_path / "fit.zarr")] if command == "fit" else []
    done = CliRunner().invoke(app, [command, str(tmp_path / "x.npy"), "--local-cuda", *more, "--loss", "frobenius"])
    assert done.exit_code == 1
    assert "--local-cuda: there is none. Expected CUDA devices; --local needs none." in done.output


def test_without_devices_no_cluster_of_them_is_started(monkeypatch):
    monkeypatch.setattr(clusters, "no_device", lambda: "there is none")
    with pytest.raises(InputError, match=r"client='local-cuda': there is none.*client='local' needs none"):
        fitted("local-cuda", "auto")


def test_without_dask_cuda_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(clusters, "no_device", lambda: None)
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    with pytest.raises(InputError, match=r"dask-cuda is not installed whole .*pip install 'bcnmf-dask\[gpu-cu13\]'"):
        fitted("local-cuda", "auto")
