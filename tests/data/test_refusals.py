"""What cannot be factorized is refused, in words, before anything runs."""

import anndata
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
import zarr

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError

GOOD = np.ones((3, 4))


def damaged_csr():
    rows = sp.csr_array(GOOD)
    rows.indices[2] = 9
    return rows


IN_MEMORY = {
    "one dimension": (np.ones(4), r"1 dimension\(s\), shape \(4,\); expected 2.*reshape\(1, -1\)"),
    "three dimensions": (np.ones((2, 3, 4)), r"3 dimension\(s\)"),
    "three dimensions, DataArray": (xr.DataArray(np.ones((2, 3, 4))), r"3 dimension\(s\)"),
    "one dimension, Dask": (da.ones(4), r"1 dimension\(s\)"),
    "text": (np.array([["a", "b"]]), r"values of type <U1; expected numbers.*astype"),
    "objects": (np.array([[1, None]], dtype=object), "values of type object; expected numbers"),
    "complex": (GOOD + 1j, "values of type complex128; expected numbers"),
    "complex CSR": (sp.csr_array(GOOD + 1j), "values of type complex128; expected numbers"),
    "text column": (pd.DataFrame({"a": [1.0], "name": ["x"]}), r"1 DataFrame column\(s\).*\(name\).*Drop"),
    "no rows": (np.ones((0, 4)), r"empty matrix with 0 row\(s\) and 4 feature\(s\)"),
    "no features": (sp.csr_array((3, 0)), r"empty matrix with 3 row\(s\) and 0 feature\(s\)"),
    "masked": (np.ma.masked_array(GOOD), r"masked array; expected a value everywhere.*\.filled\(0\)"),
    "CSC": (sp.csc_matrix(GOOD), r"sparse matrix in CSC format; expected CSR.*\.tocsr\(\)"),
    "COO": (sp.coo_array(GOOD), r"sparse matrix in COO format; expected CSR.*\.tocsr\(\)"),
    "CSC in AnnData": (anndata.AnnData(sp.csc_matrix(GOOD)), "sparse matrix in CSC format"),
    "damaged CSR": (damaged_csr(), "damaged CSR matrix"),
    "split features": (
        da.ones((3, 4), chunks=(3, 2)),
        r"chunks that split features \(2 chunks across 4 features\).*\.rechunk\(\{1: -1\}\)",
    ),
    "unknown chunks": (
        da.ones((3, 4), chunks=(1, 4))[da.ones(3, chunks=1) > 0],
        r"chunks of unknown size.*\.compute_chunk_sizes\(\)",
    ),
    "CSC blocks": (
        da.ones((3, 4)).map_blocks(sp.csc_matrix, dtype=float, meta=sp.csc_matrix((0, 0))),
        "sparse matrix in CSC format",
    ),
    "rows named component": (xr.DataArray(GOOD, dims=("component", "gene")), "row dimension named 'component'"),
    "no X": (anndata.AnnData(layers={"counts": GOOD}), "no X, and its layers are: counts. Name one with layer="),
    "a list": ([[1, 2]], "object of type list; expected a NumPy array, .* or to a .csv"),
}


@pytest.mark.parametrize("role", ["target", "background"])
@pytest.mark.parametrize("case", IN_MEMORY)
def test_refused_in_memory(case, role):
    value, message = IN_MEMORY[case]
    with pytest.raises(InputError, match=rf"^{role}: .*{message}"):
        read_inputs(*((value, GOOD) if role == "target" else (GOOD, value)))


def test_no_target_is_refused():
    with pytest.raises(InputError, match="target: got an object of type NoneType; expected"):
        read_inputs(None, GOOD)


def written(path, name, make):
    make(path / name)
    return path / name


def group(path):
    zarr.create_group(path).create_array("values", data=GOOD)


