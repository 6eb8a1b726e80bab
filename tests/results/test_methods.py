"""Every number and name of the paragraph is one of the store, read here by Zarr and JSON alone."""

import json
import re
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr

from bcnmf_dask import BCNMF, split
from bcnmf_dask.results.provenance import FeatureMatch
from bcnmf_dask.results.result import load_result

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in (
        "sklearn.exceptions.ConvergenceWarning",
        "bcnmf_dask.errors.CollapseWarning",
        "bcnmf_dask.errors.DataWarning",
    )
]
N_TARGET, N_BACKGROUND, N_FEATURES = 70, 40, 15


@pytest.fixture
def cells():
    """110 cells of 15 genes, 9 of them variable; the target has two programs that the background lacks."""
    draw = np.random.default_rng(5)
    programs = draw.gamma(0.5, 3.0, (3, N_FEATURES))
    usages = draw.gamma(0.6, 2.0, (N_TARGET + N_BACKGROUND, 3))
    usages[N_TARGET:, :2] = 0.05
    counts = sp.csr_matrix(draw.poisson(usages @ programs + 0.1).astype(np.float32))
    obs = pd.DataFrame({"condition": ["stim 7"] * N_TARGET + ["ctrl"] * N_BACKGROUND})
    obs.index = [f"cell{row}" for row in range(len(obs))]
    var = pd.DataFrame({"variable": [True] * 9 + [False] * 6}, index=[f"gene{one}" for one in range(N_FEATURES)])
    return anndata.AnnData(counts, obs=obs, var=var, layers={"counts": counts})


def of_a_split(cells, folder):
    cells.write_h5ad(folder / "cells2.h5ad")
    return split(folder / "cells2.h5ad", "condition", "stim 7", "ctrl", layer="counts", mask_var="variable")


def of_two_files(cells, folder):
    paths = folder / "stim.h5ad", folder / "ctrl.h5ad"
    cells[:N_TARGET].copy().write_h5ad(paths[0])
    cells[N_TARGET:].copy().write_h5ad(paths[1])
    return paths


def in_memory(cells, _):
    return cells.X[:N_TARGET].toarray(), cells.X[N_TARGET:].toarray()


FORMS = {"split": of_a_split, "files": of_two_files, "memory": in_memory}


def saved(sides, out, **parameters):
    """The attributes of the saved fit, and its paragraph."""
    chosen = {"n_components": 2, "alpha": 0.5, "max_iter": 12, "random_state": 3, "dtype": "float64"} | parameters
    BCNMF(**chosen).fit(sides[0], background=sides[1], client=False, out=out)
    return store_of(out)


def store_of(out):
    group = zarr.open_group(out, mode="r")
    plain = {name: _parsed(value) for name, value in group.attrs.items()}
    plain["shapes"] = {name: array.shape for name, array in group.arrays()}
    return plain, load_result(out).methods()


def _parsed(value):
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def number(text):
    return float(text.replace(",", ""))


def check(text, facts):
    """Each pattern finds its numbers; what is left of the text outside quotes has no digit but those of the names."""
    rest = re.sub(r'"[^"]*"', '""', text)
    for pattern, expected in facts:
        found = re.search(pattern, rest)
        assert found, (pattern, rest)
        np.testing.assert_allclose([number(one) for one in found.groups()], expected, rtol=1e-3, err_msg=pattern)
        rest = rest[: found.start()] + rest[found.end() :]
    assert re.findall(r"\d+", rest) == [], rest


REAL = r"(-?[\d.,]*\d(?:e[-+]\d+)?)"


