"""What `BCNMF` reports and refuses, and where a fit starts and ends."""

import anndata as ad
import numpy as np
import oracle
import pytest
from sklearn.exceptions import ConvergenceWarning
from small_counts import F, K, M, N, X, Y, make

from bcnmf_dask import BCNMF
from bcnmf_dask.errors import CollapseWarning, DataWarning, InputError, ResultWarning
from bcnmf_dask.fitting.stopping import SweepRecord


def test_a_fit_that_still_changes_warns_with_the_repair():
    with pytest.warns(ConvergenceWarning, match="raise max_iter") as caught:
        model = make(max_iter=3, tol=1e-3).fit(X, background=Y)
    assert not model.converged_
    assert {warning.filename for warning in caught} == {__file__}
    assert [warning.category for warning in caught].count(ConvergenceWarning) == 1


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


def test_what_is_doubtful_in_a_result_is_warned_of_and_stays_in_its_status():
    with pytest.warns(ResultWarning, match="Nothing specific to the target was found") as caught:
        model = make(alpha=0.1, max_iter=20).fit(X[::2], background=X[1::2])
    assert [warning.filename for warning in caught] == [__file__]
    (remark,) = model.run_["remarks"]
    assert model.status_.sentence.endswith(remark)
    assert model.status_.word == "max_iter"


def test_counts_that_are_not_integers_are_reported():
    with pytest.warns(DataWarning, match=r"values are not integers, but loss='kullback-leibler'") as caught:
        make(loss="kullback-leibler").fit(np.log1p(X), background=np.log1p(Y))
    assert {warning.filename for warning in caught} == {__file__}
    assert [warning.category for warning in caught].count(DataWarning) == 1


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
        ({"init": None}, r"^init: got None\. Expected 'random' or a mapping"),
        ({"solver": "hals"}, r"solver: got 'hals'"),
        ({"batch_size": 100}, r"batch_size: got 100, but solver='published'"),
        ({"dtype": "int"}, r"dtype: got 'int'"),
        ({"loss": "hinge"}, r"loss: got 'hinge'"),
        ({"n_components": 13}, r"n_components: got 13, with 12 features and 60 target rows"),
    ],
)
def test_parameters_out_of_range_are_refused_by_fit(given, match):
    with pytest.raises(InputError, match=match):
        make(**given).fit(X, background=Y)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"callbacks": print}, r"^callbacks: got <built-in function print>.*given as \[function\]"),
        ({"callbacks": ["print"]}, r"^callbacks: got \['print'\]\. Expected a sequence of functions"),
        ({"callbacks": None}, r"^callbacks: got None"),
        ({"out": 5}, r"^out: got 5\. Expected a path"),
        ({"checkpoint": 5}, r"^checkpoint: got 5\. Expected a path"),
    ],
)
def test_arguments_of_another_kind_are_refused_before_anything_is_read(given, match):
    with pytest.raises(InputError, match=match):
        make().fit("no such file.zarr", background=Y, **given)


def test_arguments_of_another_kind_are_refused_after_the_fit():
    model = make(max_iter=2).fit(X, background=Y)
    with pytest.raises(InputError, match=r"^n_top: got 1\.5\. Expected a whole number"):
        model.summary(1.5)
    with pytest.raises(InputError, match=r"^path: got 3\. Expected a path"):
        model.save(3)
    with pytest.raises(InputError, match=r"^path: got 3\. Expected a path"):
        BCNMF.load(3)


def test_a_refused_fit_leaves_the_estimator_as_it_was():
    model = make(max_iter=2).fit(X, background=Y)
    before = model.components_.copy()
    with pytest.raises(InputError):
        model.fit(-X, background=Y)
    np.testing.assert_array_equal(model.components_, before)
