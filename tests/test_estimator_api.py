"""`BCNMF` behaves as users of scikit-learn expect."""

import pickle
from pathlib import Path

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_checks
from small_counts import GENES, F, K, M, N, X, Y, frame, make

from bcnmf_dask import BCNMF, split
from bcnmf_dask.errors import InputError
from bcnmf_dask.results.record import HISTORY_COLUMNS


@pytest.fixture(scope="module")
def fitted():
    return make(max_iter=300).fit(frame(X), background=frame(Y))


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
)
def test_conventions_that_scikit_learn_checks(check):
    check("BCNMF", BCNMF())


def test_parameters_are_stored_untouched_by_fit():
    start = {"components": X[:K] + 1}
    model = make(n_components=np.int64(K), init=start, random_state=np.int64(3), damping=None)
    before = model.get_params()
    model.fit(X, background=Y)
    after = model.get_params()
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_clone_has_the_parameters_and_not_the_fit(fitted):
    copy = clone(fitted.set_params(alpha=fitted.alpha))
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(X)


def test_set_params_is_what_the_next_fit_uses():
    model = make().set_params(n_components=2, max_iter=3).fit(X, background=Y)
    assert model.components_.shape == (2, F)
    assert model.n_iter_ == 3
    with pytest.raises(ValueError, match="Invalid parameter 'alhpa'"):
        model.set_params(alhpa=1)


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.transform(X),
        lambda model: model.summary(),
        lambda model: model.save("nowhere.zarr"),
        lambda model: model.get_feature_names_out(),
    ],
)
def test_before_a_fit_nothing_else_works(use):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        use(make())


def test_learnt_attributes(fitted):
    assert fitted.components_.shape == (K, F)
    assert fitted.target_usages_.shape == (N, K)
    assert fitted.background_usages_.shape == (M, K)
    assert fitted.components_.dtype == fitted.target_usages_.dtype == np.float32
    np.testing.assert_allclose(fitted.components_.sum(axis=1), 1.0, rtol=1e-5)
    assert tuple(fitted.history_.columns) == HISTORY_COLUMNS
    assert fitted.history_["iteration"].tolist() == list(range(1, fitted.n_iter_ + 1))
    assert fitted.n_iter_ == 300
    assert fitted.converged_ is False
    assert fitted.status_.word == "max_iter"
    assert fitted.run_["data_visits"] == 301


def test_usages_are_amounts_of_signal(fitted):
    """A fit of counts explains, per cell, about as much as was counted."""
    counted, explained = X.sum(axis=1), fitted.target_usages_.sum(axis=1)
    assert np.corrcoef(counted, explained)[0, 1] > 0.9
    assert explained.sum() == pytest.approx(counted.sum(), rel=0.15)


@pytest.mark.parametrize(
    "wrap",
    [
        frame,
        lambda matrix: ad.AnnData(sp.csr_matrix(matrix), var=pd.DataFrame(index=GENES)),
    ],
)
def test_feature_names_are_learnt(wrap):
    model = make(max_iter=2).fit(wrap(X), background=wrap(Y))
    assert model.n_features_in_ == F
    assert model.feature_names_in_.dtype == object
    assert model.feature_names_in_.tolist() == GENES


def test_feature_names_of_an_earlier_fit_do_not_stay():
    model = make(max_iter=2).fit(frame(X), background=frame(Y)).fit(X, background=Y)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == F


def test_feature_names_out(fitted):
    assert fitted.get_feature_names_out().tolist() == ["bcnmf0", "bcnmf1", "bcnmf2"]


def test_output_can_be_a_data_frame():
    model = make(max_iter=2).set_output(transform="pandas")
    usages = model.fit_transform(frame(X), background=frame(Y))
    assert usages.columns.tolist() == ["bcnmf0", "bcnmf1", "bcnmf2"]
    np.testing.assert_array_equal(usages.to_numpy(), model.target_usages_)


def test_y_is_ignored():
    plain = make(alpha=0.0).fit(X)
    with_labels = make(alpha=0.0).fit(X, np.arange(N) % 2)
    np.testing.assert_array_equal(plain.components_, with_labels.components_)
    assert with_labels.background_usages_ is None
    assert plain.history_["background_divergence"].isna().all()


NO_LABELS = {
    "matrix": Y,
    "one column": Y[:, :1],
    "CSR": sp.csr_array(Y),
    "AnnData": ad.AnnData(Y),
    "DataFrame": frame(Y),
    "DataArray": xr.DataArray(Y),
    "Dask": da.from_array(Y),
    "text": "background.zarr",
    "path": Path("background.h5ad"),
    "lists": Y.tolist(),
    "split": split(xr.DataArray(Y, dims=("a", "b"), coords={"c": ("a", ["u", "v"] * 15)}), "c", "u", "v"),
}
NO_LABELS["one of split"] = NO_LABELS["split"][1]


