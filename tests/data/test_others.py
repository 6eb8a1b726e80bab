"""What is not read is known for what it is, and refused with the way to something that is read."""

import gzip
import shutil
import sys
import types

import anndata
import dask.array as da
import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr
import zarr

from bcnmf_dask import BCNMF, ingest, split
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError


class MuData:
    """As far as it can be known without the library: modalities by name, in a mapping."""

    def __init__(self, **modalities):
        self.mod = modalities


@pytest.fixture
def h5mu(adata, tmp_path):
    """As mudata writes it: obs and var of all modalities in the root, and each modality in the group ``mod``."""
    del adata.layers["by_column"]
    path = tmp_path / "m.h5mu"
    with h5py.File(path, "w") as file:
        for name in ("rna", "prot"):
            anndata.io.write_elem(file, f"mod/{name}", adata)
        for part in ("obs", "var"):
            anndata.io.write_elem(file, part, getattr(adata, part))
        file.attrs.update({"encoding-type": "MuData", "encoding-version": "0.1.0"})
        file["mod"].attrs["mod-order"] = ["rna", "prot"]
    return path


def refused(value, message, tmp_path):
    with pytest.raises(InputError, match=f"target: {message}"):
        read_inputs(value, None)
    with pytest.raises(InputError, match=f"source: {message}"):
        ingest(value, tmp_path / "out.zarr")
    with pytest.raises(InputError, match=f"store: {message}"):
        split(value, "condition", "stim", "ctrl")


def test_a_mudata_in_memory(adata, tmp_path):
    message = r"got an object of type MuData; .* Here: give .* mdata\['rna'\] \(there are: rna, prot\)"
    refused(MuData(rna=adata, prot=adata), message, tmp_path)


@pytest.mark.parametrize("name", ["m.h5mu", "m.h5ad", "m.h5"])
def test_a_mudata_in_a_file_of_any_name(name, h5mu, tmp_path):
    path = h5mu if name == "m.h5mu" else shutil.copy(h5mu, tmp_path / name)
    message = (
        rf".*{name}' is a MuData with the modalities prot, rna\. .*read_h5mu\(.*\)\['prot'\]\.write_h5ad\('m\.h5ad'\)"
    )
    refused(path, message, tmp_path)


@pytest.mark.filterwarnings("ignore:zarr v3 autosharding:UserWarning")
def test_a_mudata_in_a_zarr_store_and_the_repair_that_is_named(adata, matrix, tmp_path):
    path = tmp_path / "m.zarr"
    root = zarr.open_group(path, mode="w")
    for part in ("mod/rna", "obs", "var"):
        anndata.io.write_elem(root, part, adata if part == "mod/rna" else getattr(adata, part))
    refused(path, rf".*m\.zarr' is a MuData .*Give the path of one of its .*'{path}/mod/rna'", tmp_path)
    source = read_inputs(f"{path}/mod/rna", None).stores[0].source
    np.testing.assert_array_equal(source.read(0, 23).toarray(), matrix)


@pytest.mark.filterwarnings("ignore:zarr v3 autosharding:UserWarning")
def test_a_spatialdata_in_a_zarr_store_and_the_repair_that_is_named(adata, tmp_path):
    path = tmp_path / "s.zarr"
    anndata.io.write_elem(zarr.open_group(path, mode="w"), "tables/cells", adata)
    refused(path, rf".*s\.zarr' is a SpatialData\. Give the path of one of its .*'{path}/tables/cells'", tmp_path)
    assert read_inputs(f"{path}/tables/cells", None).n_features == 7


def test_an_anndata_with_labels_that_others_have_as_parts_is_one(adata, write):
    adata.obs["barcodes"], adata.obsm["matrix"] = "x", np.ones((23, 2))
    assert read_inputs(write(adata, "a.h5ad"), None).n_features == 7


