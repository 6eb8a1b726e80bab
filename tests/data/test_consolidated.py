"""Consolidated metadata that tell of what was: what the parts of a store say themselves is believed."""

import json

import anndata
import anndata.io
import fsspec
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from bcnmf_dask import ingest, split
from bcnmf_dask.data.inputs import read_inputs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::zarr.errors.ZarrUserWarning")


@pytest.fixture(params=["here", "at a URL"])
def place(request):
    """``place(path)``: the path, or the URL of a copy in memory."""
    files = fsspec.filesystem("memory")

    def placed(path):
        if request.param == "here":
            return path
        files.put(str(path), f"/bcnmf-consolidated/{path.name}", recursive=True)
        return f"memory://bcnmf-consolidated/{path.name}"

    yield placed
    if files.exists("/bcnmf-consolidated"):
        files.rm("/bcnmf-consolidated", recursive=True)


@pytest.fixture(params=[2, 3])
def stale(request, adata, write):
    """``stale(newer)``: a store of ``newer`` with the consolidated metadata of the AnnData as it was."""
    del adata.layers["by_column"]

    def written(newer):
        path = write(adata, "a.zarr", request.param)
        zarr.consolidate_metadata(path)
        name = ".zmetadata" if request.param == 2 else "zarr.json"
        old = json.loads((path / name).read_text())
        assert "X/data" in json.dumps(old)
        write(newer, "a.zarr", request.param)
        if request.param == 2:
            (path / name).write_text(json.dumps(old))
        else:
            now = json.loads((path / name).read_text())
            (path / name).write_text(json.dumps(now | {"consolidated_metadata": old["consolidated_metadata"]}))
        return path

    return written


def test_the_metadata_are_stale_indeed(stale, adata):
    """Else the tests below would pass on nothing."""
    more = anndata.concat([adata, adata[:5]], index_unique="-")
    more.var = adata.var
    path = stale(more)
    assert zarr.open_group(path, mode="r")["X"].attrs["shape"] == [23, 7]
    assert zarr.open_group(path, mode="r", use_consolidated=False)["X"].attrs["shape"] == [28, 7]


def test_a_store_that_has_grown_is_read_whole(stale, place, adata, tmp_path):
    more = anndata.concat([adata, adata[:5]], index_unique="-")
    more.var = adata.var
    path = place(stale(more))
    inputs = read_inputs(path, None)
    np.testing.assert_array_equal(inputs.stores[0].source.read(0, 28).toarray(), more.X.toarray())
    assert inputs.row_names["target"].read(20, 28).tolist() == more.obs_names[20:].tolist()
    rows, _ = split(path, "batch", 1, 0)
    assert rows.n_rows == (more.obs["batch"] == 1).sum()
    ingest(path, tmp_path / "out.zarr")
    np.testing.assert_array_equal(anndata.read_zarr(tmp_path / "out.zarr").X.toarray(), more.X.toarray())


@pytest.mark.parametrize("layer", ["added", "added_dense"])
def test_a_layer_that_was_added_later_is_read(layer, stale, place, adata, matrix, tmp_path):
    newer = adata.copy()
    newer.layers["added"], newer.layers["added_dense"] = sp.csr_array(3 * matrix), 3 * matrix
    path = place(stale(newer))
    rows = read_inputs(path, None, layer=layer).stores[0].source.read(0, 23)
    np.testing.assert_array_equal(rows if layer == "added_dense" else rows.toarray(), 3 * matrix)
    ingest(path, tmp_path / "out.zarr", layer=layer)
    found = anndata.read_zarr(tmp_path / "out.zarr").X
    np.testing.assert_array_equal(found if layer == "added_dense" else found.toarray(), 3 * matrix)


def test_a_column_that_was_added_later_is_known(stale, place, adata):
    newer = adata.copy()
    newer.obs["new"] = ["a"] * 10 + ["b"] * 13
    rows, others = split(place(stale(newer)), "new", "a", "b")
    assert (rows.n_rows, others.n_rows) == (10, 13)


def test_an_array_that_has_grown(place, matrix, tmp_path):
    root = zarr.create_group(tmp_path / "g.zarr", zarr_format=2)
    array = root.create_array("rows", data=matrix, chunks=(5, 7))
    zarr.consolidate_metadata(tmp_path / "g.zarr", zarr_format=2)
    array.append(matrix)
    path = place(tmp_path / "g.zarr")
    source = read_inputs(f"{path}/rows", None).stores[0].source
    np.testing.assert_array_equal(source.read(0, 46), np.vstack([matrix, matrix]))
