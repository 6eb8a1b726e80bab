"""Real clusters on loopback, started once per session and shape."""

from functools import cache

import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="session")
def start_client():
    """``start_client(n_workers, threads)``: a client of a local cluster of that shape, shared by all tests."""
    open_clients = []

    @cache
    def start(n_workers, threads=1):
        cluster = LocalCluster(
            n_workers=n_workers, threads_per_worker=threads, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        )
        client = Client(cluster, set_as_default=False)
        open_clients.append((client, cluster))
        return client

    yield start
    for client, cluster in open_clients:
        client.close()
        cluster.close()


@pytest.fixture
def client_of(start_client):
    """What ``fit(client=...)`` is given for an engine by name."""
    return {"local": lambda: False, "cluster": lambda: start_client(3)}
