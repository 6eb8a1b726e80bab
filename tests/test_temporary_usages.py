"""Lazy usages that nobody gave a place: where they lie, how long, and what of them lasts."""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from small_counts import F, K, N, X, Y, make

from bcnmf_dask import BCNMF


@pytest.fixture
def top(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="t-") as folder:  # a short name: processes speak over sockets in it
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


@pytest.fixture
def paths(tmp_path):
    for name, values in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", values)
    return tmp_path / "x.npy", tmp_path / "y.npy"


def left(top):
    gc.collect()
    return list(top.iterdir())


@pytest.fixture(scope="module")
def expected():
    return make().fit(X, background=Y)


def test_the_place_is_told_and_ends_with_the_model(top, paths, expected):
    model = make().fit(paths[0], background=paths[1])
    assert Path(model.run_["temporary_store"]).parent.parent == top
    np.testing.assert_array_equal(xr.open_zarr(model.run_["temporary_store"])["target_usages"], expected.target_usages_)
    del model
    assert left(top) == []


def test_what_is_kept_of_a_model_that_is_gone(top, paths, expected):
    model = make().fit(paths[0], background=paths[1])
    usages, few, sums = model.target_usages_, model.target_usages_[:10], model.background_usages_.sum(axis=0)
    del model
    gc.collect()
    np.testing.assert_array_equal(usages.compute(), expected.target_usages_)
    del usages
    gc.collect()
    np.testing.assert_array_equal(few.compute(), expected.target_usages_[:10])
    del few
    gc.collect()
    np.testing.assert_allclose(sums.compute(), expected.background_usages_.sum(axis=0), rtol=1e-6)
    del sums
    assert left(top) == []


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_every_scheduler_of_dask_reads_them(top, paths, expected, scheduler):
    usages = make().fit(paths[0], background=paths[1]).target_usages_
    gc.collect()
    np.testing.assert_array_equal(usages.compute(scheduler=scheduler), expected.target_usages_)


def test_a_model_that_is_fitted_again_lets_go_of_its_first_store(top, paths):
    model = make().fit(paths[0], background=paths[1])
    first = Path(model.run_["temporary_store"])
    model.fit(paths[0], background=paths[1])
    gc.collect()
    assert not first.exists()
    assert Path(model.run_["temporary_store"]).is_dir()


def test_new_rows(top, paths, expected):
    usages = expected.transform(paths[0])
    assert str(top) in expected.transform_run_["temporary_store"]
    fraction = expected.explained_fraction(paths[0])
    assert len(left(top)) == 2
    np.testing.assert_array_equal(usages.compute(), expected.transform(X))
    np.testing.assert_allclose(fraction.compute(), expected.explained_fraction(X), rtol=1e-6)
    del usages, fraction
    assert left(top) == []


def test_arrays_of_xarray_over_dask_hold_theirs(top, expected):
    rows = xr.DataArray(da.from_array(X, chunks=(20, F)), dims=("cell", "gene"), coords={"cell": np.arange(N)})
    usages = expected.transform(rows)
    assert len(left(top)) == 1
    np.testing.assert_array_equal(usages.sel(cell=slice(5, 9)), expected.transform(X)[5:10])
    del usages
    assert left(top) == []


def test_a_saved_model_needs_no_temporary_store(top, tmp_path, paths, expected):
    model = make().fit(paths[0], background=paths[1])
    model.save(tmp_path / "fit.zarr")
    del model
    assert left(top) == []
    np.testing.assert_array_equal(BCNMF.load(tmp_path / "fit.zarr").target_usages_, expected.target_usages_)


def test_with_a_place_there_is_no_temporary_store(top, tmp_path, paths):
    model = make().fit(paths[0], background=paths[1], out=tmp_path / "fit.zarr")
    assert left(top) == []
    assert "temporary_store" not in model.run_
    assert "temporary_store" not in make().fit(X, background=Y).run_


def test_a_fit_that_is_refused_leaves_no_folder(top, paths, tmp_path):
    np.save(tmp_path / "bad.npy", -X)
    with pytest.raises(ValueError, match="negative"):
        make().fit(tmp_path / "bad.npy", background=paths[1])
    assert left(top) == []


PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
from bcnmf_dask import BCNMF
model = BCNMF(n_components=3, max_iter=2, tol=0).fit(sys.argv[1], background=sys.argv[2])
usages = model.target_usages_
print(usages.compute().shape[0], model.run_["temporary_store"])
"""


def test_a_program_that_ends_leaves_nothing(top, paths):
    environment = os.environ | {"TMPDIR": str(top), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    n_rows, place = ended.stdout.split()
    assert (ended.returncode, int(n_rows)) == (0, N), ended.stderr
    assert Path(place).parent.parent == top
    assert [one for one in left(top) if one.name.startswith("bcnmf-") and "kernels" not in one.name] == []


def test_it_lies_in_the_temporary_directory_of_dask(top, paths, tmp_path):
    with dask.config.set({"temporary-directory": str(tmp_path / "shared")}):
        model = make(n_components=K).fit(paths[0], background=paths[1])
    assert Path(model.run_["temporary_store"]).parent.parent == tmp_path / "shared"
    del model
    assert left(tmp_path / "shared") == left(top) == []
