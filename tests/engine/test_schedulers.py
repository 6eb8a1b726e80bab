"""What is given as the place of a scheduler: used, or refused in words and in time."""

import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dask
import dask.array as da
import pytest
from cases import counts
from distributed import Client, LocalCluster

from bcnmf_dask import BCNMF, ingest
from bcnmf_dask.engine.clients import connect
from bcnmf_dask.engine.rooms import rooms_of
from bcnmf_dask.errors import ClusterError, InputError


@pytest.fixture(autouse=True)
def soon():
    with dask.config.set({"bcnmf-dask.connect-timeout": "1 s"}):
        yield


def fit(client):
    target, background = counts()
    return BCNMF(3, loss="frobenius", max_iter=3, tol=0).fit(target, background=background, client=client)


def scheduler_file(path, client):
    path.write_text(json.dumps({"type": "Scheduler", "address": client.scheduler.address}))
    return path


@pytest.mark.parametrize("name", ["scheduler.json", "scheduler", "cluster.txt", "local", "a b:1", "host:8786"])
def test_a_file_of_any_name_is_a_scheduler_file(start_client, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    client = start_client(3)
    file = scheduler_file(tmp_path / name, client)
    given = [file, Path(name), str(file)]
    for where in given if name == "local" else [*given, name]:
        with connect(where) as connected:
            assert connected.scheduler.address == client.scheduler.address


def test_fits_at_an_address_and_of_a_scheduler_file(start_client, tmp_path):
    client = start_client(3)
    address = client.scheduler.address
    here = fit(False).components_
    for where in (address, address.removeprefix("tcp://"), scheduler_file(tmp_path / "scheduler", client)):
        fitted = fit(where)
        assert fitted.run_["engine"] == "cluster"
        assert fitted.components_.tobytes() == here.tobytes()


@pytest.mark.parametrize("where", ["garbage", "", "none.json", "~nobody-of-that-name/s", "nul\0", "x" * 5000, "local:"])
def test_a_str_that_is_neither_address_nor_file(where):
    with pytest.raises(ClusterError, match=r"is no address, and no file .* seen from .*tcp://host:8786"):
        fit(where)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Expecting value"),
        (b"tcp://127.0.0.1:8786", "Extra data|Expecting value"),
        (b"[1]", "list indices"),
        (b"7", "not subscriptable"),
        (b"{}", "it names no 'address'"),
        (b"\xff\xfe", "can't decode"),
        (None, "Is a directory"),
    ],
)
def test_files_that_are_no_scheduler_files(tmp_path, content, words):
    path = tmp_path / "scheduler.json"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ClusterError, match=rf"no scheduler file that can be read \(.*({words}).*--scheduler-file FILE"):
        fit(str(path))


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ClusterError, match=r"no scheduler file that can be read \(.*No such file"):
        fit(tmp_path / "none")


def test_a_scheduler_file_whose_address_is_none(tmp_path):
    path = tmp_path / "scheduler.json"
    path.write_text('{"address": 3}')
    with pytest.raises(ClusterError, match=r"the address in '.*' is 3\. Expected the address of a running"):
        fit(path)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("tcp://127.0.0.1:9", "Connection refused"),
        ("127.0.0.1:9", "Connection refused"),
        ("tcp://127.0.0.1", "missing port"),
        ("tcp://", "missing port"),
        ("tcp://127.0.0.1:port", "port|invalid literal"),
        ("inproc://1/2/3", "does not match"),
    ],
)
def test_addresses_where_nothing_answers(where, words):
    with pytest.raises(ClusterError, match=rf"no scheduler answered at '{where}' \(.*({words}).*tcp://host:8786"):
        fit(where)


@pytest.mark.parametrize("where", ["http://127.0.0.1:8787/status", "nonsense://a:1", "tcp://tcp://127.0.0.1:8786"])
def test_protocols_that_are_none(where):
    with pytest.raises(ClusterError, match=r"protocol of '.*' is not to be had here \(.*unknown.*tcp://host:8786"):
        fit(where)


def test_a_protocol_that_is_not_installed(monkeypatch):
    def get_connector(_):
        raise TypeError("Can't instantiate abstract class UCXConnector")

    monkeypatch.setattr("distributed.comm.tcp.TCPBackend.get_connector", get_connector)
    with pytest.raises(ClusterError, match=r"not to be had here \(Can't instantiate .*install what tcp:// needs"):
        fit("tcp://127.0.0.1:8786")


