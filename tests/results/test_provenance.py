"""What a fit tells of where it comes from, for each kind of input, and that no secret is in it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anndata
import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcnmf_dask import BCNMF, ingest, split
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.locations import shown
from bcnmf_dask.fitting.provenance import Request, by_command
from bcnmf_dask.results.places import checksum
from bcnmf_dask.results.provenance import FeatureMatch, Origin, Provenance, Selection, as_json
from bcnmf_dask.results.result import load_result, save_result

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in (
        "sklearn.exceptions.ConvergenceWarning",
        "bcnmf_dask.errors.CollapseWarning",
        "bcnmf_dask.errors.DataWarning",
    )
]
N_ROWS, N_FEATURES = 40, 6


@pytest.fixture
def rows():
    return np.random.default_rng(1).poisson(1.5, (N_ROWS, N_FEATURES)).astype(np.float32)


@pytest.fixture
def cells(rows):
    obs = pd.DataFrame({"dose": [1] * 25 + [2] * 10 + [3] * 5}, index=[f"cell{row}" for row in range(N_ROWS)])
    var = pd.DataFrame({"variable": [True] * 4 + [False] * 2}, index=[f"gene{one}" for one in range(N_FEATURES)])
    return anndata.AnnData(sp.csr_matrix(rows), obs=obs, var=var, layers={"counts": rows})


def of(target, background=None, **choices):
    """The provenance of a fit that ends at once."""
    return Request().provenance(read_inputs(target, background, **choices))


def fitted(target, background=None, **parameters):
    model = BCNMF(**{"n_components": 2, "alpha": 0.1, "max_iter": 2} | parameters)
    return model.fit(target, background=background, client=False)


def test_rows_of_one_store(cells, tmp_path):
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    made = of(*split(path, "dose", 1, [2, "3"], layer="counts", mask_var="variable"))
    assert made.sources == (
        Origin("AnnData .h5ad file", str(path), "layers/counts", N_ROWS, N_FEATURES, path.stat().st_size),
    )
    assert made.sides == {
        "target": Selection(0, "dose", ("1",), "variable", 4),
        "background": Selection(0, "dose", ("2", "3"), "variable", 4),
    }
    assert made.sides["background"].label == "2 + 3"
    assert made.origin("background") is made.sources[0]


def test_a_relative_path_is_told_from_the_root_whatever_folder_comes_later(rows, tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", rows)
    monkeypatch.chdir(tmp_path)
    inputs = read_inputs("rows.npy", None)
    monkeypatch.chdir("/")
    (source,) = Request().provenance(inputs).sources
    assert (source.location, source.kind) == (str(tmp_path / "rows.npy"), ".npy file")
    assert (source.n_bytes, source.matrix) == ((tmp_path / "rows.npy").stat().st_size, None)


IN_MEMORY = {
    "NumPy array in memory": lambda rows, _: rows,
    "SciPy matrix in memory": lambda rows, _: sp.csr_array(rows),
    "pandas DataFrame in memory": lambda rows, _: pd.DataFrame(rows),
    "xarray DataArray in memory": lambda rows, _: xr.DataArray(rows),
    "xarray DataArray of Dask chunks": lambda rows, _: xr.DataArray(da.from_array(rows)),
    "Dask array": lambda rows, _: da.from_array(rows),
    "AnnData in memory": lambda _, cells: cells,
}


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_data_in_memory_are_told_by_their_kind(rows, cells, kind):
    made = of(IN_MEMORY[kind](rows, cells))
    assert made.sources == (Origin(kind, None, "X" if "AnnData" in kind else None, N_ROWS, N_FEATURES, None),)
    assert made.sides == {"target": Selection(0, None, None, None, N_FEATURES)}
    assert made.matching is None


def test_a_backed_anndata_is_told_by_its_file(cells, tmp_path):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    (source,) = of(anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")).sources
    assert (source.location, source.kind) == (str(tmp_path / "cells.h5ad"), "AnnData .h5ad file")


def test_stores_of_zarr(rows, cells, tmp_path):
    zarr.create_array(tmp_path / "rows", data=rows)
    assert of(str(tmp_path / "rows")).sources[0].kind == "array in a Zarr store"
    ingest(cells, tmp_path / "cells.zarr")
    assert of(tmp_path / "cells.zarr").sources[0].kind == "AnnData Zarr store"
    assert of(tmp_path / "cells.zarr").sources[0].n_bytes is None


def test_how_features_were_matched(cells):
    fewer = cells[:, 1:].copy()
    assert of(cells, cells.copy()).matching == FeatureMatch("strict", "name", N_FEATURES)
    assert of(cells, fewer, features="intersection").matching == FeatureMatch("intersection", "name", N_FEATURES - 1)
    assert of(cells.X, cells).matching == FeatureMatch("strict", "position", N_FEATURES)
    made = of(cells, fewer, features="intersection", mask_var=[True] * 2 + [False] * 4)
    assert made.matching == FeatureMatch("intersection", "name", N_FEATURES - 1)
    assert [made.sides[role] for role in ("target", "background")] == [
        Selection(0, None, None, None, 2),
        Selection(1, None, None, None, N_FEATURES - 1),
    ]
    assert [source.n_features for source in made.sources] == [N_FEATURES, N_FEATURES - 1]


def test_when_and_by_which_command(rows):
    before = datetime.now(UTC) - timedelta(seconds=1)
    with by_command("bcnmf-dask fit 'my rows.npy'"):
        made = fitted(rows, alpha=0).result_.provenance
    started, ended = (datetime.fromisoformat(moment) for moment in (made.started, made.ended))
    assert before <= started <= ended <= datetime.now(UTC)
    assert made.ended.endswith("Z")
    assert made.command == "bcnmf-dask fit 'my rows.npy'"
    assert fitted(rows, alpha=0).result_.provenance.command is None


def test_what_was_given_otherwise_than_it_is_recorded(rows):
    model = fitted(rows[:25], rows[25:], alpha=None, loss="kl", random_state=None)
    result = model.result_
    assert result.provenance.given == {"alpha": None, "loss": "kl", "random_state": None}
    assert (result.parameters["alpha"], result.parameters["loss"]) == (2.0, "kullback-leibler")
    drawn = fitted(rows, alpha=0, random_state=np.random.RandomState(4)).result_
    assert drawn.provenance.given == {"random_state": "RandomState"}
    assert fitted(rows, alpha=0).result_.provenance.given == {}


def test_usages_of_new_rows_tell_of_the_fit_they_are_of(rows, cells, tmp_path):
    cells[:25].copy().write_h5ad(tmp_path / "stim.h5ad")
    fitted(tmp_path / "stim.h5ad", alpha=0).save(tmp_path / "fit.zarr")
    model = BCNMF.load(tmp_path / "fit.zarr")
    model.transform(rows, client=False, out=tmp_path / "new.zarr")
    made = load_result(tmp_path / "new.zarr").provenance
    assert made.matching == FeatureMatch("fitted", "position", N_FEATURES)
    assert made.derived_from == model.result_.described()
    assert made.derived_from["components_checksum"] == checksum(model.components_.tobytes())
    assert made.derived_from["provenance"]["sources"][0]["location"] == str(tmp_path / "stim.h5ad")


URLS = {
    "https://user:password@host/a.zarr?sig=secret": "https://host/a.zarr",
    "https://token@host/a.zarr": "https://host/a.zarr",
    "s3://bucket/a@b.zarr": "s3://bucket/a@b.zarr",
    "simplecache::https://user:password@host/a.zarr": "simplecache::https://host/a.zarr",
    "zip://a.zarr::https://user:password@host/x.zip?sig=secret": "zip://a.zarr::https://host/x.zip",
    "/data/a::b?.zarr": "/data/a::b?.zarr",
}


@pytest.mark.parametrize("url", URLS)
def test_urls_are_shown_without_credentials(url):
    assert shown(url) == URLS[url]


def test_a_fit_of_a_url_has_no_credentials_anywhere(cells, tmp_path):
    ingest(cells, tmp_path / "cells.zarr")
    files = fsspec.filesystem("memory")
    files.put(str(tmp_path / "cells.zarr"), "/user:password@host/cells.zarr", recursive=True)
    try:
        target, background = split("memory://user:password@host/cells.zarr", "dose", 1, 2)
        BCNMF(2, alpha=0.1, max_iter=2).fit(target, background=background, client=False, out=tmp_path / "fit.zarr")
    finally:
        files.rm("/user:password@host", recursive=True)
    result = load_result(tmp_path / "fit.zarr")
    assert result.provenance.sources[0].location == "memory://host/cells.zarr"
    everything = json.dumps(result.described()) + result.methods() + (tmp_path / "fit.zarr" / "zarr.json").read_text()
    assert "password" not in everything


texts = st.text(st.characters(exclude_categories=()), max_size=200)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(texts, min_size=1, max_size=9),
    key=texts,
    location=st.none() | texts.map("/{}".format),
    mask_var=st.none() | texts,
    command=st.none() | texts,
)
def test_any_names_come_back_and_are_said_on_one_line(
    make_result, tmp_path_factory, labels, key, location, mask_var, command
):
    origin = Origin("AnnData in memory", location, f"layers/{key}", 12, 9, None)
    sides = {role: Selection(0, key, tuple(labels), mask_var, 4) for role in ("target", "background")}
    made = Provenance(
        citation="arXiv:2602.22387",
        started="2026-01-02T03:04:05Z",
        ended="2026-01-02T03:04:05Z",
        command=command,
        system="Linux x86_64",
        given={},
        sources=(origin,),
        sides=sides,
        matching=FeatureMatch("strict", "name", 9),
        derived_from=None,
    )
    assert Provenance.of(json.loads(json.dumps(made.plain()))) == made
    path = tmp_path_factory.mktemp("odd") / "fit.zarr"
    save_result(make_result(provenance=made, parameters=PARAMETERS, versions={"bcnmf-dask": "9"}, run={}), path)
    result = load_result(path)
    assert result.provenance == made
    assert result.methods().isprintable()
    assert json.loads(json.dumps(result.described(), allow_nan=False)) == result.described()


PARAMETERS = {
    "alpha": 1.0,
    "effective_alpha": 1.5,
    "weighting": "mean",
    "loss": "frobenius",
    "solver": "published",
    "effective_damping": 1.0,
    "init": "random",
    "max_iter": 2,
    "tol": 0.01,
    "patience": 10,
    "random_state": 0,
    "dtype": "float32",
}


def test_plain_values_for_json():
    found = as_json({"a": np.float32(0.5), "b": (np.int64(3), float("nan")), 3: [np.inf, None, "x", True]})
    assert found == {"a": 0.5, "b": [3, None], "3": [None, None, "x", True]}
    assert Path(shown(Path("/a/b"))) == Path("/a/b")
