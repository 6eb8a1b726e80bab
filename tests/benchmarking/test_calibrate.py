"""Machines found from sweeps: known ones come back, and the check is of sweeps that were not learnt."""

from dataclasses import replace

import made_up
import pytest

from bcnmf_dask.benchmarking.calibrate import calibrate, judge
from bcnmf_dask.benchmarking.model import Workload
from bcnmf_dask.benchmarking.runs import OVERSUBSCRIBED, new_run
from bcnmf_dask.errors import InputError


def test_known_numbers_come_back():
    machine, checks = calibrate([made_up.compute_run(), made_up.orchestration_run()])
    assert machine.seconds == pytest.approx(made_up.MACHINE.seconds, rel=1e-6)
    assert machine.by_kind.keys() == made_up.MACHINE.by_kind.keys()
    for kind, seconds in made_up.MACHINE.by_kind.items():
        assert machine.by_kind[kind] == pytest.approx(seconds, rel=1e-6)
    assert [check.sweep.workers for check in checks] == [32, 32]
    assert machine.relative_error == pytest.approx(0, abs=1e-6)
    assert machine.checked == "fitted on at most 16 workers (median error 0%), checked on 32 (orchestration only)"


@pytest.mark.parametrize(("factor", "status"), [(1.2, "met"), (0.9, "met"), (2.0, "missed"), (0.7, "missed")])
def test_32_workers_are_checked_and_not_learnt(factor, status):
    runs = [made_up.compute_run(), made_up.orchestration_run(factor)]
    machine, checks = calibrate(runs)
    assert machine.seconds == pytest.approx(made_up.MACHINE.seconds, rel=1e-6)
    assert machine.relative_error == pytest.approx(abs(1 / factor - 1))
    assert [verdict.status for verdict in judge(checks)] == [status, status]
    assert judge(checks)[0].budget == "within 25%"


def test_workers_without_a_core_of_their_own_are_not_learnt_from():
    crowded = made_up.measured("crowded", Workload(10**8, 10**5, 2048, 20, "frobenius", True), 8, OVERSUBSCRIBED, 0, 9)
    runs = [made_up.compute_run(), made_up.orchestration_run(), new_run("weak", "made up", {}, [crowded])]
    assert calibrate(runs)[0].seconds == pytest.approx(made_up.MACHINE.seconds, rel=1e-6)


def test_no_number_is_negative():
    found = made_up.orchestration_run()
    falling = [
        replace(one, figures={"sweep_seconds": one.fixed_seconds + 1 / one.workers}) for one in found.measurements
    ]
    machine, _ = calibrate([made_up.compute_run(), replace(found, measurements=tuple(falling))])
    assert min(machine.seconds.values()) >= 0


def test_without_a_check_the_error_is_that_of_the_fit():
    machine, checks = calibrate([made_up.compute_run()])
    assert checks == []
    assert machine.relative_error == pytest.approx(0, abs=1e-6)
    assert machine.checked == "fitted on at most 1 workers (median error 0%), not checked on 32"


def test_too_few_sweeps_are_refused():
    with pytest.raises(InputError, match=r"out: 0 measured sweeps cannot tell .* Run `bcnmf-dask benchmark compute`"):
        calibrate([])
    run = made_up.compute_run()
    with pytest.raises(InputError, match=r"out: 3 measured sweeps cannot tell the \d+ numbers"):
        calibrate([replace(run, measurements=run.measurements[:3])])


def test_sweeps_shorter_than_their_sleep_are_refused():
    run = made_up.orchestration_run()
    hasty = replace(run.measurements[0], figures={"sweep_seconds": 0.2})
    with pytest.raises(InputError, match="took less than its stand-in slept"):
        calibrate([replace(run, measurements=(hasty,))])


def test_machines_are_not_mixed():
    run = made_up.compute_run()
    other = replace(made_up.orchestration_run(), machine={"cpu": "other", "cores": 64})
    with pytest.raises(InputError, match=r"results are of several machines: .*'other, 64 cores'"):
        calibrate([run, other])
