"""Weighting by deviance: against plain NumPy, under what leaves it as it is, and where there is nothing to weigh."""

import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask import BCNMF
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting import weighting
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.updates.losses import LOSSES

pytestmark = pytest.mark.filterwarnings("ignore::bcnmf_dask.errors.DataWarning")
"""Sides of different scale, or with little in them, are what is tried here."""
BOTH = sorted(LOSSES)
FORMS = {"dense": np.asarray, "csr": sp.csr_array, "integers": lambda rows: sp.csr_array(rows.astype(np.int32))}


def counts(seed=0, n_rows=(70, 40), n_features=12):
    """Cells of changing depth over four programs: not nearly of rank one."""
    draw = np.random.default_rng(seed)
    programs = draw.gamma(0.4, 2.0, (4, n_features))
    sides = [draw.poisson(draw.gamma(0.5, 1.0, (n, 4)) @ programs).astype(float) for n in n_rows]
    sides[0][3], sides[0][:, 5] = 0, 0
    return sides


def plain_deviance(rows, loss):
    if loss == "frobenius":
        return float((np.linalg.svd(rows, compute_uv=False)[1:] ** 2).sum())
    model = np.outer(rows.sum(axis=1), rows.sum(axis=0)) / rows.sum()
    filled = rows > 0
    return float((rows[filled] * np.log(rows[filled] / model[filled])).sum())


def fit(sides, make_settings, dtype="float64", client=False, **given):
    settings = make_settings(**{"weighting": "deviance", "max_iter": 6} | given)
    return factorize(read_inputs(*sides), [settings], dtype=dtype, client=client, device="cpu")[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("float64", 1e-9)])
def test_kullback_leibler_deviances_are_those_of_plain_numpy(form, dtype, close, make_settings):
    result = fit([FORMS[form](side) for side in counts()], make_settings, dtype, loss="kullback-leibler")
    wanted = {
        role: plain_deviance(side, "kullback-leibler")
        for role, side in zip(("target", "background"), counts(), strict=True)
    }
    assert result.run["deviances"] == pytest.approx(wanted, rel=close)
    assert result.run["deviance_change"] == result.run["deviance_visits"] == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frobenius_deviances_are_above_those_of_plain_numpy_by_what_the_last_visit_changed(
    form, dtype, seed, make_settings
):
    sides = counts(seed)
    result = fit([FORMS[form](side) for side in sides], make_settings, dtype)
    assert result.run["deviance_visits"] <= weighting.VISITS
    for role, side in zip(("target", "background"), sides, strict=True):
        exact, found = plain_deviance(side, "frobenius"), result.run["deviances"][role]
        assert exact * (1 - 1e-5) <= found <= exact * (1 + max(result.run["deviance_change"], 1e-5))
    assert result.run["deviance_change"] < 0.05


@pytest.mark.parametrize("loss", BOTH)
def test_the_effective_alpha_is_the_ratio_of_the_deviances(loss, make_settings):
    result = fit(counts(), make_settings, loss=loss, alpha=1.7)
    wanted = 1.7 * plain_deviance(counts()[0], loss) / plain_deviance(counts()[1], loss)
    assert result.parameters["effective_alpha"] == pytest.approx(wanted, rel=0.02)
    assert result.parameters["weighting"] == "deviance"
    by_hand = fit(counts(), make_settings, loss=loss, weighting="sum", alpha=result.parameters["effective_alpha"])
    np.testing.assert_array_equal(result.components, by_hand.components)
    np.testing.assert_array_equal(result.target_usages, by_hand.target_usages)
    assert "deviances" not in by_hand.run


@pytest.mark.parametrize("role", [0, 1])
@pytest.mark.parametrize("loss", BOTH)
def test_scaling_a_side_leaves_the_components_as_they_are(loss, role, make_settings):
    """As long as the published guards do not show, which are absolute: for five sweeps of these counts."""
    names, sides, draw = ("target_usages", "background_usages"), counts(), np.random.default_rng(9)
    start = {name: draw.random((len(side), 3)) for name, side in zip(names, sides, strict=True)}
    plain = fit(sides, make_settings, loss=loss, start=start, max_iter=5)
    sides[role], start = 8 * sides[role], start | {names[role]: 8 * start[names[role]]}
    scaled = fit(sides, make_settings, loss=loss, start=start, max_iter=5)
    np.testing.assert_allclose(scaled.components, plain.components, rtol=1e-6, atol=1e-9)
    by_means = fit(sides, make_settings, loss=loss, start=start, max_iter=5, weighting="mean")
    assert np.abs(by_means.components - plain.components).max() > 1e-3