@pytest.mark.parametrize("where", ["memory", "a.h5ad", "a.zarr"])
def test_values_in_raw_alone(where, adata, matrix, write, tmp_path):
    adata.raw = adata.copy()
    adata.X, adata.layers = None, {}
    source = adata if where == "memory" else write(adata, where)
    message = r"the AnnData has no X, .* Its raw, .* has values: give adata\.raw\.to_adata\(\)"
    refused(source, message, tmp_path)
    with pytest.raises(InputError, match=r"layer='raw' is not in the AnnData; .*adata\.raw\.to_adata\(\)"):
        read_inputs(source, None, layer="raw")
    np.testing.assert_array_equal(
        read_inputs(adata.raw.to_adata(), None).stores[0].source.read(0, 23).toarray(), matrix
    )


def loom(path, adata):
    with h5py.File(path, "w") as file:
        file["matrix"] = adata.X.toarray().T
        file["col_attrs/CellID"], file["row_attrs/Gene"] = list(adata.obs_names), list(adata.var_names)


def ten_x(path, adata):
    with h5py.File(path, "w") as file:
        for part in ("data", "indices", "indptr", "shape"):
            file[f"matrix/{part}"] = getattr(adata.X, part)
        file["matrix/barcodes"], file["matrix/features/name"] = list(adata.obs_names), list(adata.var_names)


def old_ten_x(path, adata):
    with h5py.File(path, "w") as file:
        file["GRCh38/data"], file["GRCh38/barcodes"] = adata.X.data, list(adata.obs_names)


def hdf5_of_arrays(path, adata):
    with h5py.File(path, "w") as file:
        file["counts"] = adata.X.toarray()


def ten_x_folder(path, adata):
    path.mkdir()
    scipy.io.mmwrite(path / "matrix.mtx", adata.X.T)
    (path / "barcodes.tsv").write_text("\n".join(adata.obs_names))


def folder_with(name, make):
    def write(path, adata):
        path.mkdir()
        make(path / name, adata)

    return write


def h5ad(path, adata):
    adata.write_h5ad(path)


def text(content):
    return lambda path, _: path.write_bytes(content)


FILES = {
    "loom": ("m.loom", loom, r"m\.loom' is a Loom file\. .*anndata\.io\.read_loom\(.*\)\.write_h5ad\('m\.h5ad'\)"),
    "loom as h5ad": ("m.h5ad", loom, r"m\.h5ad' is a Loom file\."),
    "10x": ("m.h5", ten_x, r"m\.h5' is a matrix of 10x Genomics\. .*scanpy\.read_10x_h5\(.*var_names_make_unique"),
    "10x of old": ("m.h5", old_ten_x, r"m\.h5' is a matrix of 10x Genomics\."),
    "10x as h5ad": ("m.h5ad", ten_x, r"m\.h5ad' is a matrix of 10x Genomics\."),
    "10x folder": ("m", ten_x_folder, r"m' is a folder of 10x Genomics\. .*scanpy\.read_10x_mtx\(.*/m'\)\.write_h5ad"),
    "mtx": ("m.mtx", text(b"%%MatrixMarket"), r"m\.mtx' is a Matrix Market file.*mmread\(.*\)\.T\.tocsr"),
    "mtx.gz": (
        "m.mtx.gz",
        text(gzip.compress(b"%%M")),
        r"m\.mtx\.gz' is a Matrix Market file.*'m\.h5ad'",
    ),
    "h5ad under another name": ("m.h5", h5ad, r"m\.h5' is an AnnData\. Give its name the suffix \.h5ad: 'm\.h5ad'"),
    "hdf5": ("m.hdf5", hdf5_of_arrays, r"m\.hdf5' is an HDF5 file that holds counts\. Give the array in it"),
    "R": ("m.rds", text(b"\x1f\x8b"), r"m\.rds' is an object of R\. .*zellkonverter::writeH5AD"),
    "R workspace": ("m.RData", text(b"RDX3\n"), r"m\.RData' is a workspace of R\."),
    "Seurat": ("m.h5Seurat", text(b""), r"m\.h5Seurat' is a Seurat object\. .*SeuratDisk::Convert"),
    "Parquet": ("m.parquet", text(b"PAR1"), r"m\.parquet' is a Parquet file\. Give pandas\.read_parquet"),
    "Parquet under another name": ("m.data", text(b"PAR1"), r"m\.data' is a Parquet file; read it with pandas"),
    "spreadsheet": ("m.xls", text(b""), r"m\.xls' is a spreadsheet\. Save it as \.csv"),
    "pickle": ("m.pkl", text(b"\x80\x04"), r"m\.pkl' is a pickle, which is not read, since that may run any code"),
    "packed h5ad": ("m.h5ad.gz", text(b"\x1f\x8b"), r"m\.h5ad\.gz' is packed by gzip\. Unpack it with `gunzip .*gz`"),
    "packed store": ("m.zarr.zip", text(b"PK\x03\x04"), r"m\.zarr\.zip' is a zip archive\. Unpack it with `unzip"),
    "packed store, name and all": ("m.zarr", text(b"PK\x03\x04"), r"m\.zarr' is a zip archive; .* unpack any other"),
    "packed folder": ("m.tar.gz", text(b"\x1f\x8b"), r"m\.tar\.gz' is an archive\. Unpack it with `tar xf"),
    "folder of an h5ad": ("m", folder_with("a.h5ad", h5ad), r"m' is a folder that holds a\.h5ad\. .*'.*/m/a\.h5ad'"),
    "folder in itself": (
        "m.zarr",
        folder_with("m.zarr", lambda path, adata: zarr.create_array(path, data=adata.X.toarray())),
        r"m\.zarr' is a folder that holds m\.zarr\. Give the path of one, for example '.*/m\.zarr/m\.zarr'",
    ),
    "folder of a loom": (
        "m",
        folder_with("a.loom", loom),
        r"m' is a folder that holds 'a\.loom', which is a Loom file",
    ),
    "unknown": ("m.dat", text(b"\x01\x02"), r"got the path '.*m\.dat'; expected .* to an \.npz, or to a \.csv, \.tsv"),
    "unknown, packed": ("m.dat", text(b"\x1f\x8b\x08"), r"m\.dat' is packed by gzip; unpack it with gunzip"),
    "empty folder": ("m", lambda path, _: path.mkdir(), r"got the path '.*/m'; expected"),
}


