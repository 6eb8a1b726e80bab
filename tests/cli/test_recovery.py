"""A fit that is stopped says how to go on, and goes on to the same bits."""

import os
import shlex
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import typer

from bcnmf_dask import BCNMF
from bcnmf_dask.cli.recovery import command_to_resume, resumable
from bcnmf_dask.cli.talking import in_words
from bcnmf_dask.errors import (
    CheckpointError,
    CheckpointWarning,
    ClusterError,
    InputError,
    NumericalError,
    OutputError,
    Preempted,
)

PARAMETERS = {"n_components": 3, "alpha": 0.1, "tol": 0, "max_iter": 600}
SMALL = ("--n-components", 3, "--tol", 0)
EVERY = ("--checkpoint", "saved", "--checkpoint-every", 5)


@pytest.fixture
def called_as(monkeypatch):
    """Let this process look as if it had been started with a command line."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["/elsewhere/bcnmf-dask", *map(str, arguments)])

    return call


@pytest.fixture
def run(run, called_as):
    def runner(*arguments):
        called_as(*arguments)
        return run(*arguments)

    return runner


@pytest.fixture
def generation(tmp_path):
    """A checkpoint of some fit, as far as its presence matters."""
    rows = np.ones((20, 5), np.float32)
    rows[::2, 1] = 3
    np.save(tmp_path / "some.npy", rows)
    BCNMF(2, alpha=0, max_iter=1, tol=0).fit(rows, client=False, checkpoint=tmp_path / "saved", checkpoint_every=1)
    return tmp_path / "saved"


def wait_for_checkpoint(process, folder):
    end = time.monotonic() + 60
    while not list(folder.glob("*/manifest.json")):
        assert process.poll() is None, "the fit ended before its first checkpoint"
        assert time.monotonic() < end, "no checkpoint within a minute"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_stopped_fit_shows_a_command_that_finishes_it_to_the_same_bits(h5ad_pair, cells, tmp_path, number):
    options = ["--n-components", "3", "--alpha", "0.1", "--tol", "0", "--max-iter", "600", "--out", "my fit.zarr"]
    arguments = ["fit", *map(str, h5ad_pair), *options, "--checkpoint", "saved here", "--checkpoint-every", "25"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bcnmf_dask", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    wait_for_checkpoint(process, tmp_path / "saved here")
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "\nstopped: The fit was asked to stop after sweep " in told
    *_, before, command = told.splitlines()
    assert before == "Resume it with:"
    assert shlex.split(command) == [sys.executable, "-m", "bcnmf_dask", "fit", "--resume", *arguments[1:]]
    assert not list(tmp_path.glob("*fit.zarr*")) + list(tmp_path.glob(".*fit.zarr*"))

    resumed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed    after sweep " in resumed.stderr
    saved = BCNMF.load(tmp_path / "my fit.zarr")
    assert saved.n_iter_ == 600
    assert saved.run_["resumed_from"] >= 25
    whole = BCNMF(**PARAMETERS).fit(cells[:30], background=cells[30:], client=False)
    np.testing.assert_array_equal(saved.components_, whole.components_)
    np.testing.assert_array_equal(saved.target_usages_, whole.target_usages_)
    np.testing.assert_array_equal(saved.history_["objective"], whole.history_["objective"])


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGTERM, 143, "terminated: stopped by SIGTERM; no unfinished result is left behind."),
        (signal.SIGINT, 130, "interrupted: stopped with Ctrl-C; no unfinished result is left behind."),
    ],
    ids=["SIGTERM", "SIGINT"],
)
def test_without_checkpoints_a_stopped_fit_leaves_nothing(h5ad_pair, tmp_path, number, code, words):
    options = ["--n-components", "3", "--tol", "0", "--max-iter", "1000000", "--out", "fit.zarr"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bcnmf_dask", "fit", *map(str, h5ad_pair), *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any(line.startswith("sweep ") for line in process.stderr)
    assert list(tmp_path.glob(".fit.zarr.*.partial"))
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert told.splitlines()[-1] == words
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in h5ad_pair)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume"], "--resume: needs --checkpoint DIR"),
        (["--checkpoint-every", 5], "--checkpoint-every: needs --checkpoint DIR"),
        (
            ["--checkpoint", "saved", "--checkpoint-every", 0],
            "got 0. Expected a whole number of sweeps, at least 1",
        ),
    ],
)
def test_wrong_usage(run, plain, options, words):
    done = run("fit", "a.npy", "b.npy", "--out", "fit.zarr", *options)
    assert done.exit_code == 2
    assert words in plain(done.stderr)


def test_more_sweeps_are_the_same_fit_but_another_alpha_is_not(run, h5ad_pair, cells, tmp_path):
    first = run("fit", *h5ad_pair, "--out", "first.zarr", *SMALL, "--alpha", 1, "--max-iter", 10, *EVERY)
    assert first.exit_code == 0, first.output
    assert "resumed" not in first.stderr

    other = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL, "--alpha", 0.5, *EVERY, "--resume")
    assert other.exit_code == 1
    assert "error: --checkpoint: 'saved' belongs to another fit: alpha was 1.0 and is now 0.5" in other.stderr
    assert "Resume it with" not in other.stderr

    longer = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL, "--alpha", 1, "--max-iter", 20, *EVERY, "--resume")
    assert longer.exit_code == 0, longer.output
    assert "sweep 11/20: " in longer.stderr
    assert "sweep 1/20: " not in longer.stderr
    assert "resumed    after sweep 10\n" in longer.stderr
    whole = BCNMF(3, 1.0, tol=0, max_iter=20).fit(cells[:30], background=cells[30:], client=False)
    np.testing.assert_array_equal(BCNMF.load(tmp_path / "fit.zarr").components_, whole.components_)


def test_without_resume_checkpoints_that_are_there_are_refused(run, h5ad_pair):
    fit = ("fit", *h5ad_pair, *SMALL, "--max-iter", 5, *EVERY)
    assert run(*fit, "--out", "first.zarr").exit_code == 0
    done = run(*fit, "--out", "fit.zarr")
    assert done.exit_code == 1
    assert "error: --checkpoint: 'saved' holds checkpoints already." in done.stderr


def test_an_output_that_exists_is_refused_before_a_fit_is_resumed(run, h5ad_pair):
    fit = ("fit", *h5ad_pair, *SMALL, "--max-iter", 5, *EVERY, "--out", "fit.zarr")
    assert run(*fit).exit_code == 0
    done = run(*fit, "--resume")
    assert done.exit_code == 1
    assert "error: --out: 'fit.zarr' already exists" in done.stderr
    assert "divergence" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [ClusterError("workers lost"), NumericalError("not finite"), OutputError("disk full"), ZeroDivisionError()],
    ids=lambda error: type(error).__name__,
)
def test_errors_after_a_checkpoint_show_the_way_back(called_as, generation, capsys, error):
    called_as("fit", "a b.npy", "--checkpoint", generation)
    with pytest.raises(typer.Exit) as ended, in_words(verbose=False), resumable(str(generation), False):
        raise error
    assert ended.value.exit_code == (70 if isinstance(error, ZeroDivisionError) else 1)
    *_, before, command = capsys.readouterr().err.splitlines()
    assert before == "Resume it with:"
    assert command == f"  /elsewhere/bcnmf-dask fit --resume 'a b.npy' --checkpoint {generation}"


@pytest.mark.parametrize("error", [InputError("bad"), CheckpointError("another fit")])
def test_errors_that_would_come_again_show_no_way_back(generation, error):
    with pytest.raises(type(error)) as ended, resumable(str(generation), True):
        raise error
    assert not hasattr(ended.value, "__notes__")


def test_errors_before_a_checkpoint_show_no_way_back(tmp_path):
    for place in (tmp_path / "saved", tmp_path / "missing" / "saved"):
        with pytest.raises(ClusterError) as ended, resumable(str(place), False):
            raise ClusterError("workers lost")
        assert not hasattr(ended.value, "__notes__")


def interrupted(number):
    os.kill(os.getpid(), number)
    time.sleep(10)  # cut short by the signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signals_are_answered_before_and_after_the_sweeps_as_well(called_as, generation, tmp_path, number):
    called_as("fit", "a.npy")
    before = signal.getsignal(signal.SIGTERM)
    for place, words in ((generation, "resumed from its newest checkpoint"), (tmp_path / "no", "from the beginning")):
        with pytest.raises(Preempted, match=words) as ended, resumable(str(place), False):
            interrupted(number)
        assert ended.value.__notes__ == ["Resume it with:\n  /elsewhere/bcnmf-dask fit --resume a.npy"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_signals_end_a_command_in_order(number, code, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(typer.Exit) as ended, in_words(verbose=False):
        interrupted(number)
    assert ended.value.exit_code == code
    assert "no unfinished result is left behind" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_checkpoints_ctrl_c_stays_ctrl_c():
    with pytest.raises(KeyboardInterrupt), resumable(None, False):
        raise KeyboardInterrupt


def test_the_command_to_resume(called_as, monkeypatch):
    called_as("fit", "--out", "o", "--", "a.npy")
    assert command_to_resume(resumes=False) == "/elsewhere/bcnmf-dask fit --resume --out o -- a.npy"
    called_as("fit", "--resume", "a.npy")
    assert command_to_resume(resumes=True) == "/elsewhere/bcnmf-dask fit --resume a.npy"
    monkeypatch.setattr("bcnmf_dask.cli.recovery.shutil.which", lambda name: f"/elsewhere/{name}")
    assert command_to_resume(resumes=True) == "bcnmf-dask fit --resume a.npy"


def test_a_checkpoint_that_cannot_be_written_is_one_line(run, h5ad_pair, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bcnmf_dask.results.checkpoints.CheckpointStore.commit", full)
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL, "--max-iter", 5, *EVERY, "--quiet")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stderr.splitlines() if "No space left" in line]
    assert line.startswith("warning: --checkpoint: sweep 5 could not be saved")


def test_warnings_of_checkpoints_are_left_to_the_log(capsys):
    with in_words(verbose=True):
        warnings.warn("said by the log", CheckpointWarning, stacklevel=1)
    assert capsys.readouterr().err == ""
