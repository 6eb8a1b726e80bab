"""After an error at any point past the first sweep, the numbers of the finished sweeps can be had."""

import gc
import shutil

import anndata
import dask
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from distributed import Client, LocalCluster

from bcnmf_dask import BCNMF
from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.memory import Stays
from bcnmf_dask.errors import ClusterError, InputError, NameTakenError, OutputError
from bcnmf_dask.fitting.rescue import NOTE
from bcnmf_dask.results.result import load_result

SWEEPS = 6


@pytest.fixture(scope="module")
def cluster():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as workers,
        Client(workers, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(params=[LocalEngine, ClusterEngine])
def engine(request):
    return request.param


@pytest.fixture
def client(engine, cluster):
    return False if engine is LocalEngine else cluster


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def cells(n_rows, seed):
    values = sp.csr_matrix(np.random.default_rng(seed).poisson(1.0, (n_rows, 9)).astype(np.float32))
    names = pd.DataFrame(index=[f"cell {seed}-{row}" for row in range(n_rows)])
    return anndata.AnnData(values, obs=names, var=pd.DataFrame(index=[f"gene{i}" for i in range(9)]))


SIDES = {"target": cells(40, 0), "background": cells(20, 1)}


@pytest.fixture(params=["memory", "paths"])
def sides(request, tmp_path):
    if request.param == "memory":
        return SIDES
    for role, adata in SIDES.items():
        adata.write_h5ad(tmp_path / f"{role}.h5ad")
    return {role: tmp_path / f"{role}.h5ad" for role in SIDES}


def fitted(sides, client, max_iter=SWEEPS, **given):
    model = BCNMF(3, max_iter=max_iter, tol=0, **{name: given.pop(name) for name in ("solver",) if name in given})
    return model.fit(sides["target"], background=sides["background"], client=client, **given)


def in_sweep(number, error):
    """A method of an engine that raises at its call of that number."""

    def wrapped(method):
        calls = []

        def called(self, *arguments):
            calls.append(None)
            if len(calls) >= number:
                raise error
            return method(self, *arguments)

        return called

    return wrapped


def ended(error, sides, client, **given):
    with pytest.raises(type(error)) as raised:
        fitted(sides, client, **given)
    return raised.value


def assert_whole(result, *, n_sweeps=SWEEPS):
    """Components and usages are the bits of the fit that makes so many sweeps, and it can be saved with names."""
    expected = fitted(SIDES, False, max_iter=n_sweeps).result_
    np.testing.assert_array_equal(result.components, expected.components)
    for role in SIDES:
        np.testing.assert_array_equal(
            np.asarray(getattr(result, f"{role}_usages")), getattr(expected, f"{role}_usages")
        )
    np.testing.assert_array_equal(result.history["objective"], expected.history["objective"])
    np.testing.assert_array_equal(result.separation.auroc, expected.separation.auroc)
    for role, adata in SIDES.items():
        assert list(result.row_names[role].read(0, 99)) == list(adata.obs_names)


@pytest.mark.parametrize("kind", [OSError, ZeroDivisionError, MemoryError])
def test_in_a_sweep(engine, client, sides, temporary, tmp_path, monkeypatch, kind):
    error = kind("something is the matter")
    monkeypatch.setattr(engine, "sweep", in_sweep(4, error)(engine.sweep))
    raised = ended(error, sides, client)
    monkeypatch.undo()
    assert raised.__notes__ == [NOTE]
    (result,) = raised.results
    assert result is raised.result
    assert_whole(result, n_sweeps=3)
    word, sentence, converged = result.status
    assert (word, converged) == ("interrupted", False)
    assert f"({type(error).__name__}) ended the fit after 3 sweeps" in sentence
    assert result.run["data_visits"] == 3
    assert np.isnan(result.divergences.target)
    result.save(tmp_path / "kept.zarr")
    kept = BCNMF.load(tmp_path / "kept.zarr")
    assert kept.status_ == result.status
    assert kept.summary()["target_explained"].isna().all()
    assert "nan" not in kept.result_.methods()
    kept.transform(SIDES["target"])
    assert list(temporary.iterdir()) == []


def test_of_a_lost_cluster_there_are_the_components(engine, client, sides, monkeypatch):
    error = ClusterError("all workers are gone")
    monkeypatch.setattr(engine, "sweep", in_sweep(4, error)(engine.sweep))
    monkeypatch.setattr(engine, "usages", lambda *_: pytest.fail("nobody is there to answer"))
    result = ended(error, sides, client).result
    monkeypatch.undo()
    np.testing.assert_array_equal(result.components, fitted(SIDES, False, max_iter=3).components_)
    assert (result.target_usages, result.background_usages) == (None, None)


def test_a_callback_that_fails(client, sides):
    def fails(record):
        if record.iteration == 4:
            raise KeyError("no such column")

    assert_whole(ended(KeyError(), sides, client, callbacks=[fails]).result, n_sweeps=4)


def test_whoever_interrupts_a_fit_has_the_components_at_once(client, sides, monkeypatch):
    def interrupt(record):
        if record.iteration == 4:
            raise KeyboardInterrupt

    result = ended(KeyboardInterrupt(), sides, client, callbacks=[interrupt]).result
    np.testing.assert_array_equal(result.components, fitted(SIDES, False, max_iter=4).components_)
    assert result.target_usages is None


def test_before_the_end_of_a_sweep_there_is_nothing(engine, client, sides, monkeypatch):
    error = ZeroDivisionError("a bug")
    monkeypatch.setattr(engine, "sweep", in_sweep(1, error)(engine.sweep))
    raised = ended(error, sides, client)
    assert not hasattr(raised, "result")
    assert not hasattr(raised, "__notes__")


def test_in_the_last_visit(engine, client, sides, temporary, monkeypatch):
    error = RuntimeError("a bug")
    monkeypatch.setattr(engine, "evaluate", in_sweep(1, error)(engine.evaluate))
    result = ended(error, sides, client).result
    monkeypatch.undo()
    assert_whole(result)
    assert result.status.word == "interrupted"
    assert list(temporary.iterdir()) == []


@pytest.mark.filterwarnings("ignore::bcnmf_dask.errors.CollapseWarning")
def test_where_usages_are_fitted_at_the_end(engine, client, sides, monkeypatch):
    error = RuntimeError("a bug")
    monkeypatch.setattr(engine, "sweep", in_sweep(SWEEPS + 1, error)(engine.sweep))
    result = ended(error, sides, client, solver="accelerated").result
    monkeypatch.undo()
    whole = fitted(SIDES, False, solver="accelerated").result_
    np.testing.assert_array_equal(result.components, whole.components)
    assert result.target_usages.shape == whole.target_usages.shape


@pytest.mark.filterwarnings("ignore::bcnmf_dask.errors.CollapseWarning")
def test_of_the_online_solver_there_are_no_usages_before_the_last_visit(engine, client, sides, monkeypatch):
    error = RuntimeError("a bug")
    monkeypatch.setattr(engine, "sweep", in_sweep(1, error)(engine.sweep))
    result = ended(error, sides, client, solver="online").result
    monkeypatch.undo()
    np.testing.assert_array_equal(result.components, fitted(SIDES, False, solver="online").components_)
    assert result.target_usages is None


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "step", ["results.output.write_result", "results.layout.create_array", "results.layout.consolidate"]
)
def test_a_disk_that_fills_up(client, sides, temporary, tmp_path, monkeypatch, step):
    def fill_up(record):
        monkeypatch.setattr(f"bcnmf_dask.{step}", full)

    raised = ended(OutputError(""), sides, client, out=tmp_path / "fit.zarr", callbacks=[fill_up])
    monkeypatch.undo()
    assert "No space left on device" in str(raised)
    assert_whole(raised.result)
    assert raised.result.status.word == "max_iter"
    assert not np.isnan(raised.result.divergences.target)
    assert not list(tmp_path.glob("*fit*"))
    assert list(temporary.iterdir()) == []


