"""What of an HDF5 dataset is not there, which HDF5 reads as zeros without a word, and where an open file is."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

SEVERAL = 8
"""Virtual datasets may refer to others, and these to the first again: further than this is not looked."""


def missing_part(dataset: h5py.Dataset, depth: int = 0) -> str | None:
    """What of a dataset was never written, or lies in files that are not there, in words; None if it is whole.

    Parameters
    ----------
    dataset : h5py.Dataset
    depth : int
        How many virtual datasets refer to it, one through the other.
    """
    if dataset.external:
        return f"it lies in other files, without any format ({dataset.external[0][0]!r})"
    if dataset.is_virtual:
        return next(_lost_sources(dataset, depth), None)
    if not dataset.size:
        return None
    if dataset.chunks is None:
        never = dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED
        return "its values were never written" if never and not _compact(dataset) else None
    n_chunks = math.prod(-(-length // size) for length, size in zip(dataset.shape, dataset.chunks, strict=True))
    lost = n_chunks - int(dataset.id.get_num_chunks())
    return f"{lost} of its {n_chunks} chunk(s) were never written" if lost > 0 else None


def path_of(file: h5py.File) -> str | None:
    """The absolute path of an open file; None if it was removed, or another has taken its place.

    The name that it was opened by may be one seen from a folder that this process has left since.
    """
    number = file.id.get_vfd_handle()
    there = os.fstat(number)
    names = [Path(file.filename).absolute()]
    with suppress(OSError):  # other systems than Linux do not tell
        names.insert(0, Path(f"/proc/self/fd/{number}").readlink())
    for name in names:
        with suppress(OSError):
            if os.path.samestat(name.stat(), there):
                return str(name)
    return None


def _compact(dataset: h5py.Dataset) -> bool:
    """Whether the values lie in the header of the dataset."""
    return bool(dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT)


def _lost_sources(dataset: h5py.Dataset, depth: int) -> Iterator[str]:
    """What is missing of the sources of a virtual dataset."""
    mapped = 0
    for source in dataset.virtual_sources():
        mapped += int(source.vspace.get_select_npoints())
        if "%b" in source.file_name or "%b" in source.dset_name:  # a pattern of names, of which there may be any number
            yield f"it is virtual, over files named by a pattern ({source.file_name!r})"
            return
        lost = _lost_source(dataset, source, depth)
        if lost is not None:
            yield lost
    if mapped < dataset.size:
        yield f"it is virtual, and only {mapped} of its {dataset.size} values have a source"


def _lost_source(dataset: h5py.Dataset, source: Any, depth: int) -> str | None:
    if source.file_name == ".":
        return _part_of(dataset.file, source.dset_name, depth)
    places = [place for place in _places(dataset, source.file_name) if place.is_file()]
    if not places:
        return f"it is virtual, and there is no file {source.file_name!r} that it refers to"
    try:
        with h5py.File(places[0], "r") as file:
            return _part_of(file, source.dset_name, depth)
    except OSError as error:
        return f"it is virtual, and {str(places[0])!r} that it refers to cannot be read ({error})"


def _part_of(file: h5py.File, name: str, depth: int) -> str | None:
    there = file.get(name)
    if not isinstance(there, h5py.Dataset):
        return f"it is virtual, and there is no dataset {name!r} in {file.filename!r} that it refers to"
    if depth >= SEVERAL:
        return "it is virtual over virtual datasets, over and over"
    lost = missing_part(there, depth + 1)
    return None if lost is None else f"it is virtual, and of {name!r} in {file.filename!r}: {lost}"


def _places(dataset: h5py.Dataset, name: str) -> Iterator[Path]:
    """Where HDF5 looks for the file of a source, in its order."""
    prefixes = (os.environ.get("HDF5_VDS_PREFIX", ""), dataset.id.get_access_plist().get_virtual_prefix().decode())
    folder = Path(dataset.file.filename).absolute().parent
    if Path(name).is_absolute():
        yield Path(name)
        name = Path(name).name
    for prefix in filter(None, prefixes):
        yield Path(prefix.replace("${ORIGIN}", str(folder)), name)
    yield folder / name
    yield Path(name)
