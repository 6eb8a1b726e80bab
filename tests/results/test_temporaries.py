"""Folders that end with their last user, at exit at the latest, and never by a process that did not make them."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.factors import StoredNames, create_usages, read_usages, writable_usages
from bcnmf_dask.results.temporaries import TemporaryFolder

SECONDS = 20
"""For what takes one."""


@pytest.fixture(autouse=True)
def top(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def made(reads=lambda: False):
    return TemporaryFolder.made(reads)


def gone(path):
    """Whether a folder goes soon."""
    deadline = time.monotonic() + SECONDS
    while os.path.lexists(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not os.path.lexists(path) and not os.path.lexists(f"{path}.gone")


def test_it_lies_where_the_system_has_such_folders(top):
    assert Path(made().path).parent == top


def test_it_lies_where_dask_is_told_to_have_such_folders(top, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with dask.config.set({"temporary-directory": str(top / "for" / "dask")}):
        assert Path(made().path).parent == top / "for" / "dask"
    with dask.config.set({"temporary-directory": "relative"}):  # workers have working directories of their own
        assert Path(made().path).parent == Path.cwd() / "relative"


def test_without_space_it_says_what_to_do(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(InputError, match=r"^out: none was .*folder can be made for.*\(No space left .*out=.*TMPDIR"):
        made()


def test_where_dask_is_told_to_have_them_must_be_a_folder(top):
    (top / "file").touch()
    with (
        dask.config.set({"temporary-directory": str(top / "file")}),
        pytest.raises(
            InputError, match=r"can be made in '.*file' .*\(File exists\).*set temporary-directory of the Dask"
        ),
    ):
        made()


def test_it_ends_with_its_last_user_and_copies_are_users(top):
    folder = made()
    (Path(folder.path) / "content").touch()
    users = [copy.copy(folder), copy.deepcopy([folder]), {"folder": folder}]
    del folder
    while users:
        assert len(list(top.iterdir())) == 1
        users.pop()
    gc.collect()
    assert list(top.iterdir()) == []


def test_it_can_be_removed_before_and_twice(top):
    folder = made()
    folder.remove()
    folder.remove()
    assert list(top.iterdir()) == []


def test_what_was_sent_away_is_read_to_the_end():
    reading = [True]
    folder = made(lambda: reading[0])
    path = folder.path
    pickle.dumps(folder)
    del folder
    time.sleep(1.5)
    assert Path(path).is_dir()
    reading[0] = False
    assert gone(path)


def test_tokens_of_dask_do_not_send_it_away():
    folder = made(lambda: True)
    path = folder.path
    assert dask.base.tokenize(folder) == dask.base.tokenize(copy.copy(folder))
    del folder
    assert not os.path.lexists(path)


BEGINNING = """
import gc, multiprocessing, os, pickle, sys, time
from pathlib import Path
from bcnmf_dask.results.temporaries import TemporaryFolder
folder = TemporaryFolder.made(lambda: True)
print(folder.path, flush=True)
"""
SPAWNED = BEGINNING.replace("folder = ", "def child(sends):\n    global folder\n    folder = ").replace(
    "print(", "    print("
)


def script(text, beginning=BEGINNING):
    """What a process prints, which must end as it should."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, "-c", beginning + text], capture_output=True, text=True, env=environment, timeout=120
    )
    return ended.stdout.split(), ended.stderr, ended.returncode


