"""A long fit needs no more of anything than a short one, and the driver no more for many workers than for few."""

import json
import subprocess
import sys

import numpy as np
import psutil
import pytest
import traffic

from bcnmf_dask import BCNMF

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MEGABYTES = 2**20


def resident():
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize("saved", [False, True])
def test_a_thousand_sweeps(workers, tmp_path, saved):
    client = workers(2)
    seen = {}

    def look(record):
        if record.iteration in (200, 600, 1000):
            tasks = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
            seen[record.iteration] = (tasks, [resident(), *client.run(resident).values()])

    rows = np.random.default_rng(0).random((400, 50)).astype(np.float32)
    options = {"checkpoint": tmp_path / "saved", "checkpoint_every": 25} if saved else {}
    fitted = BCNMF(4, 0.0, loss="frobenius", max_iter=1000, tol=0).fit(rows, client=client, callbacks=[look], **options)
    assert sum(count > 0 for count in fitted.run_["shards_per_worker"].values()) == 2
    counts = [tasks for tasks, _ in seen.values()]
    assert max(counts) <= 12, "one guard per worker, and what is left of the sweep before"
    grown = [after - before for before, after in zip(seen[200][1], seen[1000][1], strict=True)]
    assert max(grown) < 30 * MEGABYTES
    assert len(list((tmp_path / "saved").glob("*"))) == (2 if saved else 0)


def bytes_per_sweep(client, owners):
    command = [sys.executable, traffic.__file__, client.scheduler.address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["owners"] == owners
    return told["bytes_per_sweep"]


def test_the_driver_moves_one_basis_and_one_record(workers):
    two, four = bytes_per_sweep(workers(2), 2), bytes_per_sweep(workers(4), 4)
    basis, record = 4 * traffic.FEATURES * traffic.COMPONENTS, 8 * traffic.FEATURES * traffic.COMPONENTS
    assert two < 1.2 * (basis + record)
    assert four < 1.1 * two
