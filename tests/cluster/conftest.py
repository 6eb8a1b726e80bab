"""Clusters whose workers are real processes that can be killed; nannies start them again."""

import logging

import pytest
from chaos import Stage, eventually, held
from distributed import Client, LocalCluster

logger = logging.getLogger(__name__)


def _start(n_workers, **options):
    cluster = LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=False,  # else the handlers of caplog, which distributed's logger has, stay deaf while it lasts
        **options,
    )
    return Client(cluster, set_as_default=False), cluster


def _close(client, cluster):
    client.close()
    cluster.close()


@pytest.fixture(scope="session")
def _shared():
    """Clusters by number of workers."""
    started = {}
    yield started
    for client, cluster in started.values():
        _close(client, cluster)


def _whole(shared, n_workers):
    """The shared cluster of that size; a new one if a nanny, whose worker was killed too often, has given up."""
    if n_workers in shared:
        client, cluster = shared[n_workers]
        try:
            client.wait_for_workers(n_workers, timeout=5)
        except TimeoutError:
            nannies = {name: (str(one.status), one.worker_address) for name, one in cluster.workers.items()}
            logger.warning("workers did not come back: %s", nannies)
            _close(*shared.pop(n_workers))
    if n_workers not in shared:
        shared[n_workers] = _start(n_workers)
    return shared[n_workers][0]


@pytest.fixture
def fresh_workers():
    """``fresh_workers(n, **options)``: a client of a cluster of its own, for what workers do not recover from."""
    started = []

    def start(n_workers, **options):
        started.append(_start(n_workers, **options))
        return started[-1][0]

    yield start
    for client, cluster in started:
        assert eventually(lambda client=client: not held(client)), "a run was left on the workers"
        _close(client, cluster)


@pytest.fixture
def workers(_shared):
    """``workers(n)``: a client of n live worker processes; nothing may be held on them after the test."""
    used = []

    def start(n_workers):
        client = _whole(_shared, n_workers)
        used.append(client)
        return client

    yield start
    for client in used:
        assert eventually(lambda client=client: not held(client)), "a run was left on the workers"


@pytest.fixture
def stage(monkeypatch):
    """See `chaos.Stage`."""
    return Stage(monkeypatch)