@pytest.mark.filterwarnings("ignore:Moving element:FutureWarning")
@pytest.mark.parametrize("case", FILES)
def test_files_and_folders(case, adata, tmp_path):
    name, make, message = FILES[case]
    folder = tmp_path / "given"
    folder.mkdir()
    make(folder / name, adata)
    refused(folder / name, rf".*{message}", tmp_path)


def test_the_repair_of_an_hdf5_of_arrays(adata, matrix, tmp_path):
    hdf5_of_arrays(tmp_path / "m.h5", adata)
    array = h5py.File(tmp_path / "m.h5")["counts"]
    refused(array, r"got an object of type Dataset; .*Here: give array\[\.\.\.\], or dask\.array\.from_array", tmp_path)
    lazy = da.from_array(array, chunks=(1000, -1))
    fits = [BCNMF(2, alpha=0.0, max_iter=2, tol=0).fit(rows, client=False) for rows in (matrix, array[...], lazy)]
    assert len({fit.components_.tobytes() for fit in fits}) == 1


OBJECTS = {
    "xarray": (lambda adata, _: xr.Dataset({"counts": (("a", "b"), adata.X.toarray())}), r"dataset\['counts'\]"),
    "zarr": (lambda adata, path: zarr.create_array(path / "z", data=adata.X.toarray()), "da?.*from_zarr"),
    "zarr group": (lambda adata, path: zarr.create_group(path / "z"), r"anndata\.io\.read_elem"),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_objects(case, adata, tmp_path):
    make, message = OBJECTS[case]
    refused(make(adata, tmp_path), rf"got an object of type \w+; .* Here: give .*{message}", tmp_path)


def test_objects_of_libraries_that_are_not_here(monkeypatch, tmp_path):
    library = types.ModuleType("torch")
    library.Tensor = type("Tensor", (), {"__module__": "torch"})
    monkeypatch.setitem(sys.modules, "torch", library)
    refused(library.Tensor(), r"got an object of type Tensor; .* Here: give tensor\.cpu\(\)\.numpy\(\)", tmp_path)
