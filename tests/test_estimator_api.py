"""`BCNMF` behaves as users of scikit-learn expect, and says in words what is unusual."""

import pickle

import anndata as ad
import numpy as np
import oracle
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_checks

from bcnmf_dask import BCNMF
from bcnmf_dask.errors import CollapseWarning, DataWarning, InputError
from bcnmf_dask.fitting.stopping import SweepRecord
from bcnmf_dask.results.record import HISTORY_COLUMNS

N, M, F, K = 60, 30, 12, 3
GENES = [f"gene-{i}" for i in range(F)]


def draw_counts():
    draw = np.random.default_rng(0)
    programs = draw.gamma(0.5, 4.0, (K, F))
    x, y = (draw.poisson(draw.gamma(0.7, 2.0, (n, K)) @ programs).astype(float) for n in (N, M))
    return x + (draw.random((N, F)) < 0.2), y


X, Y = draw_counts()


def make(**given):
    """A quick estimator that does not stop early, and so does not warn."""
    return BCNMF(**{"n_components": K, "alpha": 0.2, "loss": "frobenius", "max_iter": 20, "tol": 0} | given)


def frame(matrix, names=GENES):
    return pd.DataFrame(matrix, columns=names, index=[f"cell-{i}" for i in range(len(matrix))])


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


def test_labels_cannot_become_the_background():
    with pytest.raises(InputError, match=r"background: none given, but alpha=0\.2"):
        make().fit(X, Y)
    with pytest.raises(TypeError):
        make().fit(X, None, Y)


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
    assert loaded.get_params() == fitted.get_params() | {"damping": 1.0}  # None means 1.0 for this loss
    np.testing.assert_array_equal(loaded.transform(frame(X)), fitted.transform(frame(X)))


def test_a_fit_from_given_arrays_loads_with_a_random_start(tmp_path):
    make(init={"components": X[:K] + 1}).fit(X, background=Y).save(tmp_path / "fit.zarr")
    assert BCNMF.load(tmp_path / "fit.zarr").init == "random"


def test_out_is_the_same_as_save(tmp_path):
    model = make(max_iter=2).fit(X, background=Y, out=tmp_path / "fit.zarr")
    np.testing.assert_array_equal(BCNMF.load(tmp_path / "fit.zarr").components_, model.components_)


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
        (frame(X[:, 1:], GENES[1:]), r"rows: 11 features came, the fit had 12\. Give rows with the same"),
        (frame(X, ["other", *GENES[1:]]), r"rows: 1 of 12 features are not those of the fit, the first is 'other'"),
        (-X, r"negative"),
        (X[0], r"dimension"),
    ],
)
def test_rows_that_cannot_be_transformed_are_refused(fitted, rows, match):
    with pytest.raises(InputError, match=match):
        fitted.transform(rows)


def test_a_fit_that_still_changes_warns_with_the_repair():
    with pytest.warns(ConvergenceWarning, match="raise max_iter") as caught:
        model = make(max_iter=3, tol=1e-3).fit(X, background=Y)
    assert not model.converged_
    assert [warning.filename for warning in caught] == [__file__]


def test_a_fit_that_converges_does_not_warn():
    model = make(max_iter=5000, tol=1e-2).fit(X, background=Y)
    assert model.converged_ is True
    assert model.status_.word == "converged"
    last = model.history_.tail(10)
    assert (last["basis_change"] < 1e-2).all()
    assert model.n_iter_ < 5000


def test_too_much_contrast_is_reported_as_a_collapse():
    with pytest.warns(CollapseWarning, match="collapsed.*alpha is probably too large") as caught:
        model = make(alpha=1e3, max_iter=100).fit(X, background=Y)
    assert model.status_.word == "collapsed"
    assert model.components_.shape == (K, F)
    assert [warning.filename for warning in caught] == [__file__]


def test_counts_that_are_not_integers_are_reported():
    with pytest.warns(DataWarning, match=r"values are not integers, but loss='kullback-leibler'") as caught:
        make(loss="kullback-leibler").fit(np.log1p(X), background=np.log1p(Y))
    assert [warning.filename for warning in caught] == [__file__]


def test_the_report_on_fractions_names_the_layer_argument():
    table = ad.AnnData(np.log1p(X), layers={"counts": X})
    with pytest.warns(DataWarning, match=r"Give layer= to choose the raw counts \(layers here: counts\)"):
        make(alpha=0.0, loss="kullback-leibler").fit(table)
    counted = make(alpha=0.0, loss="kullback-leibler").fit(table, layer="counts")
    np.testing.assert_array_equal(counted.components_, make(alpha=0.0, loss="kullback-leibler").fit(X).components_)


