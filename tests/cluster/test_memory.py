"""A fit on a worker whose memory holds a fifth of the data."""

import os

import dask
import numpy as np
import psutil
import pytest
import zarr
from distributed import Client, LocalCluster

from bcnmf_dask import BCNMF

ROWS, FEATURES, PIECE = 150_000, 2000, 5000


def dense_store(path):
    """1.2 GB as float32, most of it zeros, as small integers; drawn in pieces."""
    store = zarr.create_array(path, shape=(ROWS, FEATURES), chunks=(500, FEATURES), dtype="uint8")
    draw = np.random.default_rng(0)
    for start in range(0, ROWS, PIECE):
        store[start : start + PIECE] = draw.poisson(draw.random((1, FEATURES)), (PIECE, FEATURES)).astype(np.uint8)
    return path


def fit(path, client):
    model = BCNMF(10, alpha=0, loss="frobenius", max_iter=3, tol=0)
    return model.fit(path, client=client, out=path.with_name(f"{bool(client)}.zarr"))


def worker(limit):
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=limit
    )
    return cluster, Client(cluster, set_as_default=False)


def memory_at_rest():
    """Of a worker that has only imported this package."""

    def resident():
        import bcnmf_dask  # noqa: F401

        return psutil.Process(os.getpid()).memory_info().rss

    cluster, client = worker(0)
    with cluster, client:
        (found,) = client.run(resident).values()
    return found


@pytest.fixture
def workers_of_their_own():
    """Workers that share no memory with the process they came from."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}):
        yield


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("workers_of_their_own")
def test_a_limit_of_a_fifth_of_the_data_above_an_idle_worker(tmp_path):
    path = dense_store(tmp_path / "rows.zarr")
    cluster, client = worker(memory_at_rest() + 4 * ROWS * FEATURES // 5)
    with cluster, client:
        fitted = fit(path, client)
        log = " ".join(text for lines in client.get_worker_logs().values() for _, text in lines)
    reference = fit(path, False)
    assert fitted.run_["shards_streamed"] > reference.run_["shards_streamed"] == 0
    assert fitted.components_.tobytes() == reference.components_.tobytes()
    assert np.asarray(fitted.target_usages_).tobytes() == np.asarray(reference.target_usages_).tobytes()
    assert fitted.run_["workers_lost"] == 0
    assert "Pausing" not in log