def said_of(store, form):
    """The numbers that a paragraph must have, by where they stand."""
    given, run, shapes = store["parameters"], store["run"], store["shapes"]
    rows = "rows" if form == "memory" else "cells"
    contrasted = given["alpha"] > 0 and "background_usages" in shapes
    yield rf"bcnmf-dask {re.escape(store['versions']['bcnmf-dask'])}", []
    yield rf"in {given['dtype']}", []
    yield rf"for {REAL} features", [shapes["components"][1]]
    yield rf"{REAL} non-negative components", [shapes["components"][0]]
    yield rf"seed {REAL}\)", [given["random_state"]]
    if contrasted:
        yield re.escape(store["provenance"]["citation"]), []
        yield rf"minus {REAL} times", [given["effective_alpha"]]
    if contrasted and given["weighting"] != "sum":
        yield rf"alpha = {REAL} times", [given["alpha"]]
    if contrasted and given["weighting"] == "deviance":
        yield rf"\({REAL} and {REAL}\)", [run["deviances"]["target"], run["deviances"]["background"]]
    yield from said_of_rows(shapes, form, rows)
    yield from said_of_course(store)


def said_of_rows(shapes, form, rows):
    both = "background_usages" in shapes
    if form == "split":
        yield rf"target was {REAL} of the {REAL} cells", [shapes["target_usages"][0], N_TARGET + N_BACKGROUND]
        yield rf"\({REAL} of {REAL}\)", [9, N_FEATURES]
    else:
        yield rf"target was the {REAL} {rows}", [shapes["target_usages"][0]]
    if both:
        yield rf"background was (?:the )?{REAL}", [shapes["background_usages"][0]]


