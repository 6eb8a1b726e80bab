import io
import json
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
from distributed import LocalCluster

from bcnmf_dask import BCNMF, split

SMALL = ("--n-components", 3, "--max-iter", 15, "--tol", 0)


def same(path, target, background, **parameters) -> BCNMF:
    """Check that the saved fit is the fit that Python makes of the same data."""
    saved = BCNMF.load(path)
    model = BCNMF(3, max_iter=15, tol=0, **parameters).fit(target, background=background, client=False)
    np.testing.assert_array_equal(saved.components_, model.components_)
    np.testing.assert_array_equal(saved.target_usages_, model.target_usages_)
    return model


def table(stdout) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(stdout), sep="\t")


def test_two_files(run, h5ad_pair, cells, tmp_path):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    model = same(tmp_path / "fit.zarr", cells[:30], cells[30:])
    expected = model.summary()
    shown = table(done.stdout)
    assert list(shown) == list(expected)
    for column in expected.columns.drop(["top_features", "specific_features"]):
        np.testing.assert_allclose(shown[column], expected[column], rtol=1e-5, err_msg=column)
    assert list(shown["top_features"]) == list(expected["top_features"])
    assert "done: max_iter after 15 sweeps." in done.stderr
    assert "BCNMF.load('fit.zarr')" in done.stderr


def test_the_plan_has_the_numbers_of_the_data(run, h5ad_pair, cells):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL)
    assert f"target     30 rows from {h5ad_pair[0]}\n" in done.stderr
    assert f"background 20 rows from {h5ad_pair[1]}\n" in done.stderr
    assert "features   12\n" in done.stderr
    share = cells.X.nnz / (50 * 12)
    assert f"values     {cells.X.nnz} stored, {share:.1%} of all entries, sparse (CSR)\n" in done.stderr
    assert "runs       in this process" in done.stderr
    assert "sweep 1/15: target divergence" in done.stderr
    assert "\x1b" not in done.output


def test_quiet_keeps_the_result_only(run, h5ad_pair):
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", "--quiet", *SMALL)
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["done:", "result", "open"]
    assert len(table(done.stdout)) == 3