def test_a_worker_and_a_nanny_are_no_schedulers(start_client):
    worker, told = next(iter(start_client(3).scheduler_info()["workers"].items()))
    for where, kind in ((worker, "worker"), (told["nanny"], "nanny")):
        with pytest.raises(
            ClusterError, match=rf"no scheduler answered at '{where}', but a {kind}\. .*`dask scheduler`"
        ):
            fit(where)


def ingest_rows(client):
    ingest(da.from_array(counts()[0]), "rows.zarr", client=client)


@pytest.mark.parametrize("use", [fit, ingest_rows, rooms_of], ids=lambda use: use.__name__)
def test_a_port_that_accepts_and_stays_silent(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterError, match=rf"no scheduler answered at '{where}' \(nothing .* within 1 s\)"):
            use(where)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_speaks_http():
    """As that of the dashboard, which `dask scheduler` prints too."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(ClusterError, match=r"no scheduler answered at .*not the port of its dashboard"):
            fit(f"tcp://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_tls_needs_certificates(start_client):
    where = start_client(3).scheduler.address.replace("tcp", "tls")
    with pytest.raises(ClusterError, match=r"needs certificates .*Client\(address, security=.*distributed\.comm\.tls"):
        fit(where)


@pytest.mark.parametrize(("content", "error"), [("none", ssl.SSLError), (None, FileNotFoundError)])
def test_certificates_that_cannot_be_used(tmp_path, content, error):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with (
        dask.config.set({f"distributed.comm.tls.{key}": str(file) for key in ("ca-file", "client.cert", "client.key")}),
        pytest.raises(ClusterError, match=r"TLS settings .* cannot be used \(.*distributed\.comm\.tls") as failed,
    ):
        fit("tls://127.0.0.1:8786")
    assert isinstance(failed.value.__cause__, error)


@pytest.mark.parametrize("timeout", ["soon", 0, -1, None])
def test_a_timeout_that_is_none(timeout):
    with (
        dask.config.set({"bcnmf-dask.connect-timeout": timeout}),
        pytest.raises(
            InputError, match=r"connect timeout: got .*bcnmf-dask\.connect-timeout of the Dask configuration"
        ),
    ):
        fit("tcp://127.0.0.1:9")


def test_a_scheduler_without_workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        dask.config.set({"bcnmf-dask.patience": 0.5}),
        LocalCluster(n_workers=0, processes=False, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        with pytest.raises(ClusterError, match=r"no worker for 0\.5 s\. Expected at least one"):
            fit(client)
        with pytest.raises(ClusterError, match=r"no worker for 0\.5 s\. Expected at least one"):
            ingest_rows(client)
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_is_closed(start_client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    client = Client(start_client(3).scheduler.address, set_as_default=False)
    client.close()
    for use in (fit, ingest_rows):
        with pytest.raises(ClusterError, match=r"the scheduler no longer answers \("):
            use(client)
    assert list(tmp_path.iterdir()) == []


STUCK = """
import asyncio, threading
import dask, numpy as np
from distributed.core import Server
from bcnmf_dask import BCNMF

async def serve():
    async def who(**_):
        return {"type": "Scheduler", "id": "s", "workers": {}, "address": server.address}

    server = Server({"identity": who, "register-client": lambda **_: asyncio.sleep(1000)})
    await server.listen("tcp://127.0.0.1:0")
    addresses.append(server.address)
    ready.set()
    await asyncio.sleep(1000)

addresses, ready = [], threading.Event()
threading.Thread(target=asyncio.run, args=[serve()], daemon=True).start()
ready.wait()
dask.config.set({"bcnmf-dask.connect-timeout": 1})
try:
    BCNMF(2, 0, max_iter=2).fit(np.ones((9, 4)), client=addresses[0])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_scheduler_that_is_stuck_leaves_no_client_behind(tmp_path):
    """Dask waits for the end of a client that never started twice as long as for its start, and prints a traceback."""
    script = tmp_path / "script.py"
    script.write_text(STUCK)
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert "ClusterError client: the scheduler answers, but no client can be connected to it" in ended.stdout
    assert "Traceback" not in ended.stderr
