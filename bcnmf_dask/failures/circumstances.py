"""What is looked up once something has failed: whose a file is, what it is compressed with, what is installed."""

import getpass
import stat
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py

PACKAGES = {
    "imagecodecs": "imagecodecs (and call imagecodecs.numcodecs.register_codecs() in each process)",
    "pcodec": "numcodecs[pcodec]",
    "zfpy": "numcodecs[zfpy]",
    "msgpack": "numcodecs[msgpack]",
    "crc32c": "numcodecs[crc32c]",
    "wavpack": "wavpack-numcodecs",
    "flac": "flac-numcodecs",
    "blosc2": "blosc2",
}
"""Where codecs come from, by what is in their names."""


def owner_of(location: str) -> str:
    """The sentence on a local file that may not be read: whose it is, and how to ask for it."""
    whose = ""
    with suppress(OSError, KeyError, ValueError):
        path = Path(location).absolute()
        whose = f"; it belongs to {path.owner()} ({stat.filemode(path.stat().st_mode)})"
    return (
        f"It, or a folder on the way to it, may not be read by {_me()}{whose}. Its owner opens it with "
        "`chmod -R a+rX PATH`, and the folders above with `chmod a+x FOLDER`."
    )


def _me() -> str:
    try:
        return f"the user {getpass.getuser()}"
    except (KeyError, OSError):  # a number without a name, as in containers
        return "the user of this process"


def package_of(codec: str) -> str:
    """What to install for a codec."""
    return next((package for part, package in PACKAGES.items() if part in codec), "the package that provides it")


def versions() -> str:
    """The libraries that read stores, with their versions."""
    known = [f"{name} {_version(name)}" for name in ("anndata", "zarr", "h5py", "numpy")]
    return f"{', '.join(known)} and HDF5 {h5py.version.hdf5_version}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(of unknown version)"


def filters_missing(location: str) -> str:
    """The filters of an HDF5 file that are not there, by name."""
    missing: set[str] = set()

    def look(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            plist = item.id.get_create_plist()
            for place in range(plist.get_nfilters()):
                code, _, _, name = plist.get_filter(place)
                if not h5py.h5z.filter_avail(code):
                    called = name.decode(errors="replace").partition(";")[0]
                    missing.add(f"filter {code} ({called or 'without a name'})")

    with suppress(Exception), h5py.File(location, "r") as file:  # of a file that has failed already
        file.visititems(look)
    return ", ".join(sorted(missing)) or "a filter"