@pytest.mark.parametrize("kind", NO_LABELS)
@pytest.mark.parametrize("alpha", [0.0, 0.2])
@pytest.mark.parametrize("call", ["fit", "fit_transform"])
def test_a_table_in_the_place_of_labels_is_refused(kind, alpha, call):
    with pytest.raises(InputError, match=r"^y: got a table .*: fit\(target, background=\.\.\.\)"):
        getattr(make(alpha=alpha), call)(X, NO_LABELS[kind])
    with pytest.raises(TypeError):
        make().fit(X, None, Y)


@pytest.mark.parametrize("labels", [None, np.arange(N) % 2, ["a", "b"] * (N // 2), pd.Series(range(N)), ()])
def test_labels_of_one_dimension_are_ignored(labels):
    make(alpha=0.0, max_iter=2).fit(X, labels)
    make(max_iter=2).fit_transform(X, labels, background=Y)


ALIASES = {"kl": "kullback-leibler", "poisson": "kullback-leibler", "sse": "frobenius"}


@pytest.mark.parametrize("alias", ALIASES)
def test_a_loss_has_other_names(alias, tmp_path):
    model = clone(make(loss=alias, max_iter=3)).fit(X, background=Y, out=tmp_path / "fit.zarr")
    named = make(loss=ALIASES[alias], max_iter=3).fit(X, background=Y)
    assert model.get_params()["loss"] == model.loss == alias
    assert model.result_.parameters["loss"] == BCNMF.load(tmp_path / "fit.zarr").loss == ALIASES[alias]
    np.testing.assert_array_equal(model.components_, named.components_)
    np.testing.assert_array_equal(model.transform(X), named.transform(X))


def test_an_estimator_works_in_a_pipeline():
    steps = [("log", FunctionTransformer(np.log1p)), ("bcnmf", make()), ("scale", StandardScaler())]
    out = Pipeline(steps).fit_transform(X, bcnmf__background=np.log1p(Y))
    usages = make().fit_transform(np.log1p(X), background=np.log1p(Y))
    np.testing.assert_allclose(out, StandardScaler().fit_transform(usages), rtol=1e-5, atol=1e-6)


def test_fit_transform_gives_the_usages_of_the_target():
    model = make()
    np.testing.assert_array_equal(model.fit_transform(X, background=Y), model.target_usages_)


def test_the_same_seed_gives_the_same_bits(fitted):
    again = clone(fitted).fit(frame(X), background=frame(Y))
    np.testing.assert_array_equal(again.components_, fitted.components_)
    np.testing.assert_array_equal(again.target_usages_, fitted.target_usages_)


def test_a_pickled_estimator_transforms_alike(fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.transform(frame(X)), fitted.transform(frame(X)))


def test_saving_and_loading_changes_nothing(fitted, tmp_path):
    fitted.save(tmp_path / "fit.zarr")
    loaded = BCNMF.load(tmp_path / "fit.zarr")
    for name in ("components_", "target_usages_", "background_usages_", "feature_names_in_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))
    pd.testing.assert_frame_equal(loaded.history_, fitted.history_)
    pd.testing.assert_frame_equal(loaded.summary(), fitted.summary())
    assert (loaded.status_, loaded.run_, loaded.n_iter_) == (fitted.status_, fitted.run_, fitted.n_iter_)
    assert loaded.get_params() == fitted.get_params()
    assert (loaded.damping, loaded.result_.parameters["effective_damping"]) == (None, 1.0)
    np.testing.assert_array_equal(loaded.transform(frame(X)), fitted.transform(frame(X)))


def test_a_fit_from_given_arrays_loads_with_a_random_start(tmp_path):
    make(init={"components": X[:K] + 1}).fit(X, background=Y).save(tmp_path / "fit.zarr")
    assert BCNMF.load(tmp_path / "fit.zarr").init == "random"


def test_out_is_the_same_as_save(tmp_path):
    model = make(max_iter=2).fit(X, background=Y, out=tmp_path / "fit.zarr")
    np.testing.assert_array_equal(BCNMF.load(tmp_path / "fit.zarr").components_, model.components_)


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix, lambda matrix: matrix.astype(np.int32), frame])
def test_the_kind_of_matrix_does_not_change_the_fit(kind):
    plain = make(dtype="float64").fit(X, background=Y)
    other = make(dtype="float64").fit(kind(X), background=kind(Y))
    np.testing.assert_allclose(other.components_, plain.components_, rtol=1e-9)
    assert isinstance(other.target_usages_, np.ndarray)


def test_summary_names_the_heaviest_features(fitted):
    table = fitted.summary(n_top=2)
    heaviest = [GENES[i] for i in np.argsort(-fitted.components_[0])[:2]]
    assert table["top_features"][0] == ", ".join(heaviest)
    np.testing.assert_allclose(table["target_mean"], np.asarray(fitted.target_usages_).mean(axis=0), rtol=1e-5)