def test_one_store_with_labels_and_chosen_features(run, store, cells, tmp_path):
    labels = ("--key", "condition", "--target", "stim", "--background", "ctrl")
    done = run("fit", store, *labels, "--mask-var", "variable", "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    assert "features   8 of 12" in done.stderr
    assert "rows       at most" in done.stderr
    target, background = split(cells, "condition", "stim", "ctrl", mask_var="variable")
    same(tmp_path / "fit.zarr", target, background)


def test_a_label_may_be_repeated(run, store):
    labels = ("--key", "condition", "--target", "stim", "--target", "ctrl", "--background", "ctrl")
    done = run("fit", store, *labels, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    assert "target     50 rows" in done.stderr
    assert "background 20 rows" in done.stderr


def test_one_store_without_a_background(run, store, cells, tmp_path):
    done = run("fit", store, "--key", "condition", "--target", "stim", "--alpha", 0, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    same(tmp_path / "fit.zarr", cells[:30], None, alpha=0.0)


def test_npz_and_every_parameter(run, cells, tmp_path):
    sp.save_npz(tmp_path / "a.npz", sp.csr_matrix(cells.X[:30]))
    sp.save_npz(tmp_path / "b.npz", sp.csr_matrix(cells.X[30:]))
    options = ("--alpha", 0.5, "--weighting", "sum", "--loss", "frobenius", "--damping", 0.7, "--dtype", "float64")
    done = run("fit", "a.npz", "b.npz", "--out", "fit.zarr", *options, "--solver", "published", "--seed", 7, *SMALL)
    assert done.exit_code == 0, done.output
    chosen = {"alpha": 0.5, "weighting": "sum", "loss": "frobenius", "damping": 0.7, "dtype": "float64"}
    same(tmp_path / "fit.zarr", cells.X[:30], cells.X[30:], random_state=7, **chosen)


@pytest.mark.filterwarnings("ignore:Writing zarr v2:UserWarning")  # of anndata, when a test writes its data
def test_a_zarr_store_opens_with_xarray(run, cells, tmp_path):
    anndata.AnnData(cells.X, obs=cells.obs, var=cells.var).write_zarr(tmp_path / "cells.zarr")
    labels = ("--key", "condition", "--target", "stim", "--background", "ctrl")
    assert run("fit", "cells.zarr", *labels, "--out", "fit.zarr", *SMALL).exit_code == 0
    saved = xr.open_zarr(tmp_path / "fit.zarr")
    assert saved["components"].shape == (3, 12)
    assert saved["background_usages"].shape == (20, 3)


def test_features_in_common(run, cells, tmp_path):
    cells[:30, :9].copy().write_h5ad(tmp_path / "a.h5ad")
    cells[30:, 3:].copy().write_h5ad(tmp_path / "b.h5ad")
    strict = run("fit", "a.h5ad", "b.h5ad", "--out", "fit.zarr", *SMALL)
    assert strict.exit_code == 1
    assert "--features intersection" in strict.stderr
    shared = run("fit", "a.h5ad", "b.h5ad", "--features", "intersection", "--out", "fit.zarr", *SMALL)
    assert shared.exit_code == 0, shared.output
    assert "features   6 of 9" in shared.stderr


def test_values_that_are_not_counts_are_one_warning_line(run, h5ad_pair):
    done = run("fit", *h5ad_pair, "--layer", "halves", "--out", "fit.zarr", "--quiet", *SMALL)
    assert done.exit_code == 0
    assert re.match(r"warning: \d+ values are not integers.* Give --layer to choose", done.stderr)
    assert done.stderr.count("warning:") == 1


@pytest.mark.parametrize(
    ("alias", "loss"), [("kl", "kullback-leibler"), ("poisson", "kullback-leibler"), ("sse", "frobenius")]
)
def test_a_loss_by_another_name(run, store, cells, tmp_path, alias, loss):
    labels = ("--key", "condition", "--target", "stim", "--background", "ctrl")
    assert run("plan", store, *labels, "--loss", alias).exit_code == 0
    done = run("fit", store, *labels, "--loss", alias, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    assert same(tmp_path / "fit.zarr", cells[:30], cells[30:], loss=loss).loss == loss


def test_what_the_sides_have_in_common_or_not_is_a_warning_line(run, cells):
    cells.X[30:] *= 3
    cells.obs["batch"] = ["b1"] * 30 + ["b2"] * 20
    cells.write_h5ad("cells.h5ad")
    labels = ("--key", "condition", "--target", "stim", "--background", "ctrl")
    done = run("fit", "cells.h5ad", *labels, "--out", "fit.zarr", "--quiet", *SMALL)
    assert done.exit_code == 0
    assert re.search(
        r"^warning: background: its rows sum to [\d.]+ on average, \d\.\d+ times as much", done.stderr, re.M
    )
    assert re.search(r"^warning: target and background have no value in common in 'batch'", done.stderr, re.M)
    assert done.stderr.count("warning:") == 2
    zeros = cells[30:].copy()
    zeros.X = zeros.X * 0
    zeros.write_h5ad("zeros.h5ad")
    cells[:30].copy().write_h5ad("stim.h5ad")
    done = run("fit", "stim.h5ad", "zeros.h5ad", "--weighting", "mean", "--out", "zeros.zarr", "--quiet", *SMALL)
    assert re.search(
        r"^warning: background: all its values are zero.* or set --alpha 0 for plain NMF", done.stderr, re.M
    )


def test_not_converged_and_collapsed_are_warnings_and_exit_with_0(run, h5ad_pair):
    done = run("fit", *h5ad_pair, "--n-components", 3, "--max-iter", 5, "--out", "a.zarr", "--quiet")
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: max_iter after 5 sweeps. The fit was still changing")
    strong = ("--alpha", 50, "--loss", "frobenius", "--n-components", 3, "--max-iter", 60)
    done = run("fit", *h5ad_pair, *strong, "--out", "b.zarr", "--quiet")
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: collapsed after ")
    assert done.stderr.count("warning:") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.npy", "b.npy"], "Missing option '--out'"),
        (["a.npy", "--out", "x.zarr"], "no background was given to contrast with"),
        (["a.npy", "b.npy", "--target", "stim", "--out", "x.zarr"], "needs --key"),
        (["a.npy", "b.npy", "--key", "condition", "--target", "s", "--out", "x.zarr"], "got a second file, 'b.npy'"),
        (["a.npy", "--key", "condition", "--out", "x.zarr"], "needs --target LABEL"),
        (["a.npy", "b.npy", "--alpha", "-1", "--out", "x.zarr"], "'--alpha': got -1.0. Expected a finite number"),
        (["a.npy", "b.npy", "--loss", "hinge", "--out", "x.zarr"], "'--loss': got 'hinge'. Expected one of"),
        (["a.npy", "b.npy", "--seed", "-3", "--out", "x.zarr"], "'--seed': got -3. Expected a whole number"),
        (["a.npy", "b.npy", "--features", "some", "--out", "x.zarr"], "'strict', 'intersection'"),
        (["a.npy", "b.npy", "--batch-size", "0", "--out", "x.zarr"], "'--batch-size': got 0. Expected a whole number"),
        (
            ["a.npy", "b.npy", "--batch-size", "9", "--out", "x.zarr"],
            "--batch-size: got 9, but --solver published sweeps over all rows. Expected a size of batches only for the "
            "solver that makes some: set --solver online, or leave --batch-size out.",
        ),
        (["a.npy", "b.npy", "--n-component", "3", "--out", "x.zarr"], "No such option"),
        (["a.npy", "b.npy", "--local", "--scheduler", "tcp://a:1", "--out", "x.zarr"], "give one of them at most"),
        (["a.npy", "b.npy", "--scheduler-file", "no.json", "--out", "x.zarr"], "there is no file 'no.json'"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_read(run, plain, arguments, words):
    done = run("fit", *arguments)
    assert done.exit_code == 2
    assert words in plain(done.stderr)
    assert done.stdout == ""


def test_an_output_that_exists_is_refused(run, h5ad_pair, tmp_path):
    (tmp_path / "fit.zarr").mkdir()
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 1
    assert "error: --out: 'fit.zarr' already exists" in done.stderr


def test_bad_data_is_refused_in_words_and_nothing_is_left(run, tmp_path):
    np.save(tmp_path / "a.npy", -np.ones((20, 5)))
    done = run("fit", "a.npy", "--alpha", 0, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 1
    assert "error: target: 100 values are negative" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy"]


@pytest.mark.parametrize("name", ["scheduler.json", "scheduler", "local"])
def test_a_scheduler_file_of_any_name(run, h5ad_pair, cells, tmp_path, name):
    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as cluster:
        (tmp_path / name).write_text(json.dumps({"address": cluster.scheduler_address}))
        done = run("fit", *h5ad_pair, "--scheduler-file", name, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    assert f"on the workers of the Dask scheduler at {tmp_path / name}" in done.stderr
    assert BCNMF.load(tmp_path / "fit.zarr").run_["engine"] == "cluster"


def test_a_file_that_is_no_scheduler_file(run, h5ad_pair, tmp_path):
    (tmp_path / "scheduler").write_text("tcp://127.0.0.1:8786")
    done = run("fit", *h5ad_pair, "--scheduler-file", "scheduler", "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 1
    assert "error: --scheduler: " in done.stderr
    assert "is no scheduler file that can be read" in done.stderr


@pytest.mark.slow
def test_on_worker_processes_of_this_machine(run, h5ad_pair, cells, tmp_path):
    done = run("fit", *h5ad_pair, "--local", "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    assert re.search(r"runs       on this machine, \d+ worker processes", done.stderr)
    same(tmp_path / "fit.zarr", cells[:30], cells[30:])


def test_a_full_disk_is_an_error_of_ours(run, h5ad_pair, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bcnmf_dask.results.output.write_result", full)
    done = run("fit", *h5ad_pair, "--out", "fit.zarr", "--n-components", 3, "--max-iter", 2)
    assert done.exit_code == 1
    assert "error: --out: the result cannot be written to" in done.stderr
    assert "(No space left on device). Free space there" in done.stderr
    assert "not your fault" not in done.stderr
    assert not list(tmp_path.glob("*fit.zarr*"))
