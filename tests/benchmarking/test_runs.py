"""The JSON of a run, and the tables made from it."""

import json
from dataclasses import replace

import made_up
import pandas as pd
import pytest

from bcnmf_dask.benchmarking import checkpoint, orchestration, overhead, scaling
from bcnmf_dask.benchmarking.benchmark import judged
from bcnmf_dask.benchmarking.registry import BENCHMARKS, results_in
from bcnmf_dask.benchmarking.runs import OVERSUBSCRIBED, REAL, Measurement, new_run, read, verdict, write
from bcnmf_dask.benchmarking.tables import markdown, measured_table, page, prediction_table, summary, verdict_table
from bcnmf_dask.errors import InputError


def sweeps(*pairs, label=REAL):
    return [
        Measurement("made up", workers, 1, label, {"sweep_seconds": seconds, "compute_seconds": 1 / workers})
        for workers, seconds in pairs
    ]


def test_the_file_has_what_it_must(tmp_path):
    run = judged(BENCHMARKS["orchestration"], made_up.orchestration_run())
    write(run, tmp_path / "orchestration.json")
    found = json.loads((tmp_path / "orchestration.json").read_text())
    assert found.keys() == {
        *("benchmark", "command", "date", "machine", "versions"),
        *("parameters", "measurements", "verdicts", "status"),
    }
    assert found["machine"].keys() == {"cpu", "cores", "system"}
    assert {"python", "numpy", "dask", "distributed", "bcnmf-dask"} <= found["versions"].keys()
    assert found["date"].endswith("+00:00")
    assert found["status"] in ("met", "missed")
    first = found["measurements"][0]
    assert (first["label"], first["workers"], first["fixed_seconds"]) == ("orchestration only", 1, 0.25)
    assert first["workload"]["n_components"] == 5
    assert read(tmp_path / "orchestration.json") == run
    assert [path.name for path in tmp_path.iterdir()] == ["orchestration.json"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((), "unbudgeted"), ((None,), "unbudgeted"), ((None, True), "met"), ((True, False, None), "missed")],
)
def test_a_run_is_as_good_as_its_worst_verdict(statuses, expected):
    verdicts = tuple(verdict("made up", "1", "at most 2", met) for met in statuses)
    assert replace(made_up.compute_run(), verdicts=verdicts).status == expected