def said_of_course(store):
    given, run = store["parameters"], store["run"]
    if given["solver"] == "online":
        yield rf"{REAL} passes over all \w+ \({REAL} batches", [run["passes"], run["batches_per_pass"]]
    else:
        yield rf"in {REAL} sweeps over", store["shapes"]["iteration"]
    if given["solver"] == "published":
        yield rf"\(exponent {REAL}\)", [given["effective_damping"]]
    if store["status"] in ("max_iter", "converged"):
        yield rf"below {REAL} in {REAL} sweeps in a row", [given["tol"], given["patience"]]
    if store["status"] == "max_iter":
        yield rf"limit of {REAL} sweeps", [given["max_iter"]]
    if "usages_largest_residual" in run:
        yield rf"largest residual {REAL} of", [run["usages_largest_residual"]]
    if run.get("usages_unfinished_rows"):
        yield rf"which {REAL} of them", [run["usages_unfinished_rows"]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("solver", ["published", "accelerated", "online"])
@pytest.mark.parametrize("loss", ["kullback-leibler", "frobenius"])
def test_every_number_is_one_of_the_store(tmp_path, cells, loss, solver, form):
    store, text = saved(FORMS[form](cells, tmp_path), tmp_path / "fit.zarr", loss=loss, solver=solver)
    check(text, said_of(store, form))
    assert ("Kullback-Leibler" in text, "Frobenius" in text) == (loss == "kullback-leibler", loss == "frobenius")
    assert ("published" in text, "over-relaxed" in text, "online" in text) == (
        solver == "published",
        solver == "accelerated",
        solver == "online",
    )


@pytest.mark.parametrize("weighting", ["mean", "sum"])
def test_units_of_alpha(tmp_path, cells, weighting):
    store, text = saved(of_two_files(cells, tmp_path), tmp_path / "fit.zarr", weighting=weighting)
    check(text, said_of(store, "files"))
    assert ("number of target cells over" in text, "weighs sums" in text) == (weighting == "mean", weighting == "sum")
    assert "deviance" not in text


@pytest.mark.parametrize("with_background", [True, False])
def test_plain_nmf_is_not_called_contrastive(tmp_path, cells, with_background):
    target, background = in_memory(cells, None)
    sides = target, background if with_background else None
    store, text = saved(sides, tmp_path / "fit.zarr", alpha=0, loss="frobenius")
    check(text, said_of(store, "memory"))
    assert text.startswith("Non-negative matrix factorization, without contrast, was computed")
    assert ("the background has no part in them" in text) == with_background


def test_names_come_from_the_store(tmp_path, cells):
    text = saved(of_a_split(cells, tmp_path), tmp_path / "fit.zarr")[1]
    assert re.findall(r'"([^"]*)"', text) == ["cells2.h5ad", "condition", "stim 7", "ctrl", "counts", "variable"]


@pytest.mark.parametrize(
    ("tol", "stop", "sentence"),
    [
        (0.9, False, "The fit had then converged"),
        (0.0, False, "The number of sweeps was fixed at 30."),
        (0.0, True, "The fit was then stopped, before it had converged."),
    ],
)
def test_how_a_fit_ended(cells, tol, stop, sentence):
    target, background = in_memory(cells, None)
    callbacks = [lambda record: record.iteration == 4] if stop else []
    model = BCNMF(2, alpha=0.2, loss="frobenius", max_iter=30, tol=tol)
    model.fit(target, background=background, client=False, callbacks=callbacks)
    assert sentence in model.result_.methods()
    assert f"in {model.n_iter_} sweeps over" in model.result_.methods()


@pytest.mark.parametrize("word", ["collapsed", "interrupted by a comet"])
def test_other_ends(make_result, word):
    result = make_result()
    result = replace(result, parameters=PARAMETERS, versions={"bcnmf-dask": "9.8"}, run={"resumed_from": 0})
    text = replace(result, status=result.status._replace(word=word)).methods()
    assert ("collapsed" if word == "collapsed" else 'the status "interrupted by a comet"') in text


PARAMETERS = {
    "n_components": 3,
    "alpha": 1.0,
    "effective_alpha": 1.5,
    "weighting": "mean",
    "loss": "frobenius",
    "solver": "published",
    "effective_damping": 1.0,
    "init": ["components", "target_usages"],
    "max_iter": 2,
    "tol": 0.01,
    "patience": 10,
    "random_state": 0,
    "dtype": "float32",
}


def test_a_result_without_usages_is_described_too(make_result):
    whole = make_result(parameters=PARAMETERS, versions={"bcnmf-dask": "9.8"}, run={})
    part = replace(whole, target_usages=None, background_usages=None)
    assert part.described() == whole.described() | {"usages_saved": False}
    assert part.methods() == whole.methods().replace(
        "Usages are those of the last sweep.", "The usages were not saved."
    )


def test_shared_features_and_given_starts(make_result):
    made = make_result().provenance
    sources = (made.sources[0], replace(made.sources[0], location="https://host/b.zarr", matrix="X", n_features=9))
    sides = {"target": made.sides["target"], "background": replace(made.sides["background"], source=1, n_selected=9)}
    made = replace(made, sources=sources, sides=sides, matching=FeatureMatch("intersection", "name", 4))
    run = {"fallen_back": True}
    result = make_result(parameters=PARAMETERS, versions={"bcnmf-dask": "9.8"}, run=run, provenance=made)
    text = result.methods()
    assert "4 features, of the 4 that both sides have (of 4 in the target, 9 in the background; matched by" in text
    assert 'The values of the target in the layer "counts" and of the background in X were used' in text
    assert 'of "b.zarr", chosen by the column "condition" ("ctrl", "sham")' in text
    assert "from given components and target usages and otherwise a random start (seed 0)" in text
    assert "until the objective of a sample of cells rose" in text


def test_usages_of_new_rows_are_said_to_be_of_the_fit(tmp_path, cells):
    target, background = in_memory(cells, None)
    model = BCNMF(2, alpha=0.2, loss="frobenius", max_iter=5, tol=0, random_state=11)
    model.fit(target, background=background, client=False)
    model.transform(target[:13], client=False, out=tmp_path / "new.zarr")
    store, text = store_of(tmp_path / "new.zarr")
    fit = model.result_.methods()
    assert text.startswith(fit.removesuffix("Usages are those of the last sweep."))
    assert "The usages of these components in the 13 rows of a NumPy array in memory were then computed" in text
    residual = re.search(r"largest residual (\S+) of", text)
    assert number(residual[1]) == pytest.approx(store["run"]["usages_largest_residual"], rel=1e-3)
