"""Values and names that are not what is stored, or are lost: followed or refused, never taken as they are."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
import zarr

from bcnmf_dask import BCNMF, ingest, split
from bcnmf_dask.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Writing zarr v2"),
    pytest.mark.filterwarnings("ignore:.*values are not integers"),
]
MODEL = {"n_components": 2, "alpha": 0.0, "max_iter": 2, "tol": 0}


def counts():
    return np.random.default_rng(0).poisson(1.0, (23, 7)).astype(np.float32) + 1


def cells(dense):
    values = counts() if dense else sp.csr_matrix(counts())
    obs = pd.DataFrame({"condition": ["stim"] * 12 + ["ctrl"] * 11}, index=[f"c{row}" for row in range(23)])
    adata = anndata.AnnData(values, obs=obs, var=pd.DataFrame(index=[f"g{column}" for column in range(7)]))
    adata.layers["counts"] = values.copy()
    return adata


def refused(path, words, **given):
    """By a fit, by split and a fit, and by ingest."""
    with pytest.raises(InputError, match=words):
        BCNMF(**MODEL).fit(path, client=False, **given)
    with pytest.raises(InputError, match=words):
        BCNMF(**MODEL).fit(split(path, "condition", "stim", "ctrl", **given)[0], client=False)
    with pytest.raises(InputError, match=words):
        ingest(path, path.with_suffix(".out.zarr"), **given)
    assert not path.with_suffix(".out.zarr").exists()


@pytest.mark.parametrize("written", ["zarr", "h5ad"])
@pytest.mark.parametrize(("dense", "element"), [(True, "X"), (False, "X"), (False, "X/data"), (True, "layers/counts")])
@pytest.mark.parametrize(
    "attributes", [{"scale_factor": 0.5}, {"add_offset": 3}, {"missing_value": 2.0}, {"_FillValue": 1.0}]
)
def test_attributes_that_anndata_does_not_heed(tmp_path, written, dense, element, attributes):
    path = tmp_path / f"cells.{written}"
    getattr(cells(dense), f"write_{written}")(path)
    if written == "zarr":
        zarr.open(path, path=element, mode="r+").attrs.update(attributes)
    else:
        with h5py.File(path, "r+") as file:
            file[element].attrs.update(attributes)
    layer = {"layer": "counts"} if element.startswith("layers") else {}
    refused(
        path, f"'{element}' has attributes that change .*{next(iter(attributes))}.*take the attributes away", **layer
    )


def bare(tmp_path, attributes, values=None):
    array = zarr.create_array(tmp_path / "x.zarr", data=counts() if values is None else values)
    array.attrs.update(attributes)
    return tmp_path / "x.zarr"


@pytest.mark.parametrize("scale", [0.5, [0.5]])
def test_a_scale_is_followed(tmp_path, scale):
    components = BCNMF(**MODEL, dtype="float64").fit(bare(tmp_path, {"scale_factor": scale, "add_offset": None}))
    expected = BCNMF(**MODEL, dtype="float64").fit(0.5 * counts())
    np.testing.assert_array_equal(components.components_, expected.components_)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"scale_factor": "0.5"}, "its attribute scale_factor is '0.5'. Expected a number"),
        ({"_FillValue": "soon"}, "its attribute _FillValue is 'soon'. Expected a value of type int16"),
        ({"_FillValue": 3}, r"values read stand for missing ones, by its attributes .*_FillValue.*fillna.*take these"),
        ({"missing_value": 3}, r"values read stand for missing ones, by its attributes .*missing_value"),
    ],
)
def test_what_cannot_be_followed(tmp_path, attributes, words):
    path = bare(tmp_path, attributes, counts().astype(np.int16))
    with pytest.raises(InputError, match=words):
        BCNMF(**MODEL).fit(path, client=False)
    with pytest.raises(InputError, match=words):
        ingest(path, tmp_path / "out.zarr")


def test_a_missing_value_that_does_not_occur(tmp_path):
    path = bare(tmp_path, {"missing_value": -1, "_FillValue": "NaN"})
    expected = BCNMF(**MODEL).fit(counts())
    np.testing.assert_allclose(BCNMF(**MODEL).fit(path).components_, expected.components_, rtol=1e-6)


def test_an_array_opened_without_its_scale(tmp_path):
    xr.DataArray(counts(), dims=("cell", "gene"), name="x").to_zarr(
        tmp_path / "x.zarr",
        consolidated=False,
        encoding={"x": {"scale_factor": 0.5, "dtype": "int16", "_FillValue": -1}},
    )
    raw = xr.open_zarr(tmp_path / "x.zarr", mask_and_scale=False, consolidated=False)["x"]
    with pytest.raises(InputError, match=r"'x' has attributes that change the meaning of its values.*scale_factor"):
        BCNMF(**MODEL).fit(raw)
    meant = xr.open_zarr(tmp_path / "x.zarr", consolidated=False)["x"]
    np.testing.assert_array_equal(
        BCNMF(**MODEL).fit(meant).components_, BCNMF(**MODEL).fit(meant.to_numpy()).components_
    )


@pytest.mark.parametrize("element", ["obs", "var"])
def test_lost_chunks_of_names(tmp_path, element):
    path = tmp_path / "cells.zarr"
    cells(dense=False).write_zarr(path)
    (chunk,) = [
        one
        for one in (path / element / "_index").rglob("*")
        if one.is_file() and not one.name.startswith((".z", "zarr"))
    ]
    chunk.unlink()
    refused(path, rf"is not whole: of the names in /{element}, 1 of 1 chunk.s. are not there.*Copy the store again")


@pytest.mark.parametrize("written", ["zarr", "h5ad"])
@pytest.mark.parametrize(("element", "words"), [("obs", "rows .obs. for 23"), ("var", "features .var. for 7")])
def test_too_few_names(tmp_path, written, element, words):
    path = tmp_path / f"cells.{written}"
    getattr(cells(dense=False), f"write_{written}")(path)
    few = cells(dense=False)[:5, :5].copy()
    root = zarr.open_group(path, mode="r+", use_consolidated=False) if written == "zarr" else h5py.File(path, "r+")
    anndata.io.write_elem(root, element, getattr(few, element))
    if written == "h5ad":
        root.close()
    with pytest.raises(InputError, match=f"^target: it has 5 names of {words}"):
        BCNMF(**MODEL).fit(path)
    with pytest.raises(InputError, match=rf"^source: {element} has 5 names"):
        ingest(path, tmp_path / "out.zarr")


@pytest.mark.parametrize("axis", ["index", "columns"])
def test_names_that_cannot_be_written(axis):
    frame = pd.DataFrame(counts())
    names = [f"n{number}" for number in range(len(getattr(frame, axis)))]
    setattr(frame, axis, [*names[:-1], b"\xff".decode(errors="surrogateescape")])
    with pytest.raises(InputError, match=r"^target: the name '\\udcff' has characters that cannot be written"):
        BCNMF(**MODEL).fit(frame, callbacks=[lambda _: pytest.fail("a sweep")])


def test_values_that_no_store_holds(tmp_path):
    with pytest.raises(InputError, match=r"^source: got values of type float128.*astype\('float64'\)"):
        ingest(counts().astype(np.longdouble), tmp_path / "out.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_store_is_gone_says_so(tmp_path):
    path = tmp_path / "cells.h5ad"
    cells(dense=False).write_h5ad(path)
    model = BCNMF(**MODEL).fit(path, out=tmp_path / "fit.zarr")
    (tmp_path / "fit.zarr").rename(tmp_path / "moved.zarr")
    for use in (model.target_usages_.compute, lambda: model.save(tmp_path / "again.zarr")):
        with pytest.raises(InputError, match=r"fit\.zarr: the usages were there, but .* nothing now.*BCNMF\.load"):
            use()
    assert not (tmp_path / "again.zarr").exists()
