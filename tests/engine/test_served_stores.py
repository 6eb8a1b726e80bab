"""Rows that are read over HTTP by any process, from a server that may go away and come back."""

import functools
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import dask
import pytest
import zarr
from cases import KINDS, counts
from test_streaming import LITTLE, at_sweep, bits, fit
from zarr.storage import FsspecStore

from bcnmf_dask.data.stored import ZarrArraySource
from bcnmf_dask.errors import InputError

aiohttp = pytest.importorskip("aiohttp", reason="fsspec reads http:// with aiohttp, which is not installed")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


class Server:
    """Serves a folder, on the same port each time it is started."""

    def __init__(self, folder):
        self._folder, self._port, self._server = folder, 0, None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"

    def start(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), functools.partial(Quiet, directory=self._folder))
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(folder):
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["zarr", "anndata-zarr-csr"])
@pytest.mark.parametrize("where", ["local", "cluster"])
def test_a_served_store_is_waited_for_and_gives_the_bits_of_a_local_one(kind, where, tmp_path, client_of):
    given = KINDS[kind](tmp_path)
    reference = fit(given)

    with serving(tmp_path) as server, dask.config.set(LITTLE):

        def away():
            server.stop()
            threading.Timer(1.0, server.start).start()

        served = fit([f"{server.url}/{path.name}" for path in given], client_of[where](), callbacks=[at_sweep(3, away)])
    assert [bits(one) for one in served] == [bits(one) for one in reference]
    assert served[0].run["shards_streamed"] > 0


def test_a_server_that_stays_away_is_given_up_by_name(tmp_path):
    given = KINDS["zarr"](tmp_path)
    with serving(tmp_path) as server, dask.config.set(LITTLE | {"bcnmf-dask.read-patience": 1}):
        urls = [f"{server.url}/{path.name}" for path in given]
        with pytest.raises(InputError, match=r"target: 'http://.*x\.zarr' has been out of reach for 1 s"):
            fit(urls, callbacks=[at_sweep(3, server.stop)])


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), OSError("Please reduce your request rate")])
def test_servers_that_fail_for_a_while_are_waited_for(error, tmp_path, monkeypatch):
    given = KINDS["zarr"](tmp_path)
    reference = fit(given)
    get, failures = FsspecStore.get, []

    async def failing(self, key, *arguments, **options):
        if failures and "/c/" in f"/{key}":
            raise failures.pop()
        return await get(self, key, *arguments, **options)

    monkeypatch.setattr(FsspecStore, "get", failing)
    with serving(tmp_path) as server, dask.config.set(LITTLE):
        urls = [f"{server.url}/{path.name}" for path in given]
        served = fit(urls, callbacks=[at_sweep(3, lambda: failures.extend([error] * 3))])
    assert not failures
    assert [bits(one) for one in served] == [bits(one) for one in reference]


def test_a_served_store_that_was_rewritten_is_another_one(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=counts()[0])
    with serving(tmp_path) as server:
        url = f"{server.url}/x.zarr"
        old = ZarrArraySource(url)
        zarr.create_array(tmp_path / "x.zarr", data=counts()[0][:100], overwrite=True)
        assert (old.shape[0], ZarrArraySource(url).shape[0]) == (len(counts()[0]), 100)
