"""Every column of `summary` against plain NumPy on full usages and rows, whatever the engine and where rows are."""

import anndata as ad
import dask
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.sparse as sp
import zarr

from bcnmf_dask import BCNMF, split
from bcnmf_dask.updates.basis import PUBLISHED_FLOOR

pytestmark = pytest.mark.filterwarnings(  # of what is made up here, which has sides of unlike depth and few features
    "ignore::bcnmf_dask.errors.DataWarning",
    "ignore::bcnmf_dask.errors.CollapseWarning",
    "ignore::bcnmf_dask.errors.ResultWarning",
)
N, M, F, K = 90, 70, 14, 3
ROLES = ("target", "background")


def counts():
    draw = np.random.default_rng(11)
    programs = draw.gamma(0.4, 2.0, (4, F))
    x = draw.poisson(draw.gamma(0.5, 2.0, (N, 4)) @ programs).astype(float)
    y = draw.poisson(0.7 * draw.gamma(0.5, 2.0, (M, 3)) @ programs[:3]).astype(float)
    x[4] = 0
    return x, y


def stored(folder, rows):
    paths = [str(folder / f"{role}.zarr") for role in ROLES]
    for path, one in zip(paths, rows, strict=True):
        zarr.create_array(path, data=one, chunks=(16, F))
    return paths


@pytest.fixture(params=["dense", "csr", "streamed", "cluster"])
def sides(request, tmp_path, client_of):
    """The two sides as a kind of input, and how to fit them."""
    x, y = counts()
    if request.param in ("dense", "csr"):
        form = sp.csr_array if request.param == "csr" else np.asarray
        yield (form(x), form(y)), {}
        return
    limit, where = ("1 MB", "local") if request.param == "streamed" else (None, "cluster")
    with dask.config.set({"bcnmf-dask.memory-limit": limit} if limit else {}):
        yield stored(tmp_path, (x, y)), {"out": tmp_path / "fit.zarr", "client": client_of[where]()}


def amounts(loss, rows, components, floor):
    """Usages of each row by SciPy."""
    return np.array([_amounts(loss, row, components.T, floor) for row in rows])


def _amounts(loss, row, basis, floor):
    if loss == "frobenius":
        return scipy.optimize.nnls(basis, row)[0]
    k, used = basis.shape[1], row > 0
    if not used.any():
        return np.zeros(k)

    def value_and_slope(usages):
        r = basis @ usages + floor
        value = r.sum() - (row[used] * np.log(r[used])).sum()
        return value, basis.sum(axis=0) - basis[used].T @ (row[used] / r[used])

    options = {"maxiter": 20_000, "maxfun": 200_000, "ftol": 1e-16, "gtol": 1e-13}
    start = np.full(k, row.sum() / k)
    return scipy.optimize.minimize(value_and_slope, start, jac=True, bounds=[(0, None)] * k, options=options).x