ON_DISK = {
    "missing": ("m.zarr", lambda path: None, r"m\.zarr' does not exist. Check the path"),
    "unknown suffix": ("m.dat", lambda path: path.write_text("1,2"), r"the path '.*m\.dat'; expected .*\.zarr"),
    "empty folder": ("m.zarr", lambda path: path.mkdir(), r"m\.zarr' could not be read"),
    "group": ("m.zarr", group, r"m\.zarr' is not an AnnData: it holds values. Expected"),
    "garbled metadata": (
        "m.zarr",
        lambda path: (path.mkdir(), (path / "zarr.json").write_text("{")),
        r"m\.zarr' could not be read",
    ),
    "text zarr": ("m.zarr", lambda path: zarr.create_array(path, data=np.ones(3)), r"1 dimension\(s\)"),
    "not HDF5": ("m.h5ad", lambda path: path.write_text("text"), r"m\.h5ad' could not be read \(OSError"),
    "not NumPy": ("m.npy", lambda path: path.write_text("text"), r"m\.npy' could not be read"),
    "pickled NumPy": ("m.npy", lambda path: np.save(path, np.array([[None]])), r"m\.npy' could not be read"),
    "not a zip": ("m.npz", lambda path: path.write_text("text"), r"m\.npz' could not be read"),
    "other arrays": (
        "m.npz",
        lambda path: np.savez(path, X=GOOD),
        r"m\.npz' has no data, indices, indptr, shape; expected a CSR matrix .*save_npz",
    ),
    "CSC npz": (
        "m.npz",
        lambda path: sp.save_npz(path, sp.csc_matrix(GOOD)),
        r"m\.npz' has a CSC matrix; expected a CSR matrix .*tocsr",
    ),
    "contradicting npz": (
        "m.npz",
        lambda path: np.savez(path, data=[1.0], indices=[7], indptr=[0, 1], shape=[1, 4]),
        "damaged CSR matrix",
    ),
}


@pytest.mark.parametrize("case", ON_DISK)
def test_refused_on_disk(case, tmp_path):
    name, make, message = ON_DISK[case]
    path = written(tmp_path, name, make)
    with pytest.raises(InputError, match=f"^target: .*{message}"):
        read_inputs(path, GOOD)


@pytest.mark.parametrize("name", ["a.zarr", "a.h5ad"])
class TestAnnDataOnDisk:
    def test_csc_is_refused_in_words(self, name, adata, write):
        message = rf"target: 'layers/by_column' in '.*{name}' is stored in CSC format.*`bcnmf-dask ingest`"
        with pytest.raises(InputError, match=message):
            read_inputs(write(adata, name), None, layer="by_column")

    def test_unknown_layers_are_refused_with_those_there_are(self, name, adata, write):
        with pytest.raises(InputError, match=r"target: layer='raw' is not .*; its layers are: .*counts"):
            read_inputs(write(adata, name), None, layer="raw")

    def test_a_missing_x_is_refused_with_the_layers_there_are(self, name, adata, write):
        adata.X = None
        with pytest.raises(InputError, match=r"target: the AnnData has no X, and its layers are: .*counts"):
            read_inputs(write(adata, name), None)

    def test_repeated_names_are_refused(self, name, adata, write):
        adata.var_names = ["g"] * 2 + list("abcde")
        with pytest.raises(InputError, match=r"target: 1 feature name\(s\) occur more than once \(g\)"):
            read_inputs(write(adata, name), None)


def test_a_selection_of_a_backed_anndata_is_refused(adata, write):
    backed = anndata.read_h5ad(write(adata, "a.h5ad"), backed="r")
    with pytest.raises(InputError, match=r"target: got a selection of .* backed.*\.to_memory\(\)"):
        read_inputs(backed[:5], None)


def test_a_layer_of_inputs_that_have_none_is_refused():
    with pytest.raises(InputError, match="layer='counts' was given, but no input is an AnnData"):
        read_inputs(GOOD, GOOD, layer="counts")


def test_what_went_wrong_underneath_is_chained(tmp_path):
    (tmp_path / "m.h5ad").write_text("text")
    with pytest.raises(InputError) as error:
        read_inputs(tmp_path / "m.h5ad", None)
    assert isinstance(error.value.__cause__, OSError)
