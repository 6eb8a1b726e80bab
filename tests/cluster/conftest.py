"""Clusters whose workers are real processes that can be killed; nannies start them again."""

import logging
from functools import cache

import pytest
from chaos import Stage, eventually, held
from distributed import Client, LocalCluster


def _start(n_workers, **options):
    cluster = LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        **options,
    )
    return Client(cluster, set_as_default=False), cluster


def _close(client, cluster):
    client.close()
    cluster.close()


@pytest.fixture(scope="session")
def _clients():
    started = []

    @cache
    def start(n_workers):
        started.append(_start(n_workers))
        return started[-1][0]

    yield start
    for client, cluster in started:
        _close(client, cluster)


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
def workers(_clients):
    """``workers(n)``: a client of n live worker processes; nothing may be held on them after the test."""
    used = []

    def start(n_workers):
        client = _clients(n_workers)
        client.wait_for_workers(n_workers, timeout=60)
        used.append(client)
        return client

    yield start
    for client in used:
        assert eventually(lambda client=client: not held(client)), "a run was left on the workers"


@pytest.fixture
def stage(monkeypatch):
    """See `chaos.Stage`."""
    return Stage(monkeypatch)