def area(positive, negative):
    return (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_every_column(sides, loss):
    (x, y), where = sides
    model = BCNMF(K, 0.5, loss=loss, weighting="mean", max_iter=30, tol=0, dtype="float64", solver="accelerated")
    model.fit(x, background=y, **where)
    assert bool(model.run_["shards_streamed"]) == ("out" in where and where["client"] is False)
    table, rows = model.summary(), dict(zip(ROLES, counts(), strict=True))
    usages = {role: np.asarray(getattr(model, f"{role}_usages_")) for role in ROLES}
    means = {role: one.mean(axis=0) for role, one in usages.items()}
    shares = {role: one.sum(axis=0) / rows[role].sum() for role, one in usages.items()}
    for role in ROLES:
        np.testing.assert_allclose(table[f"{role}_mean"], means[role], rtol=1e-9)
    ratio = np.log2(means["target"] / means["background"])
    np.testing.assert_allclose(table["log2_fold_change"], ratio, atol=1e-9)
    ratio = np.log2(shares["target"] / shares["background"])
    np.testing.assert_allclose(table["log2_fold_change_per_count"], ratio, atol=1e-9)
    areas = [area(usages["target"][:, one], usages["background"][:, one]) for one in range(K)]
    np.testing.assert_allclose(table["auroc"], areas, atol=1e-12)
    profile = rows["background"].mean(axis=0)
    floor = 5e-4 * (profile + profile.mean())
    beside = np.vstack([model.components_, profile / profile.sum()])
    for role in ROLES:
        found = amounts(loss, rows[role], beside, floor)
        parts = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-300)
        # A row that has just about 1 % of a component may fall to either side.
        sure = ((parts[:, :-1] >= 0.0099) & (parts[:, :-1] < 0.0101)).sum(axis=0) == 0
        np.testing.assert_allclose(table[f"{role}_fraction"][sure], (parts[:, :-1] >= 0.01).mean(axis=0)[sure])
        assert sure.any()
        expected = found[:, :-1].sum(axis=0) / rows[role].sum()
        np.testing.assert_allclose(table[f"{role}_explained"], expected, rtol=1e-3, atol=1e-5)
    norms = np.linalg.norm(model.components_, axis=1)
    cosines = model.components_ @ model.components_.T / np.outer(norms, norms) - 2 * np.eye(K)
    np.testing.assert_allclose(table["largest_cosine"], cosines.max(axis=1), rtol=1e-9)


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_explained_fraction_and_transform_are_those_of_another_solver(loss):
    x, y = counts()
    for solver in ("published", "accelerated"):
        model = BCNMF(K, 0.5, loss=loss, weighting="mean", max_iter=30, tol=0, dtype="float64", solver=solver)
        model.fit(x, background=y)
        profile = y.mean(axis=0)
        floor = np.full(F, PUBLISHED_FLOOR) if solver == "published" else 5e-4 * (profile + profile.mean())
        if loss == "kullback-leibler":
            np.testing.assert_allclose(model.floor_, floor)
        for rows in (x, y):
            ours = model.transform(rows)
            np.testing.assert_allclose(ours, amounts(loss, rows, model.components_, floor), atol=1e-3 * rows.max())
            found = amounts(loss, rows, np.vstack([model.components_, profile / profile.sum()]), floor)
            with np.errstate(invalid="ignore"):
                expected = found[:, :-1].sum(axis=1) / found.sum(axis=1)
            np.testing.assert_allclose(model.explained_fraction(rows), expected, atol=1e-3)
        assert model.transform_run_["usages_unfinished_rows"] == 0
        if solver == "accelerated":
            np.testing.assert_array_equal(model.transform(x), model.target_usages_)
            assert model.run_["usages_largest_residual"] <= 1e-6


def test_a_row_without_counts_has_no_share():
    x, y = counts()
    model = BCNMF(K, 0.5, weighting="mean", max_iter=5, tol=0).fit(x, background=y)
    found = model.explained_fraction(x)
    assert np.isnan(found[4])
    assert ((found[np.arange(N) != 4] >= 0) & (found[np.arange(N) != 4] <= 1)).all()


def test_labels_of_split_are_in_the_heading(tmp_path):
    x, y = counts()
    obs = pd.DataFrame({"c": ["stim"] * N + ["ctrl"] * M}, index=[f"cell{row}" for row in range(N + M)])
    table = ad.AnnData(np.vstack([x, y]), obs=obs)
    target, background = split(table, "c", ["stim"], "ctrl")
    model = BCNMF(K, 0.5, weighting="mean", max_iter=5, tol=0).fit(target, background=background)
    model.save(tmp_path / "fit.zarr")
    for one in (model, BCNMF.load(tmp_path / "fit.zarr")):
        assert str(one.summary()).startswith("target: stim; background: ctrl\n")
        assert one.summary().attrs["n_target"] == N
        pd.testing.assert_frame_equal(one.summary(), model.summary())
