"""Target and background are compared before a fit: what is said, where, and on what it must not be said."""

import re
import warnings

import anndata as ad
import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
from distributed import Client, LocalCluster

from bcnmf_dask import BCNMF, split
from bcnmf_dask.errors import DataWarning, InputError

N, F = 80, 40


def cells(seed=0, n=N, depth=1.0):
    """Counts of a few programs: every row has well over 20 values."""
    draw = np.random.default_rng(seed)
    programs = np.random.default_rng(99).gamma(0.7, 4.0, (3, F)) + 0.3
    return draw.poisson(depth * draw.gamma(3.0, 1.0, (n, 3)) @ programs).astype(float)


def told(target, background, alpha=0.5, loss="kullback-leibler", client=False, **given):
    """All that a fit warns of about its data."""
    model = BCNMF(2, alpha, weighting="mean", loss=loss, max_iter=2, tol=0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(target, background=background, client=client, **given)
    return [str(one.message) for one in seen if issubclass(one.category, DataWarning)]


def the_one(*given, **options):
    (sentence,) = told(*given, **options)
    return sentence


# What must stay silent.


@pytest.mark.parametrize("loss", ["kullback-leibler", "frobenius"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_good_sides_are_not_warned_of(loss, alpha):
    assert told(cells(0), cells(1), alpha=alpha, loss=loss) == []
    assert told(cells(0), None, alpha=0.0, loss=loss) == []
    assert told(np.log1p(cells(0)), np.log1p(cells(1)), loss="frobenius") == []


def test_images_of_whole_numbers_are_not_raw_counts():
    from sklearn.datasets import load_digits

    images = load_digits().data
    assert told(images[::2], images[1::2], loss="frobenius") == []
    assert told((images[::2] * 15).astype(np.uint8), (images[1::2] * 15).astype(np.uint8), loss="frobenius") == []


def test_few_rows_of_all_sizes_may_differ_by_chance():
    rows = np.outer([1.0, 2, 1, 9, 1, 1], np.ones(8))
    assert told(rows, rows[[0, 1, 2, 4, 5]] + np.eye(5, 8)) == []


def test_short_rows_may_be_equal():
    """Of few features, many rows are the same by chance."""
    target, background = (np.random.default_rng(seed).poisson(0.3, (200, 15)).astype(float) for seed in (0, 1))
    assert told(target, background) == []


# Rows on both sides.

FORMS = {
    "dense": lambda rows: rows,
    "float32": lambda rows: rows.astype(np.float32),
    "uint16": lambda rows: rows.astype(np.uint16),
    "csr": sp.csr_array,
    "Dask": lambda rows: da.from_array(rows, chunks=(17, F)),
    "AnnData": lambda rows: ad.AnnData(sp.csr_matrix(rows)),
    "xarray": lambda rows: xr.DataArray(rows, dims=("cell", "gene")),
    "DataFrame": pd.DataFrame,
}


def untidy(rows):
    """CSR with all zeros stored, its features from the last to the first."""
    indices = np.tile(np.arange(F)[::-1], len(rows))
    return sp.csr_array((rows[:, ::-1].ravel(), indices, np.arange(len(rows) + 1) * F), shape=rows.shape)


@pytest.mark.parametrize("form", [*FORMS, "untidy"])
def test_identical_sides_in_any_form_and_order(form):
    rows = cells()
    given = (FORMS | {"untidy": untidy})[form](rows[::-1].copy())
    assert the_one(rows, given).startswith("background: it holds the same rows as the target")


def test_identical_sides_are_said_so_at_any_alpha_and_no_more_than_that():
    labels = xr.DataArray(cells(), dims=("cell", "gene"), coords={"c": ("cell", ["u"] * N)})
    assert "the same rows" in the_one(*split(labels, "c", "u", "u"), alpha=0.0)


@pytest.mark.parametrize("form", [*FORMS, "untidy"])
@pytest.mark.parametrize("where", ["local", "streamed"])
def test_rows_on_both_sides(form, where, tmp_path):
    target, background = cells(0), cells(1, 50)
    background[7] = target[70]
    message = "rows with the same values are on both sides (1.2% of the target and 2.0% of the background, 1 of those"
    if where == "local":
        assert message in the_one(target, (FORMS | {"untidy": untidy})[form](background))
        return
    for name, rows in (("x", target), ("y", background)):
        np.save(tmp_path / f"{name}.npy", rows)
    with dask.config.set({"bcnmf-dask.memory-limit": "1 MB"}):
        assert message in the_one(tmp_path / "x.npy", tmp_path / "y.npy")


def test_rows_on_both_sides_up_to_a_hundredth_are_let_be():
    target, background = cells(0, 200), cells(1, 200)
    background[5] = target[5]
    assert told(target, background) == []
    background[6] = target[6]
    background[7] = target[7]
    assert "1.5% of the target" in the_one(target, background)


def labelled(rows, **columns):
    names = [f"c{i}" for i in range(len(rows))]
    return ad.AnnData(sp.csr_matrix(rows), obs=pd.DataFrame(columns, index=names))


def test_rows_that_were_chosen_for_both_sides_are_not_found_out():
    store = labelled(cells(), condition=["stim"] * 30 + ["both"] * 20 + ["ctrl"] * 30)
    assert told(*split(store, "condition", ["stim", "both"], ["ctrl", "both"])) == []
    store.X[50] = store.X[49]  # one of both is also a control: it is there in its own right
    assert told(*split(store, "condition", ["stim", "both"], ["ctrl", "both"])) == []
    store.X[51] = store.X[3]
    assert "(3.3% of the target and 3.3%" in the_one(*split(store, "condition", ["stim", "both"], ["ctrl", "both"]))


def test_of_many_rows_a_sample_is_compared(monkeypatch):
    monkeypatch.setattr("bcnmf_dask.data.contents.MOST_SAMPLED", 400)
    target, background = cells(0, 2000), cells(1, 1000)
    background[:200] = target[:200]
    sentence = the_one(target, background)
    of_target, of_background = (float(share) for share in re.findall(r"([\d.]+)%", sentence))
    assert 7 < of_target < 13
    assert 14 < of_background < 26


# Scale, kind of values, nothing at all.


@pytest.mark.parametrize(("first", "second", "side"), [(1.0, 2.0, "background"), (2.0, 1.0, "target")])
@pytest.mark.parametrize("form", ["dense", "csr"])
def test_depth_that_differs_names_the_deeper_side(first, second, side, form):
    pair = [FORMS[form](cells(0, depth=first)), FORMS[form](cells(1, depth=second))]
    assert the_one(*pair).startswith(f"{side}: its rows sum to ")
    assert f"thin the counts of the {side}." in the_one(*pair)


def test_scale_that_differs():
    logged = np.log1p(cells(0)), np.log1p(cells(1))
    assert "100 times as much as those of the background" in the_one(
        100 * logged[0], logged[0][::-1] * 0.999, loss="sse"
    )
    assert told(logged[0] * 1.4, logged[1], loss="frobenius") == []


def test_empty_rows_do_not_count_as_shallow():
    background = np.vstack([cells(1), np.zeros((3 * N, F))])
    assert told(cells(0), background) == []


@pytest.mark.parametrize("loss", ["kullback-leibler", "frobenius"])
@pytest.mark.parametrize("side", ["target", "background"])
def test_counts_against_other_values_name_the_counts(side, loss):
    pair = [np.log1p(cells(0)), cells(1)]
    sentence = the_one(*(pair if side == "background" else pair[::-1]), loss=loss)
    assert sentence.startswith(f"{side}: all values are whole numbers, as counts are, but ")
    assert "Give both in the same form." in sentence


def test_a_background_of_zeros():
    sentence = the_one(cells(), np.zeros((20, F)))
    assert sentence.startswith("background: all its values are zero, so that there is nothing to contrast with")
    assert "alpha=0" in sentence
    assert told(cells(), np.zeros((20, F)), alpha=0.0) == []
    assert "not integers" in told(cells() / 2, np.zeros((20, F)))[1]


def deep(seed):
    """Counts with the long tail of those of genes."""
    draw = np.random.default_rng(seed)
    return draw.poisson(np.exp(np.random.default_rng(7).normal(-1.0, 2.5, 300)) * draw.gamma(2.0, 0.5, (200, 1)))


def test_raw_counts_with_frobenius():
    sentence = the_one(deep(0), deep(1), loss="frobenius")
    assert sentence.startswith("target and background: all values are whole numbers with a long tail (the largest is ")
    assert "loss='kullback-leibler'" in sentence
    assert the_one(deep(0), None, alpha=0.0, loss="frobenius").startswith("target: all values")
    assert told(deep(0), deep(1)) == []
    assert told(np.log1p(deep(0)), np.log1p(deep(1)), loss="frobenius") == []


# Names of features.


def named(rows, names):
    table = labelled(rows)
    table.var_names = names
    return table


MOUSE = [f"Isg{i}" for i in range(F)]
HUMAN = [name.upper() for name in MOUSE]


@pytest.mark.parametrize("names", [HUMAN, [*MOUSE[:30], *HUMAN[30:]], [*MOUSE[:-1], HUMAN[-1]]])
def test_names_apart_by_letter_case_are_said_so_and_not_dropped(names):
    with pytest.raises(
        InputError, match=r"differ by letter case alone \('Isg\d+' in the target, 'ISG\d+' in the"
    ) as seen:
        told(named(cells(0), MOUSE), named(cells(1), names))
    assert "intersection" not in str(seen.value)


def test_names_apart_by_letter_case_that_are_left_out():
    names = [*MOUSE[:30], *HUMAN[30:]]
    sentence = the_one(named(cells(0), MOUSE), named(cells(1), names), features="intersection")
    assert sentence.startswith("background: 10 feature names differ by letter case alone ('Isg30' in the target")
    assert sentence.endswith("As it is, they are left out.")


def test_names_that_are_both_there_in_either_case_are_no_matter():
    names = [*MOUSE[:-1], MOUSE[0].upper()]
    assert told(named(cells(0), names), named(cells(1), names)) == []
    with pytest.raises(InputError, match="intersection"):
        told(named(cells(0), names), named(cells(1), [*MOUSE[:-1], "other"]))


def test_new_rows_whose_names_are_apart_by_letter_case():
    model = BCNMF(2, 0.0, max_iter=2, tol=0).fit(named(cells(0), MOUSE), client=False)
    with pytest.raises(InputError, match=r"missing .*case alone \('Isg0' in the fit, 'ISG0' in these rows\)"):
        model.transform(named(cells(1), HUMAN), client=False)


# Columns of obs.

CONDITION = ["stim"] * 40 + ["ctrl"] * 40


def chosen(**columns):
    return split(labelled(cells(), condition=CONDITION, **columns), "condition", "stim", "ctrl")


def two(**columns):
    store = labelled(cells(), **columns)
    return store[:40].copy(), store[40:].copy()


CONFOUNDED = {
    "batch": ["b1"] * 40 + ["b2"] * 40,
    "Sample.ID": pd.Categorical(["s1"] * 40 + ["s2"] * 40),
    "donor": ["d1", "d2"] * 20 + ["d3", "d4"] * 20,
    "donor_2": ["d1"] * 40 + ["d3", "d4"] * 20,
    "lane": [1] * 40 + [2] * 40,
    "x": [1.0, 2.0] * 20 + [3.0, np.nan] * 10 + [3.0, 4.0] * 10,
    "whatever": ["u", "v"] * 20 + ["w", None, "z", "w"] * 10,
}
NOT_CONFOUNDED = {
    "condition": CONDITION,
    "treatment": ["IFNB"] * 40 + ["none"] * 40,
    "drug": ["A", "B"] * 20 + ["DMSO"] * 40,
    "treated": [True] * 40 + [False] * 40,
    "donor": ["d1", "d2"] * 40,
    "one_donor_more": ["d1", "d2"] * 20 + ["d2"] * 40,
    "lane": [1, 2] * 40,
    "batch": ["b"] * 80,
    "missing_batch": ["b", "c"] * 20 + [None] * 40,
    "barcode": [f"AC{i}" for i in range(80)],
    "sample_barcode": [f"AC{i}" for i in range(80)],
    "n_counts": np.arange(80) + 100,
    "mt_share": np.linspace(0, 1, 80),
    "scored": [0.25] * 40 + [0.75] * 40,
    "leiden": pd.Categorical(["0", "1", "2", "0"] * 20),
}


@pytest.mark.parametrize("column", CONFOUNDED)
@pytest.mark.parametrize("make", [chosen, two])
def test_a_column_that_tells_the_sides_apart_as_the_condition_does(column, make):
    sentence = the_one(*make(**{column: CONFOUNDED[column]}, cluster=["p", "q"] * 40))
    assert sentence.startswith(f"target and background have no value in common in {column!r} (target: ")
    assert "cluster" not in sentence


@pytest.mark.parametrize("column", NOT_CONFOUNDED)
@pytest.mark.parametrize("make", [chosen, two])
def test_columns_that_say_nothing_new(column, make):
    given = {} if column == "condition" and make is chosen else {column: NOT_CONFOUNDED[column]}
    assert told(*make(**given)) == []


def test_whole_numbers_are_the_same_labels_in_any_type():
    target, background = two(lane=[1, 2] * 40)
    target.obs["lane"] = target.obs["lane"].astype(float)
    target.obs.iloc[0, target.obs.columns.get_loc("lane")] = np.nan
    assert told(target, background) == []


def test_columns_of_any_names_and_kinds_are_looked_at():
    store = labelled(cells(), condition=CONDITION)
    store.obs[3] = [{"a": 1}] * 80
    store.obs["day"] = pd.to_datetime(["2026-01-01"] * 40 + ["2026-01-02"] * 40)
    store.obs = pd.concat([store.obs, store.obs[["condition"]].rename(columns={"condition": "day"})], axis=1)
    assert told(*split(store, "condition", "stim", "ctrl")) == []


def test_all_confounded_columns_are_one_warning():
    sentence = the_one(*chosen(batch=CONFOUNDED["batch"], donor=CONFOUNDED["donor"]))
    assert "'batch' (target: b1; background: b2), 'donor' (target: d1, d2; background: d3, d4)" in sentence


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning:anndata", "ignore::FutureWarning", "ignore::UserWarning:zarr")
def test_columns_of_a_store(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"cells.{suffix}"
    store = labelled(cells(), condition=CONDITION, lane=[1] * 40 + [2] * 40, batch=["b1"] * 40 + ["b2"] * 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.write_h5ad(path) if suffix == "h5ad" else store.write_zarr(path)
    assert "'lane'" in the_one(*split(path, "condition", "stim", "ctrl"))
    monkeypatch.setattr("bcnmf_dask.data.confounding.MOST_ROWS", 10)  # then only categories are read
    sentence = the_one(*split(path, "condition", "stim", "ctrl"))
    assert "'batch'" in sentence
    assert "'lane'" not in sentence


# Everywhere.


def test_a_cluster_sees_the_same(tmp_path):
    target, background = cells(0, 400), cells(1, 300, depth=2.0)
    background[:20] = target[:20]
    local = told(target, background)
    assert len(local) == 2
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        assert told(target, background, client=client) == local
        assert told(da.from_array(target, chunks=(90, F)), sp.csr_array(background), client=client) == local


def test_new_rows_have_no_side_to_be_compared_with():
    model = BCNMF(2, 0.5, max_iter=2, tol=0).fit(cells(0), background=cells(1), client=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.transform(cells(0) * 3, client=False)
