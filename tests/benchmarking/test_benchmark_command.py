"""The commands, on results that are there and (slow) on tiny fits."""

import json
import re
from pathlib import Path

import made_up
import matplotlib.image
import pandas as pd
import pytest
import readme
from typer.testing import CliRunner

from bcnmf_dask.benchmarking.calibrate import calibrate
from bcnmf_dask.benchmarking.machines import load_machine, reference_machine, save_machine
from bcnmf_dask.benchmarking.registry import BENCHMARKS, results_in
from bcnmf_dask.benchmarking.tables import summary
from bcnmf_dask.cli.benchmark import results_folder
from bcnmf_dask.cli.benchmark_figures import measured_figure, prediction_figure
from bcnmf_dask.cli.main import app
from bcnmf_dask.engine.clusters import local_cluster
from bcnmf_dask.errors import InputError

REPOSITORY = Path(__file__).parents[2]


def run(*arguments):
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)], env={"COLUMNS": "300", "NO_COLOR": "1"})


def test_every_benchmark_is_a_command():
    shown = run("--help").stdout
    missing = [name for name in (*BENCHMARKS, "all", "model", "report", "predict") if f" {name} " not in shown]
    assert missing == []


def test_the_model_of_results(results):
    done = run("model", "--out", results)
    assert done.exit_code == 0, done.output
    machine = load_machine(results / "machine.json")
    assert machine.seconds == pytest.approx(made_up.MACHINE.seconds, rel=1e-6)
    assert "prediction for 32 workers" in done.stdout
    assert "checked on 32 (orchestration only)" in done.stderr


def test_the_report_renders(results):
    done = run("report", "--out", results)
    assert done.exit_code == 0, done.output
    assert done.stdout == summary(results_in(results))
    assert (results / "report.md").read_text().startswith("# Benchmarks\n\nMeasured by `made up` on ")
    assert matplotlib.image.imread(results / "scaling.png").size > 0


def test_a_report_of_nothing_is_refused(tmp_path):
    done = run("report", "--out", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: --out: there are no results of benchmarks in ")


def test_a_figure_of_one_worker_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing here was measured on several workers"):
        measured_figure([made_up.compute_run()])


def test_the_figure_shows_efficiencies_and_says_what_is_orchestration_only(results):
    figure = measured_figure(results_in(results))
    (axes,) = figure.axes
    assert axes.get_title() == "orchestration only (no arithmetic)"
    ideal, few, _ = axes.lines
    assert (ideal.get_ydata() == 1).all()
    assert few.get_xdata().tolist() == [1, 2, 4, 8, 16, 32]
    assert few.get_ydata()[0] == 1
    assert (few.get_ydata()[1:] < 1).all()


def test_predictions_are_labelled_in_table_and_figure(tmp_path):
    save_machine(made_up.MACHINE, tmp_path / "machine.json")
    done = run("predict", "--machine", tmp_path / "machine.json", "--most", 8, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 2 * 4
    assert all("\tprediction\t" in line for line in lines[1:])
    assert "prediction not measured: from made up, 2 cores" in done.stderr
    assert matplotlib.image.imread(tmp_path / "prediction.png").size > 0


def test_the_figure_of_predictions_says_that_it_is_one():
    table = pd.DataFrame({"workload": "made up", "workers": [1, 2], "seconds_per_sweep": [2.0, 1.0], "low": [1, 0.5]})
    table["high"] = float("inf")
    (axes,) = prediction_figure(table, "1e8 x 3e4", made_up.MACHINE).axes
    assert axes.get_title() == "Prediction, not a measurement: 1e8 x 3e4"
    assert axes.get_ylabel() == "seconds per sweep (prediction)"


def test_the_reference_machine_predicts_up_to_4096_workers(tmp_path):
    done = run("predict", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert {line.split("\t")[1] for line in done.stdout.splitlines()[1:]} == {str(2**power) for power in range(13)}
    assert reference_machine().name in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("strong", "--workers", "two"), "got 'two'. Expected numbers of workers, at least 1, as in 1,2,4."),
        (("strong", "--workers", "0,1"), "got '0,1'. Expected numbers of workers"),
        (("weak", "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"), "measured at the size it has"),
        (("weak", "--scheduler", "tcp://127.0.0.1:1", "--local"), "give one of them at most"),
        (("strong", "--scale", "0"), "Invalid value for '--scale'"),
        (("predict", "--stored", "2"), "Invalid value for '--stored'"),
    ],
)
def test_wrong_usage_is_refused(tmp_path, arguments, words):
    done = run(*arguments, "--out", tmp_path)
    assert done.exit_code == 2
    assert words in re.sub(r"[\s│]+", " ", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_that_is_not_there(tmp_path):
    done = run("strong", "--scheduler", "tcp://127.0.0.1:1", "--out", tmp_path)
    assert done.exit_code == 1
    assert "error: --scheduler: no scheduler answered at 'tcp://127.0.0.1:1'" in done.stderr


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    done = run("strong", "--out", tmp_path / "file" / "results")
    assert done.exit_code == 1
    assert re.search(r"error: --out: the folder '.*results' cannot be made", done.stderr)


def test_results_go_into_the_checkout(monkeypatch, tmp_path):
    assert results_folder() == REPOSITORY / "benchmarks" / "results"
    monkeypatch.setattr("bcnmf_dask.__file__", str(tmp_path / "site-packages" / "bcnmf_dask" / "__init__.py"))
    assert results_folder() == Path()


def test_the_readme_has_the_figures_of_the_results():
    text = (REPOSITORY / "README.md").read_text()
    assert summary(results_in(REPOSITORY / "benchmarks" / "results")) in text


def test_the_reference_machine_is_that_of_the_results():
    """After new measurements: copy the machine.json that ``bcnmf-dask benchmark model`` writes."""
    machine, _ = calibrate(results_in(REPOSITORY / "benchmarks" / "results"))
    reference = reference_machine()
    assert reference.seconds == pytest.approx(machine.seconds)
    assert reference.by_kind.keys() == machine.by_kind.keys()
    assert (reference.name, reference.checked) == (machine.name, machine.checked)
    assert reference.relative_error == pytest.approx(machine.relative_error)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_it_on_tiny_fits(tmp_path):
    done = run("all", "--local", "--workers", 2, "--scale", 0.002, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    for name in BENCHMARKS:
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["command"] == "bcnmf-dask benchmark all --local --workers 2 --scale 0.002"
        assert found["status"] in ("met", "missed", "unbudgeted")
        assert {one["workers"] for one in found["measurements"]} == {2}
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{name}.json" for name in BENCHMARKS),
        *("machine.json", "report.md", "scaling.png"),
    }


@pytest.mark.slow
def test_a_running_cluster_is_measured_at_its_size(tmp_path):
    with local_cluster(2) as cluster:
        done = run("orchestration", "--scheduler", cluster.scheduler_address, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "orchestration-2-workers.json").read_text())
    assert found["parameters"]["cluster"] == "a running cluster"
    assert found["status"] == "unbudgeted"


def test_the_readme_shows_what_was_measured_of_peers():
    shown = (REPOSITORY / "README.md").read_text()
    assert readme.filled(shown) == shown
