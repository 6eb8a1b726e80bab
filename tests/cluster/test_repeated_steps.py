"""Steps that are asked for twice, bases that come misaligned, and workers with nothing to do."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from chaos import SWEEPS, Signals, bits, model

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine import cluster as cluster_engine
from bcnmf_dask.engine.base import FitSpec, RunSpec
from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.orders import Closing, Order
from bcnmf_dask.updates.initialise import normalise
from bcnmf_dask.updates.multiplicative import Steps

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]
SPEC = FitSpec("fit-0", "kullback-leibler", 4, 3)


def small():
    draw = np.random.default_rng(2)
    return draw.poisson(0.7, (400, 50)).astype(np.float32), draw.poisson(0.7, (200, 50)).astype(np.float32)


def orders(count):
    draw = np.random.default_rng(3)
    for stamp in range(count):
        basis, scales = normalise(draw.random((50, 4)) + 0.1)
        yield Order(basis.astype(np.float32), Steps(1, 1.0), "fit-0", stamp, scales)


def numbers(records):
    return [np.asarray(part).tobytes() for record in records for role in sorted(record) for part in record[role]]


@pytest.fixture
def engines(workers):
    """A cluster engine (and the client) and the local one, both loaded and started."""
    inputs = read_inputs(*small())
    plan = plan_shards(inputs)
    client = workers(3)
    spec = RunSpec(inputs, plan, "float32", [8])
    made = [ClusterEngine(client, spec), LocalEngine(spec)]
    for engine in made:
        engine.load()
        engine.start(SPEC, {})
    yield client, *made
    for engine in made:
        engine.close()


def test_a_repeated_step_changes_nothing_not_even_for_a_replay(engines):
    client, cluster, local = engines
    kill = Signals(client)
    for order in orders(6):
        expected = numbers(local.sweep([order])[0])
        assert numbers(cluster.sweep([order])[0]) == expected
        assert numbers(cluster.sweep([order])[0]) == expected
        if order.stamp == 3:
            kill(cluster)
    after = replace(order, stamp=order.stamp + 1)
    assert cluster.usages(after, "target").tobytes() == local.usages(after, "target").tobytes()
    assert cluster.describe()["replayed"] > 0


def misaligned(array):
    room = np.empty(array.nbytes + 1, np.uint8)
    found = room[1:].view(array.dtype).reshape(array.shape)
    found[...] = array
    assert not found.flags.aligned
    return found


@pytest.mark.parametrize("small", [0, cluster_engine.SMALL])
def test_a_misaligned_basis_gives_the_same_bits(engines, monkeypatch, small):
    monkeypatch.setattr(cluster_engine, "SMALL", small)
    _, cluster, local = engines
    for order in orders(3):
        odd = replace(order, basis=misaligned(order.basis), scales=misaligned(order.scales))
        assert numbers(cluster.sweep([odd])[0]) == numbers(local.sweep([order])[0])
    profile, floor = np.full((2, 50), [[0.02], [1e-5]], np.float32)
    closing = Closing(order.basis, order.steps, "fit-0", 3, order.scales, profile, floor=floor)
    parts = {name: misaligned(getattr(closing, name)) for name in ("basis", "scales", "profile", "floor")}
    assert numbers(cluster.evaluate([replace(closing, **parts)])) == numbers(local.evaluate([closing]))


def test_the_only_shard_is_lost_while_others_idle(workers, stage):
    client = workers(3)
    target = small()[0][:40, :12]
    kill = Signals(client)
    stage.on(ClusterEngine, "sweep", 4, kill)
    fitted = model(alpha=0.0).fit(target, client=client)
    assert bits(fitted) == bits(model(alpha=0.0).fit(target, client=False))
    assert (fitted.run_["shards"], fitted.run_["replayed"], len(kill.victims)) == (1, 1, 1)


def test_shards_without_a_stored_value(workers, stage):
    client = workers(3)
    target = sp.csr_array(np.vstack([small()[0], np.zeros((3000, 50), np.float32)]))
    kill = Signals(client)
    stage.on(ClusterEngine, "sweep", 4, kill)
    fitted = model(alpha=0.0).fit(target, client=client)
    assert bits(fitted) == bits(model(alpha=0.0).fit(target, client=False))
    assert fitted.run_["zero_rows"]["target"] == 3000
    assert fitted.run_["replayed"] > 0
    assert fitted.n_iter_ == SWEEPS
