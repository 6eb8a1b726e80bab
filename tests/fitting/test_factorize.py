"""Whole runs: fits that share visits do not touch each other, and an error leaves nothing behind."""

import numpy as np
import oracle
import pytest
import scipy.sparse as sp

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import DataWarning, InputError, NumericalError
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.results.result import load_result


def run(inputs, settings, dtype="float32", **given):
    return factorize(inputs, settings, dtype=dtype, client=False, **given)


def assert_same_bits(one, other):
    for name in ("components", "target_usages", "background_usages", "target_signal", "background_signal"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    columns = [column for column in one.history if not column.endswith("seconds")]
    assert one.history[columns].equals(other.history[columns])
    assert (one.divergences, one.status) == (other.divergences, other.status)


def test_fits_have_the_same_bits_alone_and_at_any_place_of_a_list(both_sides, make_settings):
    settings = [
        make_settings(seed=1),
        make_settings(loss="kullback-leibler", n_components=2, max_iter=7),
        make_settings(seed=1, alpha=0.3, weighting="sum"),
        make_settings(seed=2, n_components=5, max_iter=1),
    ]
    alone = [run(both_sides, [one])[0] for one in settings]
    together = run(both_sides, settings)
    backwards = run(both_sides, settings[::-1])[::-1]
    for one, other, last in zip(alone, together, backwards, strict=True):
        assert_same_bits(one, other)
        assert_same_bits(one, last)
    assert [len(result.history) for result in together] == [20, 7, 20, 1]


def test_twins_in_a_list_are_equal_and_other_seeds_are_not(both_sides, make_settings):
    one, other, third = run(both_sides, [make_settings(seed=4), make_settings(seed=4), make_settings(seed=5)])
    assert_same_bits(one, other)
    assert not np.array_equal(one.components, third.components)


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
@pytest.mark.parametrize("weighting", ["mean", "sum"])
def test_sixty_sweeps_are_those_of_the_paper(both_sides, make_settings, loss, weighting):
    """Normalising every sweep changes the factors by their scale alone; eps by about 1e-11 (mathematics, fact 3)."""
    x, y = (store.source.read(0, store.source.shape[0]) for store in both_sides.stores)
    w, h, g = begin = oracle.start(len(x), len(y), x.shape[1], 3, seed=2)
    start = {"components": w.T, "target_usages": h, "background_usages": g}
    settings = make_settings(loss=loss, weighting=weighting, max_iter=60, alpha=0.8, damping=0.7, start=start)
    (result,) = run(both_sides, [settings], dtype="float64")
    alpha = 0.8 * (2.0 if weighting == "mean" else 1.0)
    w, h, g, history = oracle.fit(x, y, begin, loss=loss, alpha=alpha, damping=0.7, sweeps=60)
    np.testing.assert_allclose(result.components, (w / w.sum(axis=0)).T, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(result.target_usages, h * w.sum(axis=0), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(result.background_usages, g * w.sum(axis=0), rtol=1e-7, atol=1e-12)
    ours = result.history[["target_divergence", "background_divergence"]].to_numpy()
    np.testing.assert_allclose(ours, history, rtol=1e-7)
    assert result.parameters["effective_alpha"] == alpha
    divergence = {"frobenius": oracle.frobenius, "kullback-leibler": oracle.kl}[loss]
    assert result.divergences.target == pytest.approx(divergence(x, h @ w.T), rel=1e-7)
    assert result.divergences.background == pytest.approx(divergence(y, g @ w.T), rel=1e-7)
    assert result.divergences.objective == pytest.approx(
        result.divergences.target - alpha * result.divergences.background
    )


def test_a_result_tells_how_it_was_made(both_sides, make_settings):
    (result,) = run(both_sides, [make_settings(max_iter=3)])
    assert result.run["data_visits"] == 4  # the last one evaluates the saved factors
    assert result.run["rows"] == {"target": 40, "background": 20}
    assert result.run["resumed_from"] == 0
    assert result.parameters["dtype"] == "float32"
    np.testing.assert_allclose(result.target_signal, result.target_usages.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(result.background_signal, result.background_usages.sum(axis=0), rtol=1e-5)


def test_results_are_written_where_asked(both_sides, make_settings, tmp_path):
    first, second = run(both_sides, [make_settings(), make_settings(seed=1)], outs=[tmp_path / "a.zarr", None])
    assert_same_bits(load_result(tmp_path / "a.zarr"), first)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert second.target_usages.shape == (40, 3)


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt("mine")])
def test_an_error_in_mid_fit_leaves_no_file(both_sides, make_settings, tmp_path, error):
    def fail(swept):
        assert len(list(tmp_path.iterdir())) == 2  # both are written aside
        if swept.iteration == 2:
            raise error

    with pytest.raises(type(error), match="mine"):
        run(
            both_sides,
            [make_settings(), make_settings(seed=1)],
            outs=[tmp_path / "a.zarr", tmp_path / "b.zarr"],
            callbacks=[fail],
        )
    assert list(tmp_path.iterdir()) == []


def test_one_output_that_exists_stops_all_of_them(both_sides, make_settings, tmp_path):
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(InputError, match=r"out: .*b\.zarr' already exists"):
        run(
            both_sides,
            [make_settings(), make_settings(seed=1)],
            outs=[tmp_path / "a.zarr", tmp_path / "b.zarr"],
        )
    assert [path.name for path in tmp_path.iterdir()] == ["b.zarr"]


def test_bad_values_are_refused_before_the_first_sweep(make_settings, tmp_path):
    bad, seen = np.ones((10, 5)), []
    bad[3, 2] = -1
    with pytest.raises(InputError, match=r"target: 1 value is negative, the first at row 3, feature 2"):
        run(
            read_inputs(bad, np.ones((4, 5))),
            [make_settings()],
            outs=[tmp_path / "a.zarr"],
            callbacks=[seen.append],
        )
    assert seen == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_numbers_that_overflow_end_in_words(make_settings, loss):
    huge = np.random.default_rng(0).random((20, 5)) * 1e38
    with pytest.raises(NumericalError, match="stopped being finite at sweep"):
        run(read_inputs(huge.round(), None), [make_settings(alpha=0.0, loss=loss)])


def test_fractions_are_reported_for_counts_only(make_settings):
    inputs = read_inputs(np.random.default_rng(0).random((10, 5)), None)
    run(inputs, [make_settings(alpha=0.0)])
    with pytest.warns(DataWarning, match=r"50 values are not integers.*kullback-leibler.*loss='frobenius'"):
        run(inputs, [make_settings(alpha=0.0), make_settings(alpha=0.0, loss="kullback-leibler")])


@pytest.mark.filterwarnings("ignore:.*values are not integers:bcnmf_dask.errors.DataWarning")
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("loss", "factor"), [("frobenius", 1e-8), ("kullback-leibler", 1e-14)])
def test_tiny_values_are_reported(make_settings, loss, factor, form):
    """The published guards, 1e-10 and 1e-16, are absolute."""
    rows = form(factor * np.random.default_rng(0).random((20, 6)))
    with pytest.warns(DataWarning, match=r"values are tiny: the largest is 1e-(08|14), too.*Scale the data up"):
        run(read_inputs(rows, None), [make_settings(alpha=0.0, loss=loss, max_iter=1)])


def test_small_values_and_zeros_are_not_tiny(make_settings):
    """Warnings are errors here."""
    for scale in (1e-3, 0.0):
        rows = scale * np.random.default_rng(0).random((20, 6))
        run(read_inputs(rows, None), [make_settings(alpha=0.0, max_iter=1)])


def test_zero_rows_and_features_are_kept_as_zeros_and_reported(make_settings, caplog):
    rows = np.random.default_rng(0).poisson(3.0, (12, 6)).astype(float)
    rows[4] = 0
    rows[:, 2] = 0
    caplog.set_level("INFO", logger="bcnmf_dask")
    (result,) = run(read_inputs(rows, None), [make_settings(alpha=0.0)])
    assert not result.target_usages[4].any()
    assert not result.components[:, 2].any()
    assert result.run["zero_rows"] == {"target": 1}
    assert result.run["zero_features"] == 1
    assert "target: 1 rows are all zero" in caplog.text
    assert "1 features are zero in all rows" in caplog.text


def test_fewer_background_rows_than_components_are_reported(make_settings, caplog):
    draw = np.random.default_rng(0)
    caplog.set_level("INFO", logger="bcnmf_dask")
    (result,) = run(read_inputs(draw.random((12, 6)), draw.random((2, 6))), [make_settings()])
    assert "background: fewer rows (2) than components (3)" in caplog.text
    assert result.background_usages.shape == (2, 3)


def test_impossible_settings_are_refused_before_anything_is_written(both_sides, make_settings, tmp_path):
    with pytest.raises(InputError, match="n_components: got 9"):
        run(both_sides, [make_settings(), make_settings(n_components=9)], outs=[tmp_path / "a.zarr", None])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_data_that_components_explain_exactly_converges(make_settings, dtype, loss):
    draw = np.random.default_rng(0)
    rows = np.outer(draw.integers(1, 9, 60), draw.integers(1, 9, 15)).astype(float)
    (result,) = run(
        read_inputs(rows, None), [make_settings(alpha=0.0, n_components=1, loss=loss, tol=1e-3, max_iter=200)], dtype
    )
    assert result.status.word == "converged"
