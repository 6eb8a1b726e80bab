"""Tables of text and named archives on the command line, and what is said of files that are not read."""

import subprocess
import sys

import anndata
import h5py
import numpy as np
import pytest

from bcnmf_dask import BCNMF

SMALL = ("--n-components", 3, "--max-iter", 8, "--tol", 0)


@pytest.fixture(params=["csv", "tsv", "csv.gz", "npz"])
def pair(request, cells, tmp_path):
    """Both sides as files of one kind, the genes of the background in another order; and as AnnData."""
    stim, ctrl = cells[:30].to_df(), cells[30:, ::-1].to_df()
    paths = [tmp_path / f"{side}.{request.param}" for side in ("stim", "ctrl")]
    for frame, path in zip((stim, ctrl), paths, strict=True):
        if request.param == "npz":
            rows = cells[frame.index, frame.columns].X
            parts = {part: getattr(rows, part) for part in ("data", "indices", "indptr", "shape")}
            np.savez(path, **parts, genes=frame.columns.to_numpy(), barcodes=frame.index.to_numpy())
        else:
            frame.to_csv(path, sep="\t" if request.param == "tsv" else ",")
    return paths


def loaded(pair, cells):
    """What the reference library makes of the same data, as dense or sparse as the files."""
    both = [cells[:30].copy(), cells[30:].copy()]
    if not pair[0].name.endswith(".npz"):
        for side in both:
            side.X = side.X.toarray()
    return both


def test_a_fit_of_two_files(run, pair, cells, tmp_path):
    done = run("fit", *pair, "--out", "fit.zarr", *SMALL)
    assert done.exit_code == 0, done.output
    target, background = loaded(pair, cells)
    model = BCNMF(3, max_iter=8, tol=0).fit(target, background=background, client=False)
    saved = BCNMF.load(tmp_path / "fit.zarr")
    np.testing.assert_array_equal(saved.components_, model.components_)
    np.testing.assert_array_equal(saved.target_usages_, model.target_usages_)
    np.testing.assert_array_equal(saved.background_usages_, model.background_usages_)
    assert list(saved.feature_names_in_) == list(cells.var_names)
    assert saved.result_.row_names["target"].read(0, 30).tolist() == list(cells.obs_names[:30])


def test_a_plan_of_two_files(run, pair, cells):
    done = run("plan", *pair)
    assert done.exit_code == 0, done.output
    assert f"target     30 rows from {pair[0]}\n" in done.stderr
    assert "features   12\n" in done.stderr
    assert "all stay in memory" in done.stderr


def test_a_file_becomes_a_store(run, pair, cells):
    done = run("ingest", pair[1], "ctrl.zarr")
    assert done.exit_code == 0, done.output
    found = anndata.read_zarr("ctrl.zarr")
    assert (found.to_df() == cells[30:, ::-1].to_df()).all(axis=None)


def test_a_file_has_no_labels(run, pair):
    done = run("plan", pair[0], "--key", "condition", "--target", "stim", "--background", "ctrl")
    assert done.exit_code == 1
    assert "error: store: --key condition is not a column of its annotation. The columns are: none." in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a,b\nx,1,2\ny,3,high\n", "has in line 3, column 3 ('b') 'high', which is no number"),
        (",a,b\nx,1,2\ny,3\n", "has in line 3, column 3 ('b') no value"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "plan", "ingest"])
def test_places_are_told(command, text, message, run, tmp_path):
    (tmp_path / "m.csv").write_text(text)
    more = {"fit": ("--alpha", 0, "--out", "fit.zarr"), "plan": (), "ingest": ("out.zarr",)}[command]
    done = run(command, "m.csv", *more)
    assert done.exit_code == 1
    assert f"'m.csv' {message}" in done.stderr


@pytest.mark.parametrize("command", ["fit", "ingest", "plan"])
def test_the_help_names_the_kinds_of_files(command, run, plain):
    assert "AnnData .zarr or .h5ad, a Zarr array, .npy, .npz, .csv or .tsv (also .gz)" in plain(
        run(command, "--help").stdout
    )


def test_a_file_that_another_process_writes(run, store):
    code = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(store)], **pipes) as other:
        other.stdout.readline()
        done = run("plan", store, "--key", "condition", "--target", "stim", "--background", "ctrl")
        other.stdin.close()
    assert done.exit_code == 1
    assert "It is open for writing in another process: close it there" in done.stderr
    assert "damaged" not in done.stderr


def test_a_file_of_another_kind(run, tmp_path):
    with h5py.File(tmp_path / "m.loom", "w") as file:
        file["matrix"] = np.ones((2, 3))
        file.create_group("row_attrs")
        file.create_group("col_attrs")
    done = run("plan", "m.loom")
    assert done.exit_code == 1
    assert "error: target: 'm.loom' is a Loom file. Write it as .h5ad: anndata.io.read_loom('m.loom')" in done.stderr
