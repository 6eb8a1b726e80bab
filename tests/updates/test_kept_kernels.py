"""Where compiled kernels are kept: wherever the package is imported, it works, and compiles no more than it must."""

import ast
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

import bcnmf_dask
from bcnmf_dask.kernels import compiling

COMPILE = """
import logging, sys
import numpy as np
from bcnmf_dask.kernels import checksum, compiling, csr
found = checksum._fnv1a(np.arange(5, dtype=np.uint64), np.uint64(checksum.START))
print(repr(compiling.PLACE), sum(checksum._fnv1a.stats.cache_hits.values()), int(found))
"""
NO_TEMPORARY_DIRECTORY = "import tempfile; tempfile.tempdir = '/proc/nowhere'\n"
NO_HOME = "import pwd\ndef unknown(_): raise KeyError\npwd.getpwuid = unknown\n"


@pytest.fixture
def read_only(tmp_path):
    """``read_only(code)``: run code where neither the folder of the kernels nor the home takes a file.

    A file lies where numba would make a folder, which root cannot do either.
    """
    package = tmp_path / "installed" / "bcnmf_dask"
    shutil.copytree(Path(bcnmf_dask.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "kernels" / "__pycache__").touch()
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    unset = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PYTHONPATH": str(package.parent), "TMPDIR": str(temporary)}

    def run(code, **more):
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment | more,
            cwd=here,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def told(ended):
    assert ended.returncode == 0, ended.stderr
    place, hits, found = ended.stdout.split()
    return ast.literal_eval(place), int(hits), int(found)


def test_kernels_are_kept_in_the_temporary_directory(read_only, tmp_path):
    first = told(read_only(COMPILE, HOME="/proc/nowhere"))
    second = told(read_only(COMPILE, HOME="/proc/nowhere"))
    assert first == (second[0], 0, second[2])
    assert second[1] == 1, "compiled once"
    place = Path(first[0])
    assert place.parent == tmp_path / "temporary"
    assert place.stat().st_mode & 0o777 == 0o700
    assert list(place.rglob("*.nbc"))


def test_kernels_that_cannot_be_kept_are_compiled_anew(read_only):
    ended = read_only(NO_TEMPORARY_DIRECTORY + COMPILE, HOME="/proc/nowhere")
    assert told(ended)[:2] == (None, 0)
    assert len(ended.stderr.splitlines()) == 1
    assert "Compiled kernels cannot be kept" in ended.stderr
    assert "Set NUMBA_CACHE_DIR to a folder that can be written." in ended.stderr


def test_what_is_told_is_used(read_only, tmp_path):
    ended = read_only(COMPILE, HOME="/proc/nowhere", NUMBA_CACHE_DIR=str(tmp_path / "told"))
    assert told(ended)[:2] == ("", 0)
    assert list((tmp_path / "told").rglob("*.nbc"))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_user_whom_the_system_does_not_know_gets_no_folder_named_like_a_home(read_only, tmp_path):
    place, _, _ = told(read_only(NO_HOME + COMPILE))
    assert Path(place).parent == tmp_path / "temporary"
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_that_others_can_write_is_not_run_from(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling.tempfile, "tempdir", str(tmp_path))
    folder = compiling._own_folder()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="others can write"):
        compiling._own_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="others can write"):
        compiling._own_folder()


def fail(*_):
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize("method", ["save", "load"])
def test_a_place_that_fails_does_no_harm(monkeypatch, method):
    monkeypatch.setattr(caching.IndexDataCacheFile, method, fail)

    @compiling.compiler()
    def twice(values):
        return 2 * values

    assert twice(np.arange(3)).tolist() == [0, 2, 4]


def test_nothing_else_is_kept_there():
    before = compiling.CONFIG.CACHE_DIR
    with compiling._kept_in("elsewhere"):
        assert compiling.CONFIG.CACHE_DIR == "elsewhere"
    assert before == compiling.CONFIG.CACHE_DIR
