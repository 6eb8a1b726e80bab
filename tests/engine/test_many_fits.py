"""A visit for many fits: one that is repeated for some of them changes nothing."""

import numpy as np
import pytest
import scipy.sparse as sp
from cases import K, counts

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import FitSpec, RunSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.orders import Order
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

FITS = [f"fit {number}" for number in range(5)]
FORMS = {"dense": lambda: counts(), "csr": lambda: [sp.csr_array(rows) for rows in counts()]}


@pytest.fixture(params=FORMS)
def engine(request):
    inputs = read_inputs(*FORMS[request.param]())
    engine = LocalEngine(RunSpec(inputs, plan_shards(inputs), "float32", [K] * len(FITS)))
    engine.load()
    yield engine
    engine.close()


def orders(stamps):
    draw = np.random.default_rng(1)
    bases = [draw.random((counts()[0].shape[1], K), dtype=np.float32) for _ in FITS]
    steps = [Steps(1 + number % 2, 0.5 + number / 4) for number in range(len(FITS))]
    of_fits = zip(bases, steps, FITS, stamps, strict=True)
    return [Order(*given, np.ones(K)) for given in of_fits]


def numbers(records):
    return [[part for role in sorted(record) for part in record[role]] for record in records]


def assert_equal(ours, expected):
    for one, other in zip(numbers(ours), numbers(expected), strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_repeated_visit_gives_the_same_sums_to_some_and_all(engine, loss):
    for seed, key in enumerate(FITS):
        engine.start(FitSpec(key, loss, K, seed), {})
    first, _ = engine.sweep(orders([0] * 5))
    engine.sweep(orders([1] * 5)[:2])
    usages = [engine.usages(order, "target") for order in orders([2, 2, 1, 1, 1])]
    again, _ = engine.sweep(orders([0] * 5)[2:])
    assert_equal(again, first[2:])
    mixed, _ = engine.sweep(orders([1] * 5))
    ahead, _ = engine.sweep(orders([1] * 5))
    assert_equal(ahead, mixed)
    np.testing.assert_array_equal(engine.usages(orders([2] * 5)[0], "target"), usages[0])
