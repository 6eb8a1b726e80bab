"""Whatever goes in comes out as stores, with its names and a way back to its kind."""

import pickle
from contextlib import nullcontext

import anndata
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
import zarr

from bcnmf_dask import split
from bcnmf_dask.data.inputs import read_inputs

CELLS = [f"cell{row}" for row in range(23)]
GENES = [f"gene{column}" for column in range(7)]


def frame(matrix):
    return pd.DataFrame(matrix, index=CELLS, columns=GENES)


def data_array(matrix):
    return xr.DataArray(
        matrix,
        dims=("cell", "gene"),
        coords={
            "cell": CELLS,
            "gene": GENES,
            "donor": ("cell", np.arange(23) % 4),
            "chromosome": ("gene", list("abcdefg")),
            "study": "only",
        },
    )


def numpy_file(matrix, path):
    np.save(path / "m.npy", matrix)
    return path / "m.npy"


def npz_file(matrix, path):
    csr = sp.csr_array(matrix)
    parts = {"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "shape": csr.shape}
    np.savez(path / "m.npz", **parts, cells=CELLS, genes=GENES)
    return path / "m.npz"


# kind: (input from matrix, adata, write, path), named, lazy
KINDS = {
    "NumPy": (lambda m, *_: m, False, False),
    "boolean NumPy": (lambda m, *_: m > 0, False, False),
    "CSR array": (lambda m, *_: sp.csr_array(m), False, False),
    "CSR matrix": (lambda m, *_: sp.csr_matrix(m), False, False),
    "DataFrame": (lambda m, *_: frame(m), True, False),
    "DataFrame without names": (lambda m, *_: pd.DataFrame(m), False, False),
    "DataArray": (lambda m, *_: data_array(m), True, False),
    "DataArray without names": (lambda m, *_: xr.DataArray(m), False, False),
    "AnnData": (lambda m, adata, *_: adata, True, False),
    "view of an AnnData": (lambda m, adata, *_: adata[:, :], True, False),
    "Dask": (lambda m, *_: da.from_array(m, chunks=(9, -1)), False, True),
    "DataArray over Dask": (lambda m, *_: data_array(da.from_array(m, chunks=(9, -1))), True, True),
    "zarr": (lambda m, adata, write, path: write(adata, "a.zarr"), True, True),
    "zarr 2": (lambda m, adata, write, path: write(adata, "a.zarr", 2), True, True),
    "zarr as str": (lambda m, adata, write, path: str(write(adata, "a.zarr")), True, True),
    "h5ad": (lambda m, adata, write, path: write(adata, "a.h5ad"), True, True),
    "backed AnnData": (lambda m, a, write, _: anndata.read_h5ad(write(a, "a.h5ad"), backed="r"), True, True),
    "lazy AnnData": (lambda m, a, write, _: anndata.experimental.read_lazy(write(a, "a.zarr")), True, True),
    "npy": (lambda m, adata, write, path: numpy_file(m, path), False, True),
    "npz": (lambda m, adata, write, path: npz_file(m, path), True, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read(kind, matrix, adata, write, tmp_path):
    make, named, lazy = KINDS[kind]
    inputs = read_inputs(make(matrix, adata, write, tmp_path), None)
    (store,) = inputs.stores
    rows = store.source.read(0, 23)
    expected = matrix > 0 if kind == "boolean NumPy" else matrix
    np.testing.assert_array_equal(rows.toarray() if sp.issparse(rows) else rows, expected)
    assert (store.name, dict(store.masks), store.columns) == ("target", {"target": None}, None)
    assert (inputs.n_rows, inputs.n_features, inputs.lazy) == ({"target": 23}, 7, lazy)
    assert (inputs.features.tolist() if named else inputs.features) == (GENES if named else None)
    names = inputs.row_names["target"]
    assert ((len(names), names.read(3, 6).tolist()) if named else names) == ((23, CELLS[3:6]) if named else None)


def test_two_inputs_are_two_stores(matrix):
    inputs = read_inputs(matrix, sp.csr_array(matrix[:9]))
    assert [store.name for store in inputs.stores] == ["target", "background"]
    assert [dict(store.masks) for store in inputs.stores] == [{"target": None}, {"background": None}]
    assert inputs.n_rows == {"target": 23, "background": 9}


def test_usages_are_lazy_if_either_input_is(matrix):
    assert read_inputs(matrix, da.from_array(matrix, chunks=(9, -1))).lazy


def test_numpy_usages_go_back_as_they_are(matrix, adata):
    usages = np.ones((23, 2))
    for target in (matrix, adata, frame(matrix), sp.csr_array(matrix)):
        assert read_inputs(target, None).wraps["target"](usages) is usages


def test_usages_of_a_data_array_get_its_row_coordinates_and_no_others(matrix):
    inputs = read_inputs(data_array(matrix), matrix)
    usages = inputs.wraps["target"](np.arange(46).reshape(23, 2))
    assert usages.dims == ("cell", "component")
    assert set(usages.coords) == {"cell", "donor"}
    assert usages.sel(cell="cell3").values.tolist() == [6, 7]
    assert usages["donor"].values.tolist() == (np.arange(23) % 4).tolist()
    assert isinstance(inputs.wraps["background"](np.ones((23, 2))), np.ndarray)


def test_lazy_usages_stay_lazy_in_a_data_array(matrix):
    inputs = read_inputs(data_array(da.from_array(matrix, chunks=(9, -1))), None)
    usages = inputs.wraps["target"](da.ones((23, 2), chunks=(9, 2)))
    assert isinstance(usages.data, da.Array)


@pytest.mark.parametrize("kind", ["AnnData", "zarr", "zarr 2", "h5ad", "backed AnnData", "lazy AnnData"])
def test_a_layer_is_read_instead_of_x(kind, matrix, adata, write, tmp_path):
    target = KINDS[kind][0](matrix, adata, write, tmp_path)
    inputs = read_inputs(target, matrix, layer="counts")
    np.testing.assert_array_equal(inputs.stores[0].source.read(2, 9).toarray(), 2 * matrix[2:9])
    np.testing.assert_array_equal(inputs.stores[1].source.read(2, 9), matrix[2:9])


def test_the_note_about_layers_names_them(matrix, adata):
    assert read_inputs(adata, matrix).layer_note.endswith("(layers here: dense, counts, by_column).")
    assert read_inputs(matrix, adata).layer_note == "Give the matrix of raw counts instead."


def test_an_anndata_without_x_is_read_by_layer(adata, write):
    adata.X = None
    for target in (adata, write(adata, "a.zarr"), write(adata, "a.h5ad")):
        assert read_inputs(target, None, layer="counts").n_rows["target"] == 23


@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
def test_inputs_on_disk_travel(kind, matrix, adata, write, tmp_path):
    inputs = read_inputs(KINDS[kind][0](matrix, adata, write, tmp_path), None)
    copy = pickle.loads(pickle.dumps(inputs))
    np.testing.assert_array_equal(copy.stores[0].source.read(0, 23).toarray(), matrix)
    assert copy.row_names["target"].read(20, 23).tolist() == CELLS[20:]


def test_data_frame_columns_of_several_kinds_become_one(matrix):
    mixed = frame(matrix).astype({"gene0": bool, "gene1": int, "gene2": "Int64"})
    rows = read_inputs(mixed, None).stores[0].source.read(0, 23)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows[:, 1:], matrix[:, 1:])


@pytest.mark.parametrize("name", ["a.zarr", "a.h5ad"])
def test_annotation_of_an_older_anndata_is_read(name, adata, write):
    del adata.obs["condition"]  # categories were kept elsewhere then
    path = write(adata, name)
    with h5py.File(path, "r+") if name == "a.h5ad" else nullcontext(zarr.open_group(path, mode="r+")) as root:
        for element in ("obs", "var"):
            root[element].attrs["encoding-version"] = "0.1.0"
    target, _ = split(path, "batch", 1, 0, mask_var="variable")
    inputs = read_inputs(target, None)
    assert inputs.features.tolist() == [GENES[column] for column in (0, 2, 3, 5, 6)]
    assert inputs.row_names["target"].read(0, 2).tolist() == ["cell1", "cell3"]


@pytest.mark.parametrize("name", ["a.zarr", "a.h5ad"])
def test_names_that_anndata_stores_as_nullable_strings_are_read(name, adata, write):
    adata.obs.index = adata.obs.index.astype("string")
    with anndata.settings.override(allow_write_nullable_strings=True):
        path = write(adata, name)
    assert read_inputs(path, None).row_names["target"].read(3, 6).tolist() == CELLS[3:6]


@pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning", "ignore:Moving element:FutureWarning")
def test_real_files_of_a_very_old_anndata_and_of_bare_csr_agree(data_folder):
    folder = data_folder("kang_ifnb")
    old, bare = read_inputs(folder / "valid.h5ad", None), read_inputs(folder / "counts.npz", None)
    assert old.n_rows == bare.n_rows == {"target": 1975}
    assert old.n_features == bare.n_features == 6998
    a, b = (inputs.stores[0].source.read(100, 200) for inputs in (old, bare))
    assert a.nnz == b.nnz
    with np.load(folder / "counts.npz") as arrays:
        assert old.features.tolist() == bare.features.tolist() == arrays["genes"].tolist()
        for inputs in (old, bare):
            assert inputs.row_names["target"].read(0, 1975).tolist() == arrays["cells"].tolist()
