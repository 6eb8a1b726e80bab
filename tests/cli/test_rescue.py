"""What a command has computed before it fails is kept, and it says where."""

import re

import numpy as np
import pytest

from bcnmf_dask import BCNMF
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.fitting import factorize
from bcnmf_dask.results import output

FIT = (
    "fit",
    "stim.h5ad",
    "ctrl.h5ad",
    "--out",
    "fit.zarr",
    "--n-components",
    3,
    "--max-iter",
    6,
    "--tol",
    0,
    "--quiet",
)


def place_named(stderr):
    (path,) = re.findall(r"model = BCNMF\.load\('(.*)'\)", stderr)
    return path


def the_fit(h5ad_pair, tmp_path):
    return BCNMF(3, max_iter=6, tol=0).fit(h5ad_pair[0], background=h5ad_pair[1], out=tmp_path / "whole.zarr")


@pytest.fixture
def full_disk(monkeypatch):
    """``full_disk(times)``: results cannot be written so many times."""

    def fill(times):
        write, calls = output.write_result, []

        def written(*arguments):
            calls.append(None)
            if len(calls) <= times:
                raise OSError(28, "No space left on device")
            write(*arguments)

        monkeypatch.setattr(output, "write_result", written)

    return fill


def assert_kept(done, h5ad_pair, tmp_path, code=1):
    assert done.exit_code == code
    path = place_named(done.stderr)
    kept, whole = BCNMF.load(path), the_fit(h5ad_pair, tmp_path)
    np.testing.assert_array_equal(kept.components_, whole.components_)
    np.testing.assert_array_equal(kept.target_usages_, np.asarray(whole.target_usages_))
    assert list(kept.result_.row_names["target"].read(0, 2)) == ["cell0", "cell1"]
    assert "error.result" not in done.stderr
    return path, kept


def test_a_disk_that_was_full_for_a_while(run, h5ad_pair, tmp_path, full_disk):
    full_disk(1)
    path, kept = assert_kept(run(*FIT), h5ad_pair, tmp_path)
    assert path == str(tmp_path / "fit.rescued.zarr")
    assert kept.status_.word == "max_iter"
    assert not (tmp_path / "fit.zarr").exists()


def test_a_disk_that_stays_full(run, h5ad_pair, tmp_path, full_disk, monkeypatch):
    (elsewhere := tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    (elsewhere / "fit.rescued.zarr").mkdir()  # of an earlier failure
    full_disk(2)
    path, _ = assert_kept(run(*FIT), h5ad_pair, tmp_path)
    assert path == str(elsewhere / "fit.rescued-2.zarr")


def test_room_for_the_components_alone(run, h5ad_pair, tmp_path, full_disk):
    full_disk(3)
    done = run(*FIT)
    assert "kept, the components without usages, which `BCNMF.load(...).transform` makes again" in done.stderr
    kept = BCNMF.load(place_named(done.stderr))
    np.testing.assert_array_equal(kept.components_, the_fit(h5ad_pair, tmp_path).components_)
    assert kept.target_usages_ is None
    assert kept.transform(h5ad_pair[0]).shape == (30, 3)
    info = run("info", place_named(done.stderr))
    assert info.exit_code == 0, info.output
    assert "not saved" in info.output


def test_no_room_at_all(run, h5ad_pair, full_disk):
    full_disk(10)
    done = run(*FIT)
    assert done.exit_code == 1
    assert "error: --out: the result cannot be written" in done.stderr
    assert "could not be kept, neither beside --out nor in" in done.stderr


def test_a_name_that_is_taken_meanwhile(run, h5ad_pair, tmp_path, monkeypatch):
    describe = factorize.describe_fits

    def described(*arguments):
        (tmp_path / "fit.zarr").mkdir(exist_ok=True)
        return describe(*arguments)

    monkeypatch.setattr(factorize, "describe_fits", described)
    done = run(*FIT)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    path, _ = assert_kept(done, h5ad_pair, tmp_path)
    assert path == str(tmp_path / "fit.rescued.zarr")


def test_an_error_in_a_sweep(run, h5ad_pair, tmp_path, monkeypatch):
    sweep, calls = LocalEngine.sweep, []

    def fails(self, orders):
        calls.append(None)
        if len(calls) == 5:
            raise ZeroDivisionError("a bug")
        return sweep(self, orders)

    monkeypatch.setattr(LocalEngine, "sweep", fails)
    done = run(*FIT)
    monkeypatch.undo()
    assert done.exit_code == 70
    kept = BCNMF.load(place_named(done.stderr))
    assert kept.status_.word == "interrupted"
    expected = BCNMF(3, max_iter=4, tol=0).fit(h5ad_pair[0], background=h5ad_pair[1])
    np.testing.assert_array_equal(kept.components_, expected.components_)
    np.testing.assert_array_equal(kept.target_usages_, expected.target_usages_.compute())


def test_before_the_first_sweep_nothing_is_written(run, h5ad_pair, tmp_path):
    before = set(tmp_path.iterdir())
    assert run(*FIT, "--mask-var", "none").exit_code != 0
    assert set(tmp_path.iterdir()) == before
