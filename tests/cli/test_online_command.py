"""A fit with ``--solver online``: what it shows is counted in data visits, of which it makes four."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from bcnmf_dask import BCNMF
from bcnmf_dask.benchmarking.model import Machine, Prediction
from bcnmf_dask.cli.plan import correction, plan_lines
from bcnmf_dask.cli.progress import describe, progress
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.engine.limits import Room
from bcnmf_dask.fitting.course import course_of
from bcnmf_dask.fitting.stopping import SweepRecord
from bcnmf_dask.planning import plan_fit

ONLINE = ("--solver", "online", "--n-components", 3)
COURSE = course_of("online", 500)


def record(batch: int, visits: float, seconds: float = 0.25) -> SweepRecord:
    return SweepRecord(batch, visits, 1234.5, 5.0, 1.0, 0.01, seconds, seconds, 0.0, 0.0, 0.0, 0.0)


def console(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, color_system=None, width=120)


def plan_of(seconds: float):
    """A plan that predicts so many seconds per sweep."""
    inputs = read_inputs(np.ones((30, 5)), None)
    plan = plan_fit(inputs, "float32", 3, "frobenius", [Room(1e12, 1e12, 1)])
    machine = Machine("there", "today", {}, {}, 0.0, "never")
    return inputs, replace(plan, prediction=Prediction(seconds, 0.3, {}), machine=machine)


@pytest.mark.parametrize(
    ("solver", "max_iter", "unit", "most"),
    [
        ("online", 500, "data visit", 4),
        ("online", 2, "data visit", 3),
        ("online", 1, "data visit", 2),
        ("published", 500, "sweep", 500),
        ("accelerated", 7, "sweep", 7),
    ],
)
def test_what_a_solver_is_counted_in(solver, max_iter, unit, most):
    course = course_of(solver, max_iter)
    assert (course.unit, course.most) == (unit, most)
    assert course.done(record(3, 0.75)) == (0.75 if solver == "online" else 3)


@pytest.mark.parametrize("max_iter", [1, 2, 500])
def test_a_fit_makes_the_visits_that_its_course_says(max_iter, cells):
    model = BCNMF(3, 0.5, solver="online", max_iter=max_iter, batch_size=7)
    seen = []
    model.fit(cells[:30], background=cells[30:], client=False, callbacks=[seen.append])
    course = course_of("online", max_iter)
    assert [course.left(one) == 0 for one in seen] == [False] * (len(seen) - 1) + [True]


def test_a_log_file_counts_visits_and_promises_nothing(monkeypatch):
    now = 0.0
    monkeypatch.setattr("bcnmf_dask.cli.progress.time.monotonic", lambda: now)
    out = console()
    with progress(out, COURSE, False, describe) as (callback,):
        for batch in range(1, 42):
            now = float(batch)
            callback(record(batch, batch / 16))
    first, second = out.file.getvalue().splitlines()
    assert first.startswith("data visit 0.0625/4: target divergence 1234.5")
    assert second.startswith("data visit 1.938/4: ")
    assert second.endswith(", about 0:00:33 left")


def test_a_terminal_gets_a_bar_of_visits():
    out = console(terminal=True)
    with progress(out, COURSE, False, describe) as (callback,):
        callback(record(1, 0.25))
        callback(record(9, 2.25))
        assert callback.__self__.tasks[0].completed == 2.25
    assert "data visit 2.25/4" in out.file.getvalue()


def test_a_plan_tells_the_time_of_four_visits():
    inputs, plan = plan_of(2.0)
    time = dict(plan_lines(inputs, plan, "float32", "there", COURSE))["time"]
    assert time.startswith("about 2 s per sweep, 8 s for 4 data visits if each lasts as long")


def test_the_time_is_corrected_after_the_first_batches():
    out = console()
    _, plan = plan_of(2.0)
    correct = correction(out, plan, COURSE)
    for batch in range(1, 20):
        correct(record(batch, batch / 10, seconds=9.0 if batch == 1 else 0.3))
    (line,) = out.file.getvalue().splitlines()
    assert line == "time       3 s per data visit as measured (predicted 2): about 10 s more"


def test_a_fit_that_is_over_before_the_time_is_known_is_not_corrected():
    out = console()
    correct = correction(out, plan_of(2.0)[1], COURSE)
    for batch, visits in enumerate((0.75, 1.5, 2.25, 3.0, 4.0), 1):
        correct(record(batch, visits))
    assert out.file.getvalue() == ""


def test_the_command_counts_visits(run, h5ad_pair, tmp_path):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *ONLINE, "--batch-size", 10, "--verbose")
    assert done.exit_code == 0, done.output
    assert "done: passed after 4 data visits. The online solver has made its passes over all rows" in done.stderr
    assert re.search(r"data visit 0\.2/4: target divergence .* s per batch\n", done.stderr)
    assert re.search(r"time +\S+ s per data visit as measured", done.stderr)
    assert "info: batch 16: " in done.stderr
    assert not re.search(r"\d sweeps|info: sweep|sweep \d", done.stderr)
    assert BCNMF.load(tmp_path / "fit.zarr").history_["data_visits"].iloc[-1] == 4


def test_fewer_passes_are_fewer_visits(run, h5ad_pair):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *ONLINE, "--max-iter", 1)
    assert "done: passed after 2 data visits." in done.stderr


def test_rows_that_do_not_stay_are_read_in_each_visit(run, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).poisson(1.0, (3000, 200)).astype(np.float32))
    done = run("plan", "a.npy", "--solver", "online", "--memory-limit", "1 MB")
    assert "do not fit in memory and are read in each data visit" in done.stderr


def test_the_plan_command_takes_a_solver(run, h5ad_pair, plain):
    options = ("--loss", "frobenius", "--workers", 2)
    assert "for 4 data visits" in run("plan", *h5ad_pair, "--solver", "online", *options).stderr
    assert "for 500 sweeps" in run("plan", *h5ad_pair, "--solver", "accelerated", *options).stderr
    refused = run("plan", *h5ad_pair, "--solver", "hals")
    assert refused.exit_code == 2
    assert "'--solver': got 'hals'. Expected one of" in plain(refused.stderr)


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_a_fit_without_a_background(loss, run, h5ad_pair):
    done = run("fit", h5ad_pair[0], "--alpha", 0, "--loss", loss, "--out", "fit.zarr", *ONLINE, "--batch-size", 10)
    assert done.exit_code == 0, done.output