@pytest.mark.parametrize("text", ["{", "[]", '{"status": "met"}'])
def test_other_files_are_no_runs(tmp_path, text):
    (tmp_path / "strong.json").write_text(text)
    with pytest.raises(InputError, match=r"out: '.*strong\.json' is not the result of a benchmark"):
        results_in(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there are no results of benchmarks in .* Run `bcnmf-dask benchmark all`"):
        results_in(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out: '.*strong\.json' cannot be written \(.*\)\. Give a folder"):
        write(made_up.compute_run(), tmp_path / "file" / "strong.json")


def test_one_run_per_size_of_a_cluster_is_pooled_and_judged_together(tmp_path):
    for workers, seconds in ((1, 1.0), (2, 0.55)):
        run = judged(BENCHMARKS["strong"], new_run("strong", "made up", {"scale": 1}, sweeps((workers, seconds))))
        assert run.status == "unbudgeted"
        write(run, tmp_path / f"strong-{workers}-workers.json")
    write(new_run("strong", "made up", {"scale": 2}, sweeps((2, 9.0))), tmp_path / "strong-other.json")
    pooled, other = results_in(tmp_path)
    assert [one.workers for one in pooled.measurements] == [1, 2]
    assert [(one.measured, one.status) for one in pooled.verdicts] == [("1.82 (of computing alone 2.00)", "met")]
    assert other.verdicts == ()


@pytest.mark.parametrize(
    ("judge", "found", "expected"),
    [
        (
            scaling.judge_strong,
            sweeps((1, 1.0), (2, 0.5), (4, 0.3)),
            [("2.00 (of computing alone 2.00)", "met"), ("3.33 (of computing alone 4.00)", "unbudgeted")],
        ),
        (scaling.judge_strong, sweeps((1, 1.0), (2, 0.6)), [("1.67 (of computing alone 2.00)", "missed")]),
        (scaling.judge_strong, sweeps((2, 0.6)), []),
        (scaling.judge_weak, sweeps((1, 1.0), (2, 1.02)), [("98.0% (of computing alone 200.0%)", "met")]),
        (scaling.judge_weak, sweeps((1, 1.0), (2, 1.25)), [("80.0% (of computing alone 200.0%)", "missed")]),
        (
            scaling.judge_weak,
            [*sweeps((1, 1.0)), *sweeps((8, 4.0), label=OVERSUBSCRIBED)],
            [("25.0% (of computing alone 800.0%)", "unbudgeted")],
        ),
        (orchestration.judge, sweeps((1, 1.0), (8, 1.25), (32, 1.02)), [("at least 80.0% (on 8)", "missed")]),
        (orchestration.judge, sweeps((1, 1.0)), []),
    ],
)
def test_budgets_of_scaling(judge, found, expected):
    assert [(one.measured, one.status) for one in judge(found)] == expected


@pytest.mark.parametrize(("scale", "status"), [(1.0, "missed"), (0.25, "unbudgeted")])
def test_budgets_are_for_full_scale(scale, status):
    run = new_run("strong", "made up", {"scale": scale}, sweeps((1, 1.0), (2, 0.6)))
    assert judged(BENCHMARKS["strong"], run).status == status


@pytest.mark.parametrize(("trips", "status"), [(1.9, "met"), (2.1, "missed")])
def test_the_budget_of_the_overhead_is_for_two_workers(trips, status):
    found = [Measurement("tiny", workers, 1, REAL, {"overhead_in_round_trips": trips}) for workers in (1, 2, 32)]
    assert [one.status for one in overhead.judge(found)] == ["unbudgeted", status, "unbudgeted"]


@pytest.mark.parametrize(("share", "status"), [(0.019, "met"), (0.021, "missed")])
def test_the_budget_of_checkpoints(share, status):
    assert [one.status for one in checkpoint.judge([Measurement("x", 2, 1, REAL, {"share_of_time": share})])] == [
        status
    ]


def test_markdown():
    frame = pd.DataFrame({"what": ["a", "b"], "seconds": [0.123456, float("nan")], "workers": [1, 2]})
    assert markdown(frame) == "| what | seconds | workers |\n| --- | --- | --- |\n| a | 0.1235 | 1 |\n| b |  | 2 |\n"


def test_the_summary_is_of_budgets_with_machine_and_command():
    runs = [made_up.compute_run(), judged(BENCHMARKS["orchestration"], made_up.orchestration_run())]
    lines = summary(runs).splitlines()
    assert lines[0].startswith("Measured by `made up` on ")
    assert lines[2] == "| what | measured | budget | status |"
    # Two cases of the orchestration, and for each the check of the model.
    assert len(lines) == 2 + 2 + 4
    assert all(line.endswith(("| met |", "| missed |")) for line in lines[4:])


def test_the_page_has_every_measurement():
    run = made_up.orchestration_run()
    shown = page([run])
    assert shown.startswith("# Benchmarks\n\nMeasured by")
    assert shown.count("| orchestration only |") == len(run.measurements)
    assert len(measured_table(run)) == 12
    assert verdict_table([]).columns.tolist() == ["what", "measured", "budget", "status"]


def test_every_row_of_a_prediction_says_so():
    machine = replace(made_up.MACHINE, relative_error=0.25)
    workload = made_up.compute_run().measurements[0].workload
    table = prediction_table([workload], [1, 64], 1, machine)
    assert table["what"].tolist() == ["prediction", "prediction"]
    # Off by 25 % of what would be measured: between 1 / 1.25 and 1 / 0.75 of the prediction.
    assert table["low"].tolist() == pytest.approx((table["seconds_per_sweep"] / 1.25).tolist())
    assert table["high"].tolist() == pytest.approx((table["seconds_per_sweep"] / 0.75).tolist())
    useless = prediction_table([workload], [1], 1, replace(machine, relative_error=1.5))
    assert useless["high"].tolist() == [float("inf")]