def test_callbacks_see_every_sweep_and_can_end_the_fit():
    seen = []
    model = make(max_iter=50).fit(X, background=Y, callbacks=[seen.append, lambda swept: swept.iteration == 4])
    assert model.n_iter_ == len(seen) == 4
    assert all(isinstance(swept, SweepRecord) for swept in seen)
    assert [swept.objective for swept in seen] == model.history_["objective"].tolist()
    assert model.status_.word == "stopped"
    np.testing.assert_array_equal(model.components_, make(max_iter=4).fit(X, background=Y).components_)


def test_given_starts_are_where_the_fit_begins():
    w, h, g = oracle.start(N, M, F, K, seed=5)
    start = {"components": w.T, "target_usages": h, "background_usages": g}
    model = make(init=start, max_iter=1, dtype="float64", weighting="sum").fit(X, background=Y)
    w, h, g, history = oracle.fit(X, Y, (w, h, g), loss="frobenius", alpha=0.2, damping=1.0, sweeps=1)
    np.testing.assert_allclose(model.components_, (w / w.sum(axis=0)).T, rtol=1e-8)
    np.testing.assert_allclose(model.target_usages_, h * w.sum(axis=0), rtol=1e-8)
    np.testing.assert_allclose(model.background_usages_, g * w.sum(axis=0), rtol=1e-8)
    assert model.history_["target_divergence"][0] == pytest.approx(history[0, 0], rel=1e-8)


def test_a_start_that_is_not_given_is_drawn():
    some = {"components": X[:K] + 1}
    one, other = (make(init=some, random_state=seed).fit(X, background=Y) for seed in (0, 1))
    plain = make(random_state=0).fit(X, background=Y)
    assert not np.array_equal(one.components_, other.components_)
    assert not np.array_equal(one.components_, plain.components_)


def test_fitting_from_a_fit_goes_on_where_it_ended():
    first = make(max_iter=10, dtype="float64").fit(X, background=Y)
    start = {
        "components": first.components_,
        "target_usages": first.target_usages_,
        "background_usages": first.background_usages_,
    }
    second = make(max_iter=10, dtype="float64", init=start).fit(X, background=Y)
    whole = make(max_iter=20, dtype="float64").fit(X, background=Y)
    np.testing.assert_allclose(second.components_, whole.components_, rtol=1e-9)
    np.testing.assert_allclose(second.target_usages_, whole.target_usages_, rtol=1e-9)


@pytest.mark.parametrize("kind", [lambda: 7, lambda: np.int64(7), lambda: np.random.RandomState(7)])
def test_kinds_of_random_state_repeat(kind):
    one, other = (make(random_state=kind(), max_iter=2).fit(X, background=Y) for _ in range(2))
    np.testing.assert_array_equal(one.components_, other.components_)


def test_integers_of_any_kind_are_one_seed_and_others_another():
    seven = make(random_state=7, max_iter=2).fit(X, background=Y).components_
    numpy_seven = make(random_state=np.int64(7), max_iter=2).fit(X, background=Y).components_
    eight = make(random_state=8, max_iter=2).fit(X, background=Y).components_
    np.testing.assert_array_equal(seven, numpy_seven)
    assert not np.array_equal(seven, eight)


def test_a_shared_random_state_moves_on():
    state = np.random.RandomState(7)
    one, other = (make(random_state=state, max_iter=2).fit(X, background=Y) for _ in range(2))
    assert not np.array_equal(one.components_, other.components_)


def test_without_random_state_two_fits_differ_and_tell_their_seed():
    one, other = (make(random_state=None, max_iter=2).fit(X, background=Y) for _ in range(2))
    assert not np.array_equal(one.components_, other.components_)
    seed = one.result_.parameters["random_state"]
    repeated = make(random_state=seed, max_iter=2).fit(X, background=Y)
    np.testing.assert_array_equal(one.components_, repeated.components_)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"random_state": -1}, r"random_state: got -1"),
        ({"random_state": "0"}, r"random_state: got '0'"),
        ({"init": "nndsvd"}, r"init: got 'nndsvd'\. Expected 'random' or a mapping"),
        ({"init": {"W": X}}, r"^init: got .*W.*Expected a mapping with any of 'components'"),
        ({"init": 3}, r"init: got 3"),
        ({"solver": "hals"}, r"solver: got 'hals'"),
        ({"dtype": "int"}, r"dtype: got 'int'"),
        ({"loss": "poisson"}, r"loss: got 'poisson'"),
        ({"n_components": 13}, r"n_components: got 13, with 12 features and 60 target rows"),
    ],
)
def test_parameters_out_of_range_are_refused_by_fit(given, match):
    with pytest.raises(InputError, match=match):
        make(**given).fit(X, background=Y)


def test_a_refused_fit_leaves_the_estimator_as_it_was():
    model = make(max_iter=2).fit(X, background=Y)
    before = model.components_.copy()
    with pytest.raises(InputError):
        model.fit(-X, background=Y)
    np.testing.assert_array_equal(model.components_, before)


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
    assert table["target_share"].sum() == pytest.approx(1.0)
