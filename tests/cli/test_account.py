"""What a fit tells of the run: where time went, what was repaired."""

import io
import re

import pytest
from rich.console import Console

from bcnmf_dask.cli.account import show_run

SMALL = ("--n-components", 3, "--tol", 0, "--max-iter", 6)


def shown(run) -> str:
    console = Console(file=io.StringIO(), width=200)
    show_run(console, run)
    return console.file.getvalue()


def test_verbose_splits_the_time_of_every_sweep(run, h5ad_pair):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL, "--verbose")
    assert done.exit_code == 0, done.output
    form = r"info: sweep (\d): (\S+) s = compute (\S+) \(of it waiting for rows (\S+)\) \+ merge (\S+) \+ "
    lines = re.findall(form + r"scheduler (\S+) \+ driver (\S+)\n", done.stderr)
    assert [int(line[0]) for line in lines] == [1, 2, 3, 4, 5, 6]
    for _, whole, compute, _, *others in lines:
        assert float(whole) == pytest.approx(sum(map(float, (compute, *others))), rel=0.02)
    for words in (
        "info: engine: local",
        "info: replayed: 0",
        "info: snapshots: 0",
        "info: rows: target 30, background",
    ):
        assert words in done.stderr


def test_otherwise_the_log_is_silent(run, h5ad_pair):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL)
    assert "info:" not in done.stderr
    assert "repaired" not in done.stderr


def test_a_run_without_events_is_not_mentioned():
    assert shown({"engine": "local", "replayed": 0, "resumed_from": 0}) == ""


def test_losses_are_one_line():
    said = shown({"workers_lost": 1, "replayed": 4, "resumed_from": 0})
    assert said == (
        "repaired   1 worker lost, 4 shards of rows read again and brought up to date; "
        "the result is as if nothing had happened\n"
    )


def test_a_fit_is_resumed_after_the_step_that_it_makes():
    assert shown({"resumed_from": 3}) == "resumed    after sweep 3\n"
    console = Console(file=io.StringIO(), width=200)
    show_run(console, {"resumed_from": 3}, "batch")
    assert console.file.getvalue() == "resumed    after batch 3\n"


def test_zero_rows_and_features_are_a_line_each():
    said = shown({"zero_rows": {"background": 0, "target": 2}, "zero_features": 1, "resumed_from": 0})
    assert said == "all zero   2 target rows, kept as they are\nall zero   1 feature, kept as it is\n"


@pytest.mark.slow
def test_verbose_names_the_dashboard_and_the_shards_of_workers(run, h5ad_pair):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL, "--verbose", "--local")
    assert done.exit_code == 0, done.output
    assert re.search(r"info: Dashboard of the cluster: http://127\.0\.0\.1:\d+/status\n", done.stderr)
    assert re.search(r"info: shards per worker: tcp://127\.0\.0\.1:\d+ \d+", done.stderr)