def test_whatever_else_fails_when_the_result_is_written(client, sides, tmp_path, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.results.layout.consolidate", lambda _: [][0])
    raised = ended(IndexError(), sides, client, out=tmp_path / "fit.zarr")
    monkeypatch.undo()
    assert_whole(raised.result)


def test_a_name_that_is_taken_meanwhile(client, sides, tmp_path):
    def take(record):
        (tmp_path / "fit.zarr").mkdir(exist_ok=True)

    raised = ended(NameTakenError("", ""), sides, client, out=tmp_path / "fit.zarr", callbacks=[take])
    assert raised.location == str(tmp_path / "fit.rescued.zarr")
    assert_whole(raised.result if sides is SIDES else load_result(raised.location))
    assert_whole(load_result(raised.location))
    assert list((tmp_path / "fit.zarr").iterdir()) == []


def test_what_is_let_go_late_costs_no_fit(engine, client, sides, monkeypatch, caplog):
    def fails(self):
        close(self)
        raise TimeoutError("the scheduler does not answer")

    close = engine.close
    monkeypatch.setattr(engine, "close", fails)
    assert_whole(fitted(sides, client).result_)
    assert "not all that it held was let go: the scheduler does not answer" in caplog.text


def test_inputs_may_be_deleted_while_a_fit_runs_and_after(client, tmp_path):
    for role, adata in SIDES.items():
        adata.write_h5ad(tmp_path / f"{role}.h5ad")

    def delete(record):
        for role in SIDES:
            (tmp_path / f"{role}.h5ad").unlink(missing_ok=True)

    paths = {role: tmp_path / f"{role}.h5ad" for role in SIDES}
    model = fitted(paths, client, callbacks=[delete])
    assert_whole(model.result_)
    model.save(tmp_path / "kept.zarr")
    assert_whole(load_result(tmp_path / "kept.zarr"))


def test_an_input_may_be_written_anew_after_a_fit(client, tmp_path):
    paths = {role: tmp_path / f"{role}.h5ad" for role in SIDES}
    for role, adata in SIDES.items():
        adata.write_h5ad(paths[role])
    model = fitted(paths, client)
    for path in paths.values():
        cells(7, 5).write_h5ad(path)
    model.save(tmp_path / "kept.zarr")
    assert_whole(load_result(tmp_path / "kept.zarr"))


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_of_streamed_rows_that_are_gone_there_is_what_they_gave(tmp_path, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.engine.local.resident", lambda *_: Stays())
    paths = {role: tmp_path / f"{role}.zarr" for role in SIDES}
    for role, adata in SIDES.items():
        adata.write_zarr(paths[role])

    def delete(record):
        if record.iteration == 3:
            for path in paths.values():
                shutil.rmtree(path)

    with dask.config.set({"bcnmf-dask.read-patience": "1 s"}):
        raised = ended(InputError(""), paths, False, callbacks=[delete])
    assert_whole(raised.result, n_sweeps=3)


def test_names_that_cannot_be_read_are_refused_before_the_first_sweep(client, tmp_path):
    broken = cells(30, 2)
    frame = pd.DataFrame(index=pd.Index([b"\xe9" if row == 20 else b"c" for row in range(30)], dtype=object))
    broken.obs.index = pd.Index([str(name) for name in frame.index])
    rows = pd.DataFrame(broken.X.toarray(), index=frame.index)
    with pytest.raises(InputError, match=r"^target: a name .*b'\\xe9', which is not UTF-8") as raised:
        fitted({"target": rows, "background": rows[:10]}, client, callbacks=[lambda _: pytest.fail("a sweep")])
    assert raised.value.result is None


def test_temporary_folders_of_failed_fits_are_gone(engine, client, sides, temporary, monkeypatch):
    error = ZeroDivisionError("a bug")
    monkeypatch.setattr(engine, "write_usages", in_sweep(1, error)(engine.write_usages))
    monkeypatch.setattr(engine, "usages", in_sweep(1, error)(engine.usages))
    result = ended(error, sides, client).result
    monkeypatch.undo()
    np.testing.assert_array_equal(result.components, fitted(SIDES, False).components_)
    assert result.target_usages is None
    gc.collect()
    assert list(temporary.iterdir()) == []
