import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from sklearn.datasets import load_digits

from bcnmf_dask import BCNMF
from bcnmf_dask.demo import demo_fits, demo_images, digit_scores, score_table
from bcnmf_dask.fitting.parameters import DEFAULT_ALPHAS


@pytest.fixture(scope="module")
def images():
    return demo_images()


def test_the_images_are_digits_over_patches(images):
    digits, labels = load_digits(n_class=2, return_X_y=True)
    assert images.target.shape == (360, 64)
    assert images.background.shape == (400, 64)
    np.testing.assert_array_equal(images.labels, labels)
    assert (images.target >= digits / 16).all()
    for rows in (images.target, images.background):
        assert rows.min() == 0
        assert rows.max() == 1


def test_the_patches_use_the_whole_scale(images):
    ranges = np.ptp(images.background, axis=1)
    np.testing.assert_allclose(ranges[ranges > 0], 1)
    assert (ranges > 0).mean() > 0.95


def test_the_images_are_always_the_same(images):
    np.testing.assert_array_equal(demo_images().target, images.target)


def test_contrast_finds_the_digits_in_one_run(images, tmp_path):
    fits = demo_fits(images, 2, out=tmp_path / "fit.zarr")
    table = score_table(fits, images.labels).set_index("method")
    assert list(table["fits"]) == [2, 2]
    assert table.loc["plain NMF", "mean_ARI"] <= 0.3
    assert table.loc["bcNMF", "mean_ARI"] >= 0.7
    assert BCNMF.load(tmp_path / "fit.zarr").alpha == DEFAULT_ALPHAS["frobenius"]
    np.testing.assert_array_equal(BCNMF.load(tmp_path / "fit.zarr").components_, fits["bcNMF"][0].components)


def test_scores_are_1_for_usages_that_tell_the_digits(images):
    class Perfect:
        target_usages = np.stack([images.labels, 1 - images.labels], axis=1).astype(float)

    np.testing.assert_array_equal(digit_scores([Perfect, Perfect], images.labels), [1, 1])


@pytest.mark.parametrize("content", ["file", "folder"])
def test_a_place_that_is_taken_is_refused(run, tmp_path, content):
    place = tmp_path / "taken"
    if content == "folder":
        place.mkdir()
        (place / "mine.txt").touch()
    else:
        place.touch()
    done = run("demo", "--out", "taken")
    assert done.exit_code == 1
    assert "error: --out: 'taken' is there already and is not an empty folder" in done.stderr


def test_a_folder_that_cannot_be_made_is_refused(run):
    done = run("demo", "--out", "missing/deep")
    assert done.exit_code == 1
    assert "cannot be made (No such file or directory)" in done.stderr


@pytest.mark.slow
def test_the_whole_demo(run, tmp_path):
    done = run("demo", "--out", "shown")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(io.StringIO(done.stdout), sep="\t").set_index("method")
    assert table.loc["plain NMF", "mean_ARI"] <= 0.3
    assert table.loc["bcNMF", "mean_ARI"] >= 0.7
    written = {path.name for path in (tmp_path / "shown").iterdir()}
    assert written == {"fit.zarr", "images.png", "components.png", "usages.png", "convergence.png"}
    assert set(re.findall(r"shown/([\w.]+)", done.stderr)) == written
    for name in written - {"fit.zarr"}:
        assert imread(tmp_path / "shown" / name).std() > 0.05
    assert BCNMF.load(tmp_path / "shown" / "fit.zarr").n_iter_ == 300
