"""A worker that stops answering is replaced; what it says once it is back is not listened to."""

import signal
import threading

import dask
import pytest
from chaos import Signals, at_sweep, bits, eventually, left_in_peace, model, rows, workers_of

from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.engine.delivery import Delivery

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


@pytest.fixture
def freeze(fresh_workers):
    """(client, freeze): SIGSTOP for one worker; all go on afterwards, so that the cluster can be closed."""
    client = fresh_workers(2)
    stop = Signals(client, signal.SIGSTOP)
    with dask.config.set({"bcnmf-dask.frozen-after": 2}):
        yield client, stop
    stop.thaw()


@pytest.mark.parametrize("midway", [False, True])
def test_frozen_for_good(freeze, stage, midway):
    client, stop = freeze
    stage.on(ClusterEngine, "sweep", 4, stop, midway)
    target, background = rows()
    fitted = model().fit(target, background=background, client=client)
    assert bits(fitted) == left_in_peace()
    assert fitted.run_["workers_lost"] == len(stop.victims) == 1
    assert fitted.run_["replayed"] > 0


def test_thawed_while_the_fit_goes_on(freeze, stage):
    client, stop = freeze
    stage.on(ClusterEngine, "sweep", 4, stop, midway=True)
    target, background = rows()
    fitted = model(max_iter=12).fit(
        target, background=background, client=client, callbacks=[at_sweep(5, stop.thaw), at_sweep(8, pause)]
    )
    assert bits(fitted) == bits(model(max_iter=12).fit(target, background=background, client=False))
    assert fitted.run_["workers_lost"] == 1
    assert stop.victims[0] not in fitted.run_["shards_per_worker"]


def test_thawed_before_it_is_given_up(freeze, stage):
    client, stop = freeze
    stage.on(ClusterEngine, "sweep", 4, stop, midway=True)
    target, background = rows()
    threading.Timer(0.0, lambda: (eventually(lambda: stop.victims) and pause(1)) or stop.thaw()).start()
    fitted = model().fit(target, background=background, client=client)
    assert bits(fitted) == left_in_peace()
    assert (len(stop.victims), fitted.run_["workers_lost"], fitted.run_["replayed"]) == (1, 0, 0)


def test_frozen_while_rows_are_sent_to_it(freeze, stage):
    client, stop = freeze
    stop.choose = lambda engine: workers_of(client)
    stage.on(Delivery, "deliver", 1, stop)
    target, background = rows()
    fitted = model().fit(target, background=background, client=client)
    assert bits(fitted) == left_in_peace()
    assert fitted.run_["workers_lost"] == len(stop.victims) == 1


def pause(_=None):
    """Time for a thawed worker to do harm."""
    threading.Event().wait(1.5)
