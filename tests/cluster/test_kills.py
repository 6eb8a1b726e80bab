"""Workers that own shards are killed; the fit finishes with the bits of one left in peace."""

import pytest
from chaos import SOURCES, SWEEPS, Signals, at_sweep, bits, labelled, left_in_peace, model, rows, workers_of

from bcnmf_dask.engine import cluster
from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.engine.crew import Crew
from bcnmf_dask.engine.delivery import Delivery
from bcnmf_dask.engine.holdings import Holdings

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60)]


def fit(client, data=rows, **options):
    target, background = data()
    return model().fit(target, background=background, client=client, **options)


def assert_repaired(fitted, kill, count=1, data=rows):
    assert bits(fitted) == left_in_peace(data)
    assert len(kill.victims) == count
    assert fitted.run_["workers_lost"] == count
    assert fitted.run_["replayed"] > 0


@pytest.mark.parametrize("small", [0, cluster.SMALL])
@pytest.mark.parametrize(("count", "midway"), [(1, True), (2, False), (2, True)])
def test_before_and_during_a_sweep(workers, stage, monkeypatch, small, count, midway):
    monkeypatch.setattr(cluster, "SMALL", small)
    client = workers(3)
    kill = Signals(client, count=count)
    stage.on(ClusterEngine, "sweep", 5, kill, midway)
    fitted = fit(client)
    assert stage.hits == ["sweep"]
    assert_repaired(fitted, kill, count)


@pytest.mark.timeout(180)  # two fits whose kernels may have to be compiled
@pytest.mark.parametrize(("step", "nth"), [("sweep", SWEEPS + 1), ("evaluate", 1)])
@pytest.mark.parametrize("midway", [False, True])
def test_in_the_visits_that_close_a_fit(workers, stage, step, nth, midway):
    """First usages are fitted to the final components, then everything is described."""
    client = workers(3)
    kill = Signals(client)
    stage.on(ClusterEngine, step, nth, kill, midway)
    target, background = rows()
    fitted = model(converged_usages=True).fit(target, background=background, client=client)
    alone = model(converged_usages=True).fit(target, background=background, client=False)
    assert stage.hits == [step]
    assert bits(fitted) == bits(alone)
    assert fitted.run_["replayed"] > 0
    assert fitted.run_["usages_largest_residual"] == alone.run_["usages_largest_residual"]
    for column in ("target_explained", "background_fraction", "auroc"):
        assert fitted.summary()[column].to_numpy().tobytes() == alone.summary()[column].to_numpy().tobytes()


@pytest.mark.parametrize("count", [1, 2])
def test_after_a_sweep(workers, stage, count):
    client = workers(3)
    kill = Signals(client, count=count)
    assert_repaired(fit(client, callbacks=[at_sweep(5, lambda: kill(stage.engines[-1]))]), kill, count)


@pytest.mark.parametrize("midway", [False, True])
def test_during_the_replay_that_follows_another_kill(workers, stage, midway):
    client = workers(3)
    kill = Signals(client)
    stage.on(ClusterEngine, "sweep", 7, kill)
    stage.on(Holdings, "_restore", 2, kill, midway)
    fitted = fit(client)
    assert sorted(stage.hits) == ["_restore", "sweep"]
    assert_repaired(fitted, kill, 2)


def test_during_a_snapshot(workers, stage, monkeypatch):
    monkeypatch.setattr(cluster, "HISTORY_SWEEPS", 3)
    client = workers(3)
    kill = Signals(client)
    stage.on(ClusterEngine, "_snapshot", 1, kill)
    fitted = fit(client)
    assert stage.hits == ["_snapshot"]
    assert fitted.run_["snapshots"] == 2
    assert_repaired(fitted, kill)


def test_after_a_snapshot_the_replay_starts_there(workers, stage, monkeypatch):
    monkeypatch.setattr(cluster, "HISTORY_SWEEPS", 3)
    client = workers(3)
    kill = Signals(client)
    stage.on(ClusterEngine, "sweep", 6, kill)
    assert_repaired(fit(client), kill)


@pytest.mark.parametrize(("step", "data"), [("write", rows), ("write_shared", labelled)])
def test_during_a_checkpoint(workers, stage, tmp_path, step, data):
    client = workers(3)
    kill = Signals(client)

    def when_it_comes(crew, addresses, task, arguments, call=Crew.call):
        if task.__name__ == step and not kill.victims:
            kill(stage.engines[-1])
        return call(crew, addresses, task, arguments)

    stage.replace(Crew, "call", when_it_comes)
    fitted = fit(client, data, checkpoint=tmp_path / "saved", checkpoint_every=4)
    assert_repaired(fitted, kill, data=data)
    again = fit(client, data, checkpoint=tmp_path / "saved", checkpoint_every=4, resume=True)
    assert again.run_["resumed_from"] == 8
    assert bits(again) == left_in_peace(data)


def test_while_results_are_collected(workers, stage):
    client = workers(3)
    kill = Signals(client)
    stage.on(ClusterEngine, "usages", 1, kill)
    assert bits(fit(client)) == left_in_peace()
    assert (stage.hits, len(kill.victims)) == (["usages"], 1)
    assert stage.engines[-1].describe()["replayed"] > 0


@pytest.mark.parametrize("small", [0, cluster.SMALL])
def test_between_a_finished_task_and_its_result(workers, stage, monkeypatch, small):
    monkeypatch.setattr(cluster, "SMALL", small)
    client = workers(3)
    kill = Signals(client)
    stage.on(Crew, "_gather", 16, kill)  # well after those of the loading
    fitted = fit(client)
    assert stage.hits == ["_gather"]
    assert_repaired(fitted, kill)


@pytest.mark.parametrize("midway", [False, True])
def test_the_only_worker(workers, stage, midway):
    client = workers(1)
    kill = Signals(client)
    stage.on(ClusterEngine, "sweep", 5, kill, midway)
    fitted = fit(client)
    assert stage.hits == ["sweep"]
    assert_repaired(fitted, kill)


@pytest.mark.parametrize("kind", SOURCES)
def test_rows_come_again_from_every_kind_of_source(workers, stage, tmp_path, kind):
    client = workers(3)
    target, background = SOURCES[kind](tmp_path)
    expected = bits(model().fit(target, background=background, client=False))
    kill = Signals(client)
    stage.on(ClusterEngine, "sweep", 4, kill, midway=True)
    fitted = model().fit(target, background=background, client=client)
    assert bits(fitted) == expected
    assert (kill.victims, fitted.run_["workers_lost"]) != ([], 0)
    assert fitted.run_["replayed"] > 0


LOADING = [
    ("memory", "deliver", 1, False),
    ("memory", "_take", 3, False),
    ("path", "deliver", 1, True),
    ("dask", "deliver", 1, True),
]


@pytest.mark.parametrize(("kind", "method", "nth", "midway"), LOADING)
def test_while_loading(workers, stage, tmp_path, kind, method, nth, midway):
    client = workers(3)
    target, background = SOURCES[kind](tmp_path)
    alone = model(max_iter=3).fit(target, background=background, client=False)
    kill = Signals(client)
    kill.choose = lambda engine: workers_of(client)  # none owns a shard yet
    stage.on(Delivery, method, nth, kill, midway)
    fitted = model(max_iter=3).fit(target, background=background, client=client)
    assert stage.hits == [method]
    assert fitted.run_["workers_lost"] == 1
    assert bits(fitted) == bits(alone)
    assert fitted.run_["zero_rows"] == alone.run_["zero_rows"] == {"target": 1, "background": 0}
