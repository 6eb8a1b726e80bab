"""What holds for every command: help, versions, exit codes, and words instead of tracebacks."""

import logging
import subprocess
import sys
import warnings

import pytest

import bcnmf_dask
from bcnmf_dask.cli.talking import in_words
from bcnmf_dask.errors import ClusterError, InputError, NumericalError, Preempted
from bcnmf_dask.estimator import BCNMF


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["target", "background", "bcnmf-dask demo", "bcnmf-dask fit stim.h5ad ctrl.h5ad"]),
        (
            ["fit", "--help"],
            ["--n-components", "[default: 20]", "[default: kullback-leibler]", "--key condition", "--signal=TERM@120"],
        ),
        (["fit", "-h"], ["Recovery", "--checkpoint-every", "only --max-iter", "exit code 75"]),
        (["demo", "-h"], ["--seeds", "[default: 5]", "adjusted Rand index"]),
    ],
)
def test_help_teaches(run, plain, arguments, words):
    shown = run(*arguments)
    assert shown.exit_code == 0
    missing = [word for word in words if word not in plain(shown.stdout)]
    assert missing == []


def test_every_parameter_of_the_estimator_is_an_option(run, plain):
    shown = plain(run("fit", "--help").stdout)
    parameters = BCNMF().get_params().keys() - {"init", "random_state"} | {"seed"}
    assert [name for name in parameters if f"--{name.replace('_', '-')} " not in shown] == []


def test_without_a_command_the_help_is_shown(run, plain):
    shown = run()
    assert "Usage: bcnmf-dask [OPTIONS] COMMAND" in plain(shown.output)


def test_version(run):
    assert run("--version").stdout == f"bcnmf-dask {bcnmf_dask.__version__}\n"


def test_python_dash_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "bcnmf_dask", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"bcnmf-dask {bcnmf_dask.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("target: bad"), 1, "error: target: bad"),
        (ClusterError("client: gone"), 1, "error: --scheduler: gone"),
        (NumericalError("use dtype='float64'"), 1, "error: use --dtype float64"),
        (MemoryError(), 1, "error: the memory of this machine was not enough"),
        (Preempted("can be resumed with checkpoint='x'"), 75, "stopped: can be resumed with --checkpoint x"),
        (KeyboardInterrupt(), 130, "interrupted: stopped with Ctrl-C"),
        (ZeroDivisionError("by zero"), 70, "unexpected error: ZeroDivisionError: by zero\nThis is not your fault."),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_errors_are_words_and_exit_codes(run, h5ad_pair, monkeypatch, error, code, words, verbose):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(BCNMF, "fit", fail)
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", "--quiet", *["--verbose"] * verbose)
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr.startswith(words)
    assert ("Traceback" in done.stderr) is verbose


def test_warnings_of_libraries_go_to_the_log_only(capsys):
    with in_words(verbose=False):
        warnings.warn("for programmers", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == ""
    with in_words(verbose=True):
        warnings.warn("for programmers", FutureWarning, stacklevel=1)
    assert "FutureWarning: for programmers" in capsys.readouterr().err


def test_the_log_is_left_as_it_was():
    package = logging.getLogger("bcnmf_dask")
    before = package.level, list(package.handlers)
    with in_words(verbose=True):
        assert package.isEnabledFor(logging.INFO)
    assert (package.level, package.handlers) == before
