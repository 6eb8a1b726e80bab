"""What the pass that loads the rows sees in their values, refuses and reports."""

import logging

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask import BCNMF
from bcnmf_dask.errors import CollapseWarning, DataWarning, InputError

DRAW = np.random.default_rng(0)


def rows(n=40, f=6):
    return DRAW.poisson(2.0, (n, f)).astype(float)


def with_value(value, row, feature):
    data = rows()
    data[row, feature] = value
    return data


def named(data, form):
    table = ad.AnnData(form(data))
    table.obs_names = [f"cell{i}" for i in range(len(data))]
    table.var_names = [f"GENE{j}" for j in range(data.shape[1])]
    return table


def fit(target, background=None, **parameters):
    chosen = {"n_components": 2, "alpha": 0.0, "loss": "frobenius", "max_iter": 3, "tol": 0, **parameters}
    return BCNMF(**chosen).fit(target, background=background, client=False)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_negative_values_name_the_first_cell_and_gene(form):
    data = with_value(-1.0, 31, 2)
    data[35, 1] = -2.0
    message = (
        r"target: 2 values are negative, the first at row 31 \('cell31'\), feature 2 \('GENE2'\)\. Expected counts"
    )
    with pytest.raises(InputError, match=message):
        fit(named(data, form))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_non_finite_values(value, form):
    with pytest.raises(
        InputError, match=r"target: 1 value is not finite .* row 17, feature 0\. Expected finite numbers"
    ):
        fit(form(with_value(value, 17, 0)))


def test_values_too_large_for_the_dtype():
    with pytest.raises(InputError, match="scale the data if they overflow the dtype"):
        fit(with_value(1e300, 3, 3))
    with pytest.warns(CollapseWarning):  # rightly: nothing else in the data counts
        model = fit(with_value(1e50, 3, 3), dtype="float64")
    assert np.isfinite(model.components_).all()


def test_the_background_is_looked_at_too():
    with pytest.raises(InputError, match=r"background: 1 value is negative, the first at row 5, feature 4"):
        fit(rows(), with_value(-3.0, 5, 4), alpha=1.0)


def test_a_bad_value_leaves_no_output(tmp_path):
    model = BCNMF(2, 0.0, loss="frobenius", max_iter=3, tol=0)
    with pytest.raises(InputError, match="negative"):
        model.fit(with_value(-1.0, 0, 0), client=False, out=tmp_path / "fit.zarr")
    assert list(tmp_path.iterdir()) == []


def test_fractions_under_kullback_leibler_warn_once():
    with pytest.warns(
        DataWarning, match=r"values are not integers, but loss='kullback-leibler' is meant for counts"
    ) as seen:
        fit(named(rows() + 0.5, np.asarray), loss="kullback-leibler")
    assert len(seen) == 1
    assert "layer" in str(seen[0].message)


def test_whole_counts_and_frobenius_do_not_warn():
    fit(rows(), loss="kullback-leibler")
    fit(rows() + 0.5)


def test_zero_rows_and_features_are_kept_and_reported(caplog):
    data, other = rows(), rows(3)
    data[[4, 9]], data[:, 5], other[:, 5] = 0, 0, 0
    with caplog.at_level(logging.INFO, "bcnmf_dask"):
        model = fit(data, other, n_components=4)
    assert model.run_["zero_rows"] == {"target": 2, "background": 0}
    assert model.run_["zero_features"] == 1
    assert (model.target_usages_[[4, 9]] == 0).all()
    assert (model.components_[:, 5] == 0).all()
    assert "target: 2 rows are all zero" in caplog.text
    assert "1 features are zero" in caplog.text
    assert "background: fewer rows (3) than components (4)" in caplog.text