@pytest.fixture
def temporary(top, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(top))


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("1 / 0", 1),
        ("cycle = [folder]; cycle.append(cycle); gc.disable(); del folder, cycle", 0),
        ("pickle.dumps(folder)", 0),  # a cluster may be reading, but its client ends now
        ("pickle.dumps(folder); del folder; time.sleep(1.5); assert os.listdir(os.environ['TMPDIR'])", 0),
    ],
    ids=["end", "exit", "error", "cycle", "sent", "waiting"],
)
def test_at_exit_it_is_removed(top, text, code):
    (path,), error, ended = script(text)
    assert (ended, "Exception ignored" in error) == (code, False), error
    assert Path(path).parent == top
    assert list(top.iterdir()) == []


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize("ends", ["sys.exit()", "os._exit(0)", "del folder; gc.collect(); sys.exit()"])
@pytest.mark.parametrize("sent", ["", "pickle.dumps(folder)\n"])
def test_a_fork_removes_nothing(top, ends, sent):
    text = f"""
{sent}pid = os.fork()
if not pid:
    pickle.dumps(folder)
    {ends}
os.waitpid(pid, 0)
time.sleep(1)
print(Path(folder.path).is_dir())
"""
    (_, there), error, code = script(text)
    assert (code, there) == (0, "True"), error
    assert list(top.iterdir()) == []


@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("sends", [False, True])
def test_a_child_removes_its_own_unless_it_was_sent_to_others(top, tmp_path_factory, method, sends):
    module = tmp_path_factory.mktemp("scripts") / "child.py"
    module.write_text(
        SPAWNED
        + f"""    if sends:
        pickle.dumps(folder)
if __name__ == "__main__":
    one = multiprocessing.get_context({method!r}).Process(target=child, args=({sends},))
    one.start()
    one.join()
"""
    )
    (path,), error, code = script(f"import runpy; runpy.run_path({str(module)!r}, run_name='__main__')", "")
    assert code == 0, error
    assert [str(left) for left in top.iterdir()] == ([path] if sends else [])


@pytest.mark.usefixtures("temporary")
def test_another_process_that_reads_a_pickle_removes_nothing(top):
    folder = made()
    names = StoredNames(f"{folder.path}/fit.zarr", "target_cell", folder)
    (top / "sent").write_bytes(pickle.dumps(names))
    text = f"import pickle; print(pickle.loads(open({str(top / 'sent')!r}, 'rb').read()).folder)"
    assert script(text, "") == (["None"], "", 0)
    assert Path(folder.path).is_dir()


def stored(folder):
    location = f"{folder.path}/fit.zarr"
    create_usages(location, "target", 10, 3, 4, np.float32)
    writable_usages(location, "target")[:] = 1
    return location


def test_lazy_usages_and_all_that_is_computed_from_them_are_users(top):
    folder = made()
    usages = read_usages(stored(folder), "target", folder)
    few = (usages[:5] * 2).sum(axis=1)
    del folder, usages
    gc.collect()
    np.testing.assert_array_equal(few.compute(), np.full(5, 6.0))
    again = few.persist()
    del few
    gc.collect()
    assert list(top.iterdir()) == []
    np.testing.assert_array_equal(again.compute(), np.full(5, 6.0))  # in memory


def test_names_of_rows_are_users(top):
    folder = made()
    names = StoredNames(stored(folder), "target_cell", folder)
    del folder
    gc.collect()
    assert Path(names.location).is_dir()
    del names
    assert list(top.iterdir()) == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_store_that_is_gone_is_refused_where_zarr_reads_zeros(kept):
    folder = made()
    usages = read_usages(stored(folder), "target", folder if kept else None)
    sent = pickle.dumps(usages)
    folder.remove()
    for one in (usages, pickle.loads(sent)):
        with pytest.raises(InputError, match=r"fit\.zarr: the usages were there, but on host .* nothing now.*out="):
            one.compute(scheduler="sync")


def test_a_store_that_goes_while_it_is_read_is_refused(monkeypatch):
    folder = made()
    usages = read_usages(stored(folder), "target", folder)
    read = np.asarray

    def late(values, *arguments, **options):
        folder.remove()
        return read(values, *arguments, **options)

    monkeypatch.setattr("bcnmf_dask.results.factors.np.asarray", late)
    with pytest.raises(InputError, match="nothing now"):
        usages.compute(scheduler="sync")
