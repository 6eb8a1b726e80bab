"""The process that drives a fit is killed, or asked to stop, and the fit goes on elsewhere to the same bits."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import driver
import pytest
from chaos import bits, eventually, held, left_in_peace, model, rows

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


@pytest.fixture
def start_driver(tmp_path):
    """``start_driver(client, ...)``: a fit in another process, saved every 2 sweeps; killed at the end of the test."""
    started = []
    paths = os.pathsep.join([str(Path(driver.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])

    def start(client, *resume):
        mark = tmp_path / "mark"
        mark.unlink(missing_ok=True)
        command = [sys.executable, driver.__file__, client, str(tmp_path / "saved"), str(mark), "2", *resume]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
        )
        started.append(process)
        return process, lambda sweep: eventually(lambda: mark.exists() and int(mark.read_text() or 0) >= sweep, 60)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process):
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    return json.loads(out)


def resume(client, saved, **options):
    target, background = rows()
    return model().fit(target, background=background, client=client, checkpoint=saved, resume=True, **options)


def assert_resumed(fitted):
    assert 2 <= fitted.run_["resumed_from"] < 8
    assert bits(fitted) == left_in_peace()


def test_killed_and_resumed_in_a_new_process(workers, start_driver):
    client = workers(3)
    process, reached = start_driver(client.scheduler.address)
    assert reached(5)
    assert held(client)
    process.kill()
    assert eventually(lambda: not held(client))
    process, _ = start_driver(client.scheduler.address, "resume")
    told = said(process)
    assert 4 <= told["resumed_from"] < 8
    assert told["bits"] == [part.hex() for part in left_in_peace()]


@pytest.mark.parametrize("n_workers", [0, 1, 2])
def test_killed_and_resumed_on_another_number_of_workers(workers, start_driver, tmp_path, n_workers):
    process, reached = start_driver(workers(3).scheduler.address)
    assert reached(4)
    process.kill()
    process.wait()
    assert_resumed(resume(workers(n_workers) if n_workers else False, tmp_path / "saved"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["cluster", "none"])
def test_asked_to_stop(workers, start_driver, tmp_path, number, where):
    client = workers(3)
    process, reached = start_driver(client.scheduler.address if where == "cluster" else "none")
    assert reached(3)
    process.send_signal(number)
    assert "can be resumed from its newest checkpoint" in said(process)["preempted"]
    assert eventually(lambda: not held(client))
    fitted = resume(False if where == "cluster" else client, tmp_path / "saved")
    assert fitted.run_["resumed_from"] >= 3
    assert_resumed(fitted)
