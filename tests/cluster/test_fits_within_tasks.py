"""Fits that are tasks of the cluster they run on: they would wait for ever behind themselves."""

import inside
import numpy as np
import pytest
import zarr
from chaos import bits

pytestmark = pytest.mark.timeout(120)
PATIENCE = 60
"""Seconds for what takes one; a fit that waits behind itself never ends."""


@pytest.fixture(scope="module")
def outside():
    return bits(inside.fitted(False))


@pytest.mark.parametrize(
    "task",
    [
        inside.with_get_client,
        inside.with_worker_client,
        inside.with_worker_client_in_its_place,
        inside.seceded_by_hand,
        inside.with_address,
        inside.in_this_process,
    ],
    ids=lambda task: task.__name__,
)
def test_a_fit_inside_a_task(workers, outside, task):
    assert workers(2).submit(task, pure=False).result(timeout=PATIENCE) == outside


@pytest.mark.parametrize("task", [inside.of_dask_arrays, inside.of_dask_arrays_without_client])
def test_a_fit_to_dask_arrays_inside_a_task(workers, task):
    found = workers(2).submit(task, pure=False).result(timeout=PATIENCE)
    assert found == bits(inside.fitted(False, inside.lazy_rows))


def test_more_fits_than_workers(workers, outside):
    """As a sweep over seeds, alphas or numbers of components submits them."""
    client = workers(2)
    futures = [client.submit(inside.with_get_client, pure=False) for _ in range(5)]
    assert client.gather(futures, errors="raise") == [outside] * 5


def test_a_fit_inside_an_actor(workers, outside):
    client = workers(2)
    with client.as_current():  # an actor asks for it when it is called
        actor = client.submit(inside.Fitter, actor=True).result(timeout=PATIENCE)
        assert actor.fit().result(timeout=PATIENCE) == outside


def test_a_fit_that_fails_leaves_the_task_its_place(workers):
    assert "negative" in workers(2).submit(inside.failing, pure=False).result(timeout=PATIENCE)


def test_transform_inside_a_task(workers):
    target, _ = inside.rows()
    expected = np.asarray(inside.fitted(False).transform(target, client=False)).tobytes()
    assert workers(2).submit(inside.transforming, pure=False).result(timeout=PATIENCE) == expected


def test_ingest_inside_a_task(workers, tmp_path):
    out = str(tmp_path / "rows.zarr")
    workers(2).submit(inside.ingesting, out, pure=False).result(timeout=PATIENCE)
    assert np.array_equal(zarr.open_group(out)["X"][:], inside.rows()[0])
