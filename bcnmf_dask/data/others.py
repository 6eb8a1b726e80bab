"""What is not read here, known by its name or by what it holds, with the way to something that is."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
from anndata import AnnData

from bcnmf_dask.data.locations import Location, absolute
from bcnmf_dask.data.wording import shortened
from bcnmf_dask.failures.signatures import HDF5, LOOKED_AT, kind_of

OBJECTS: dict[tuple[str, str], str] = {
    ("spatialdata", "SpatialData"): "give one of its tables, for example sdata.tables['table']",
    ("xarray", "Dataset"): "give one of its variables, for example dataset['counts']",
    ("zarr", "Array"): "give its path, or dask.array.from_zarr(array)",
    ("zarr", "Group"): "give its path, or anndata.io.read_elem(group) if it is an AnnData",
    ("h5py", "Dataset"): "give array[...], or dask.array.from_array(array, chunks=(1000, -1))",
    ("h5py", "Group"): "give its path if it is an .h5ad, or anndata.io.read_elem(group)",
    ("polars", "DataFrame"): "give frame.to_pandas()",
    ("torch", "Tensor"): "give tensor.cpu().numpy()",
}
"""Objects by the library and the name of their type, and what to give instead."""

SUFFIXES: dict[str, str] = {
    ".loom": "a Loom file. Write it as .h5ad: anndata.io.read_loom({path!r}).write_h5ad({new!r})",
    ".mtx": (
        "a Matrix Market file, which tells nothing of names. Write the folder of a 10x matrix as .h5ad: "
        "scanpy.read_10x_mtx({folder!r}).write_h5ad({new!r}); any other with genes in rows: "
        "scipy.sparse.save_npz('counts.npz', scipy.io.mmread({path!r}).T.tocsr())"
    ),
    ".rds": (
        "an object of R. Write it as .h5ad in R: zellkonverter::writeH5AD(as.SingleCellExperiment(readRDS({path!r})), "
        "{new!r})"
    ),
    ".rdata": "a workspace of R. Write the object in it as .h5ad in R: zellkonverter::writeH5AD(object, {new!r})",
    ".h5seurat": "a Seurat object. Write it as .h5ad in R: SeuratDisk::Convert({path!r}, dest='h5ad')",
    ".parquet": "a Parquet file. Give pandas.read_parquet({path!r}), with names of cells as index",
    ".feather": "a Feather file. Give pandas.read_feather({path!r}), with names of cells as index",
    ".xlsx": "a spreadsheet. Save it as .csv, or give pandas.read_excel({path!r}, index_col=0)",
    ".pkl": "a pickle, which is not read, since that may run any code. Load it, and give the object",
    ".mat": "a file of MATLAB. Give an array of scipy.io.loadmat({path!r}), with cells in rows",
    ".nc": "a NetCDF file. Give xarray.open_dataarray({path!r}), or write it with .to_zarr",
    ".zip": "a zip archive. Unpack it with `unzip {path}`, and give what was in it",
    ".tar": "an archive. Unpack it with `tar xf {path}`, and give what was in it",
    ".gz": "packed by gzip. Unpack it with `gunzip {path}`, and give what was in it",
    ".bz2": "packed by bzip2. Unpack it with `bunzip2 {path}`, and give what was in it",
    ".xz": "packed by xz. Unpack it with `unxz {path}`, and give what was in it",
    ".zst": "packed by zstd. Unpack it with `unzstd {path}`, and give what was in it",
}
"""Files by the end of their names: what they are, and the way to one that is read."""

ALIKE = {
    **{".rda": ".rdata", ".arrow": ".feather", ".xls": ".xlsx", ".ods": ".xlsx", ".pickle": ".pkl"},
    **{".joblib": ".pkl", ".netcdf": ".nc", ".nc4": ".nc", ".tgz": ".tar"},
}


def other_object(value: Any) -> str | None:
    """What to give instead of an object that is of no kind we know; None if nothing better is known."""
    modalities = getattr(value, "mod", None)
    if isinstance(modalities, Mapping) and all(isinstance(part, AnnData) for part in modalities.values()):
        names = shortened(list(modalities))
        return f"give one of its modalities, for example mdata[{next(iter(modalities), 'rna')!r}] (there are: {names})"
    types = {(base.__module__.partition(".")[0], base.__name__) for base in type(value).__mro__}
    return next((instead for known, instead in OBJECTS.items() if known in types), None)


def other_file(path: Location, is_read: Callable[[Location], bool]) -> str | None:
    """What a file or folder is that is not read, and the way to one that is; None if we do not know.

    Parameters
    ----------
    path : str or os.PathLike
        Local, and there.
    is_read : callable
        Whether a path is of a kind that is read.
    """
    place = Path(absolute(path))
    if place.is_dir():
        return _folder(os.fspath(path), place, is_read)
    with suppress(OSError):  # what cannot be looked into is known by its name alone
        with place.open("rb") as file:
            content = file.read(LOOKED_AT)
        if content.startswith(HDF5) and (inside := _inside(os.fspath(path), place)):
            return inside
        return _by_name(os.fspath(path)) or kind_of(content)
    return _by_name(os.fspath(path))


def layout_of(location: str, root: Any) -> str | None:
    """What a store of HDF5 or Zarr holds that is no AnnData, and the way to one; None if we do not know."""
    new = Path(location).with_suffix(".h5ad").name
    parts = set(root)
    if "mod" in parts:
        names = list(root["mod"])
        first = names[0] if names else "rna"
        if isinstance(root, h5py.Group):
            way = f"Write one of its modalities as .h5ad: mudata.read_h5mu({location!r})[{first!r}].write_h5ad({new!r})"
        else:
            way = f"Give the path of one of its modalities, for example {f'{location}/mod/{first}'!r}"
        return f"a MuData with the modalities {shortened(names) or 'none'}. {way}"
    if "tables" in parts and not isinstance(root, h5py.Group):
        first = next(iter(root["tables"]), "table")
        return f"a SpatialData. Give the path of one of its tables, for example {f'{location}/tables/{first}'!r}"
    if {"obs", "var"} <= parts:
        return None
    if {"matrix", "row_attrs", "col_attrs"} <= parts:
        return SUFFIXES[".loom"].format(path=location, new=new)
    if any("barcodes" in root[part] for part in parts if isinstance(root[part], h5py.Group)):
        return (
            f"a matrix of 10x Genomics. Write it as .h5ad: adata = scanpy.read_10x_h5({location!r}); "
            f"adata.var_names_make_unique(); adata.write_h5ad({new!r})"
        )
    return None


def _inside(location: str, place: Path) -> str | None:
    """The same for a file of HDF5 of any name."""
    with suppress(Exception), h5py.File(place, "r") as root:  # what cannot be opened is known by its name alone
        if found := layout_of(location, root):
            return found
        if {"obs", "var"} <= set(root):
            return f"an AnnData. Give its name the suffix .h5ad: {place.with_suffix('.h5ad').name!r}"
        return (
            f"an HDF5 file that holds {shortened(sorted(root)) or 'nothing'}. Give the array in it, for example "
            f"h5py.File({location!r})['counts'][...], or make an AnnData of it"
        )
    return None


def _by_name(location: str) -> str | None:
    suffix = Path(location.lower().removesuffix(".gz")).suffix
    suffix = suffix if ALIKE.get(suffix, suffix) in (".mtx", ".rds", ".tar") else Path(location).suffix.lower()
    if suffix == ".h5mu":
        return f"a MuData. Write a modality as .h5ad: mudata.read_h5mu({location!r})['rna'].write_h5ad('rna.h5ad')"
    known = SUFFIXES.get(ALIKE.get(suffix, suffix))
    new = f"{Path(location).name.partition('.')[0]}.h5ad"
    return known and known.format(path=location, folder=os.fspath(Path(location).parent), new=new)


def _folder(location: str, place: Path, is_read: Callable[[Location], bool]) -> str | None:
    """What a folder that is no Zarr store has in it."""
    names = sorted(part.name for part in place.iterdir())
    if any(name in names for name in ("matrix.mtx", "matrix.mtx.gz")):
        return f"a folder of 10x Genomics. Write it as .h5ad: scanpy.read_10x_mtx({location!r}).write_h5ad('10x.h5ad')"
    whole = [name for name in names if is_read(place / name)]
    if whole:
        there = os.fspath(Path(location) / whole[0])
        return f"a folder that holds {shortened(whole)}. Give the path of one, for example {there!r}"
    inside = ((name, other_file(place / name, is_read)) for name in names if (place / name).is_file())
    return next((f"a folder that holds {name!r}, which is {found}" for name, found in inside if found), None)
