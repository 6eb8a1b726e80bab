"""A local cluster that cannot start says why, and how to repair it; the guard is blamed where it is missing."""

import errno
import subprocess
import sys

import dask
import numpy as np
import pytest

from bcnmf_dask import BCNMF
from bcnmf_dask.engine import clusters
from bcnmf_dask.engine.clusters import local_cluster
from bcnmf_dask.engine.unstarted import GUARD_MISSING
from bcnmf_dask.errors import ClusterError

IN_THIS_PROCESS = "With client=False the fit runs in this process"
FIT = """
import multiprocessing
import numpy as np
from bcnmf_dask import BCNMF

def fit(_=None):
    try:
        return BCNMF(2, 0, loss="frobenius", max_iter=3, tol=0).fit(np.eye(50, 5), client="local").run_["engine"]
    except Exception as error:
        return f"{type(error).__name__} {error}"
"""
GUARDED = f'{FIT}\nif __name__ == "__main__":\n    print(fit())\n'
UNGUARDED = f"{FIT}\nprint(fit())\n"
FAILS_IN_CHILDREN = f'{GUARDED}else:\n    raise ValueError("not to be imported")\n'
POOL = f"""{FIT}
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(fit, [0])[0])
"""


def run(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, **options)


@pytest.fixture
def script(tmp_path):
    def written(text):
        path = tmp_path / "script.py"
        path.write_text(text)
        return path

    return written


def refused(ended, words):
    """Whether the guard was blamed, beside what must be told."""
    assert ended.returncode == 0, ended.stderr
    assert "ClusterError The local cluster did not start" in ended.stdout
    assert words in ended.stdout
    return "__main__" in ended.stdout


def test_a_script_from_standard_input_is_to_be_saved():
    """The guard is there, but worker processes cannot read what was read already."""
    ended = run("-", input=GUARDED)
    assert not refused(ended, "it came from standard input, so that it cannot be read twice. Save it to a file")
    assert IN_THIS_PROCESS in ended.stdout
    assert ended.stderr == "", "nor did a worker process print a traceback"


def test_a_script_that_is_a_pipe_is_to_be_saved(script):
    """As `python <(...)` gives it."""
    ended = subprocess.run(
        ["bash", "-c", f"exec '{sys.executable}' <(cat '{script(GUARDED)}')"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not refused(ended, "is no file, or is gone, so that it cannot be read twice. Save it to a file")
    assert ended.stderr == ""


@pytest.mark.parametrize("arguments", [("-c", GUARDED), ("-i", "-c", GUARDED)], ids=["command", "interactive"])
def test_what_is_no_script_at_all_starts_a_cluster(arguments):
    ended = run(*arguments, input="")
    assert ended.stdout == "cluster\n", ended.stderr


def test_a_missing_guard_is_told_once(script):
    ended = run(script(UNGUARDED))
    assert refused(ended, GUARD_MISSING)
    assert GUARD_MISSING not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_guard_in_a_child_of_another_parent(script):
    """A child that nobody waits for to tell it says it itself."""
    spawn = 'if __name__ == "__main__":\n    multiprocessing.get_context("spawn").Process(target=fit).start()\nelse:\n'
    ended = run(script(f"{FIT}\n{spawn}    fit()\n"))
    assert GUARD_MISSING in ended.stderr


def test_a_script_that_fails_where_it_is_imported_is_not_blamed_for_its_guard(script):
    ended = run(script(FAILS_IN_CHILDREN))
    assert not refused(ended, "A worker process ended before it was ready")
    assert "ValueError: not to be imported" in ended.stderr


def test_a_child_of_a_pool_may_have_no_children(script):
    ended = run(script(POOL))
    assert not refused(ended, "(daemonic processes are not allowed to have children)")
    assert "start the cluster outside, and give its address" in ended.stdout
    assert IN_THIS_PROCESS in ended.stdout


def test_a_temporary_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "folder")
    with (
        dask.config.set({"temporary-directory": place}),
        pytest.raises(
            ClusterError, match=rf"temporary directory '{place}' cannot be used \(.*TORY.*{IN_THIS_PROCESS}"
        ) as e,
    ):
        BCNMF(2, 0).fit(np.eye(50, 5), client="local")
    assert isinstance(e.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EMFILE, r"may not open more files: raise the limit \(`ulimit -n"),
        (errno.EADDRINUSE, "no free port on 127"),
        (errno.EAGAIN, r"starts no more processes.*`ulimit -u`"),
        (errno.ENETUNREACH, "do not reach each other over 127"),
        (errno.EIO, "With client=False"),
    ],
)
def test_the_error_at_the_bottom_is_told(monkeypatch, code, words):
    """Dask raises others because of it."""
    bottom = OSError(code, "of the system")

    def start(**_):
        try:
            raise bottom
        except OSError as error:
            raise RuntimeError("Nanny failed to start.") from error

    monkeypatch.setattr(clusters, "LocalCluster", start)
    with pytest.raises(ClusterError, match=rf"did not start \(\[Errno {code}\] of the system\)\. .*{words}") as failed:
        local_cluster(1)
    assert failed.value.__cause__.__cause__ is bottom
    assert "__main__" not in str(failed.value)


@pytest.mark.parametrize(
    "error", [OSError("no"), ValueError("no"), TypeError("no"), TimeoutError("no"), MemoryError("no")]
)
def test_whatever_starting_raises_is_told_in_words(monkeypatch, error):
    def start(**_):
        raise error

    monkeypatch.setattr(clusters, "LocalCluster", start)
    with pytest.raises(ClusterError, match=rf"did not start \(no\)\. .*{IN_THIS_PROCESS}") as failed:
        local_cluster(1)
    assert failed.value.__cause__ is error


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_is_stopped_while_starting_stops(monkeypatch, stop):
    def start(**_):
        raise stop

    monkeypatch.setattr(clusters, "LocalCluster", start)
    with pytest.raises(stop):
        local_cluster(1)
