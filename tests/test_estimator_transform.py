"""`BCNMF.transform`: usages of new rows, of the features and the layer of the fit."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from small_counts import GENES, F, K, N, X, Y, frame, make

from bcnmf_dask import BCNMF, split
from bcnmf_dask.errors import InputError


@pytest.fixture(scope="module")
def fitted():
    return make(max_iter=300).fit(frame(X), background=frame(Y))


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_training_rows_are_transformed_to_their_usages(loss):
    model = make(loss=loss, max_iter=1000, dtype="float64", damping=1.0).fit(X, background=Y)
    again = model.transform(X)
    assert np.abs(again - model.target_usages_).max() < 0.01 * model.target_usages_.max()
    assert model.target_usages_.shape == (N, K)  # those of the fit stay


def test_transform_of_a_few_rows_is_that_of_all_of_them():
    """Also of fewer rows than there are components."""
    model = make(max_iter=1000, dtype="float64").fit(X, background=Y)
    every = model.transform(X)
    for rows in (slice(5, 6), slice(7, 9), slice(10, 40)):
        assert np.abs(model.transform(X[rows]) - every[rows]).max() < 0.01 * every.max()


def test_transform_is_that_of_the_fit_whatever_has_been_set_since():
    model = make().fit(X, background=Y)
    expected = model.transform(X)
    model.set_params(n_components=K + 2, alpha=7.0, init={"target_usages": np.ones((N, K))})
    np.testing.assert_array_equal(model.transform(X), expected)


def test_transform_aligns_features_by_name(fitted):
    shuffled = np.random.default_rng(1).permutation(F)
    expected = fitted.transform(frame(X))
    np.testing.assert_allclose(fitted.transform(frame(X).iloc[:, shuffled]), expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(fitted.transform(X[:, shuffled]), expected, rtol=0.1)  # without names there is no order
    np.testing.assert_array_equal(fitted.transform(X), expected)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (frame(X[:, 1:], GENES[1:]), rf"^rows: 1 of the 12 features of the fit are missing \({GENES[0]}\)"),
        (frame(X, ["other", *GENES[1:]]), rf"^rows: 1 of the 12 features of the fit are missing \({GENES[0]}\)"),
        (X[:, 1:], r"^rows: 11 features came, the fit had 12"),
        (-X, r"^rows: .*negative"),
        (None, r"^rows: got an object of type NoneType"),
        (X[0], r"dimension"),
    ],
)
def test_rows_that_cannot_be_transformed_are_refused(fitted, rows, match):
    with pytest.raises(InputError, match=match):
        fitted.transform(rows)


def test_transform_takes_the_fitted_features_among_others(fitted):
    wider = frame(np.hstack([X[:, ::-1], X + 5]), [*GENES[::-1], *(f"other{i}" for i in range(F))])
    np.testing.assert_array_equal(fitted.transform(wider), fitted.transform(frame(X)))
    np.testing.assert_array_equal(fitted.transform(sparse_table(wider)), fitted.transform(sparse_table(frame(X))))


def sparse_table(rows):
    return ad.AnnData(sp.csr_matrix(rows.to_numpy()), var=pd.DataFrame(index=rows.columns))


def test_a_fit_of_selected_features_transforms_what_it_was_fitted_to():
    table = ad.AnnData(X, var=pd.DataFrame({"variable": np.arange(F) % 3 > 0}, index=GENES))
    model = make(alpha=0.0).fit(table, mask_var="variable")
    expected = make(alpha=0.0).fit(X[:, np.arange(F) % 3 > 0]).transform(X[:, np.arange(F) % 3 > 0])
    np.testing.assert_array_equal(model.transform(table), expected)


def layered(counts):
    return ad.AnnData(np.log1p(counts), layers={"counts": counts}, var=pd.DataFrame(index=GENES))


def test_transform_reads_the_layer_of_the_fit_or_refuses(tmp_path):
    make(alpha=0.0).fit(layered(X), layer="counts").save(tmp_path / "fit.zarr")
    model = BCNMF.load(tmp_path / "fit.zarr")
    assert model.result_.provenance.origin("target").matrix == "layers/counts"
    with pytest.raises(InputError, match=r"^rows: .* from X, but the fit from layer 'counts'.*give layer='counts'"):
        model.transform(layered(Y))
    expected = make(alpha=0.0).fit(X).transform(Y)
    np.testing.assert_array_equal(model.transform(layered(Y), layer="counts"), expected)
    np.testing.assert_array_equal(model.transform(Y), expected)


def test_transform_of_a_layer_after_a_fit_of_x_is_refused_but_not_after_one_without_layers():
    with pytest.raises(InputError, match=r"^rows: .* layer 'counts', but the fit from X\..*leave layer= out"):
        make(alpha=0.0).fit(layered(X)).transform(layered(Y), layer="counts")
    model = make(alpha=0.0).fit(X)
    np.testing.assert_array_equal(model.transform(layered(Y), layer="counts"), model.transform(Y))


def test_rows_chosen_by_split_bring_their_layer():
    both = ad.concat({"x": layered(X), "y": layered(Y)}, label="side", index_unique="-")
    model = make(alpha=0.0).fit(split(both, "side", "x", "y", layer="counts")[0])
    expected = make(alpha=0.0).fit(X).transform(Y)
    np.testing.assert_array_equal(model.transform(split(both, "side", "x", "y", layer="counts")[1]), expected)
    with pytest.raises(InputError, match=r"from X, but the fit from layer 'counts'"):
        model.transform(split(both, "side", "x", "y")[1])
