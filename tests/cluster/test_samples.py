"""Workers that are killed while rows are sampled; the fit finishes with the bits of one left in peace."""

import pytest
from chaos import Signals, bits, model, rows

from bcnmf_dask.engine.cluster import ClusterEngine

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


def fit(client):
    target, background = rows()
    online = model(solver="online", max_iter=1, batch_size=6000)
    return online.fit(target, background=background, client=client)


@pytest.mark.parametrize("midway", [False, True])
def test_a_worker_is_lost_with_the_rows_of_a_batch(workers, stage, midway):
    alone = fit(False)
    client = workers(3)
    kill = Signals(client)
    stage.on(ClusterEngine, "sample", 3, kill, midway)
    fitted = fit(client)
    assert stage.hits == ["sample"]
    assert bits(fitted) == bits(alone)
    assert (len(kill.victims), fitted.run_["workers_lost"]) == (1, 1)
    assert fitted.run_["replayed"] > 0


def test_the_workers_are_restarted_between_two_batches(workers, stage):
    alone = fit(False)
    client = workers(2)
    stage.on(ClusterEngine, "sample", 4, lambda _: client.restart())
    fitted = fit(client)
    assert stage.hits == ["sample"]
    assert bits(fitted) == bits(alone)