@pytest.mark.parametrize("loss", BOTH)
def test_the_deviances_of_repeated_rows_grow_with_their_number(loss, make_settings):
    target, background = counts()
    once = fit((target, background), make_settings, loss=loss)
    twice = fit((target, np.vstack([background, background])), make_settings, loss=loss)
    assert twice.run["deviances"]["background"] == pytest.approx(2 * once.run["deviances"]["background"], rel=1e-9)
    assert twice.run["deviances"]["target"] == pytest.approx(once.run["deviances"]["target"], rel=1e-12)


@pytest.mark.parametrize("loss", BOTH)
def test_fits_of_a_list_share_the_visits(loss, make_settings, monkeypatch):
    visits = []
    measured = weighting._sums_at
    monkeypatch.setattr(weighting, "_sums_at", lambda *given: visits.append(1) or measured(*given))
    settings = [make_settings(weighting="deviance", loss=loss, seed=seed, max_iter=2) for seed in range(3)]
    settings.append(make_settings(weighting="mean", loss=loss, max_iter=2))
    results = factorize(read_inputs(*counts()), settings, dtype="float64", client=False)
    assert len(visits) == results[0].run["deviance_visits"]
    assert len({one.parameters["effective_alpha"] for one in results[:3]}) == 1
    assert "deviances" not in results[3].run


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("sides", [2, 1])
def test_without_a_contrast_nothing_is_weighed(loss, sides, make_settings, monkeypatch):
    monkeypatch.setattr(weighting, "_MEASURES", {})
    given = counts() if sides == 2 else (counts()[0], None)
    result = fit(given, make_settings, loss=loss, alpha=0.0)
    assert result.parameters["effective_alpha"] == 0
    assert "deviances" not in result.run


ALIKE = {
    "constant": np.full((30, 12), 3.0),
    "multiples of one profile": np.outer(np.arange(1.0, 31), np.arange(1.0, 13)),
    "a single row": np.arange(12.0)[None],
    "one feature": np.eye(12)[[4] * 30] * np.arange(1.0, 31)[:, None],
    "all zero": np.zeros((30, 12)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("role", [0, 1])
@pytest.mark.parametrize("rows", ALIKE.values(), ids=ALIKE)
def test_a_side_whose_rows_are_all_alike_is_refused_in_words(rows, role, loss, dtype, make_settings):
    sides = counts()
    sides[role] = rows
    said = f"^{('target', 'background')[role]}: its rows are all the same up to a factor.*set weighting='mean'"
    with pytest.raises(InputError, match=said):
        fit(sides, make_settings, dtype, loss=loss, n_components=1)


@pytest.mark.parametrize("loss", BOTH)
def test_rows_that_are_alike_up_to_their_rounding_are_refused(loss, make_settings):
    profile = np.random.default_rng(3).random(12)
    sides = [counts()[0], np.outer(np.random.default_rng(4).random(40), profile).astype(np.float32)]
    with pytest.raises(InputError, match="background: its rows are all the same up to a factor"):
        fit(sides, make_settings, "float32", loss=loss)


@pytest.mark.parametrize("loss", BOTH)
def test_rows_that_differ_a_little_are_not(loss, make_settings):
    draw = np.random.default_rng(5)
    nearly = 1000 + draw.poisson(100, (40, 12)).astype(float)
    fit([counts()[0], nearly], make_settings, "float32", loss=loss)


def test_a_loss_without_such_a_deviance_is_refused(make_settings, monkeypatch):
    monkeypatch.delitem(weighting._MEASURES, "frobenius")
    with pytest.raises(InputError, match="weighting: got 'deviance', which loss='frobenius' does not have"):
        fit(counts(), make_settings)


def test_a_resumed_fit_weighs_the_same(tmp_path):
    target, background = counts()
    saved = {"background": background, "client": False, "checkpoint": tmp_path / "saved"}
    model = BCNMF(3, 1.5, weighting="deviance", loss="frobenius", max_iter=4, tol=0)
    model.fit(target, **saved, checkpoint_every=2)
    resumed = model.set_params(max_iter=9).fit(target, **saved, resume=True)
    whole = BCNMF(3, 1.5, weighting="deviance", loss="frobenius", max_iter=9, tol=0)
    whole.fit(target, background=background, client=False)
    assert resumed.run_["resumed_from"] == 4
    assert resumed.components_.tobytes() == whole.components_.tobytes()
    assert resumed.result_.parameters["effective_alpha"] == whole.result_.parameters["effective_alpha"]
