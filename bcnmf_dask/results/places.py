"""A folder or URL to keep files in, each of which can be proved to be as it was written."""

import hashlib
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec.core
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from bcnmf_dask.errors import CheckpointError, InputError


class Place:
    """A local folder, or a prefix of an object store; files and folders in it are named relative to it.

    Parameters
    ----------
    location : str
        A path, or a URL that fsspec knows (``"s3://bucket/fit"``).
    argument : str
        What messages call the location.

    Raises
    ------
    InputError
        There is no folder to make it in, a file has its name, or fsspec cannot open the URL.
    """

    def __init__(self, location: str, argument: str) -> None:
        self.location, self._files, self._root = _open(location, argument)
        self._local = isinstance(self._files, LocalFileSystem)
        if self._local:
            _check_folder(Path(self.location), argument)

    def make(self, folder: str) -> None:
        """Make a new folder, and the place itself where needed; object stores have no folders to make."""
        if self._local:
            Path(self.location, folder).mkdir(parents=True)

    def names(self) -> list[str]:
        """Names of what lies in the place; none if the place is not there."""
        # Workers write through filesystem objects of their own, of which a cached listing knows nothing.
        self._files.invalidate_cache()
        try:
            return [path.rstrip("/").rpartition("/")[2] for path in self._files.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []

    def write(self, file: str, content: bytes) -> None:
        """Write a file whole; OSError if that fails."""
        self._files.pipe_file(f"{self._root}/{file}", content)

    def read(self, file: str) -> bytes:
        """Content of a file; FileNotFoundError if there is none, other OSErrors if it cannot be read."""
        content: bytes = self._files.cat_file(f"{self._root}/{file}")
        return content

    def write_array(self, file: str, values: NDArray[Any]) -> dict[str, Any]:
        """Write an array as ``.npy``; returns what `read_array` proves the file by."""
        buffer = BytesIO()
        np.save(buffer, values, allow_pickle=False)
        content = buffer.getvalue()
        self.write(file, content)
        return {"bytes": len(content), "checksum": checksum(content)}

    def read_array(self, file: str, proof: dict[str, Any]) -> NDArray[Any]:
        """Read an array that `write_array` wrote; CheckpointError says what is wrong with the file."""
        name = file.rpartition("/")[2]
        try:
            content = self.read(file)
        except OSError as error:
            raise CheckpointError(f"its file {name!r} is missing or cannot be read") from error
        if len(content) != proof["bytes"]:
            raise CheckpointError(f"its file {name!r} has {len(content)} bytes instead of {proof['bytes']}")
        if checksum(content) != proof["checksum"]:
            raise CheckpointError(f"its file {name!r} was altered (its checksum differs)")
        values: NDArray[Any] = np.load(BytesIO(content), allow_pickle=False)
        return values

    def write_last(self, folder: str, file: str, content: bytes) -> None:
        """Write a file to a folder once all else in that folder, whoever wrote it, is safe from a power cut."""
        if self._local:
            for path, _, names in os.walk(Path(self.location, folder)):
                for name in names:
                    _flush(Path(path, name))
                _flush_folder(Path(path))
        self.write(f"{folder}/{file}", content)
        if self._local:
            _flush(Path(self.location, folder, file))
            _flush_folder(Path(self.location, folder))
            _flush_folder(Path(self.location))

    def remove(self, folder: str, first: str) -> None:
        """Remove a folder if it is there, one of its files before all others; may raise whatever fsspec raises."""
        self._files.invalidate_cache()
        for path, remove in ((f"{folder}/{first}", self._files.rm_file), (folder, self._remove_tree)):
            if self._files.exists(f"{self._root}/{path}"):
                remove(f"{self._root}/{path}")

    def _remove_tree(self, path: str) -> None:
        self._files.rm(path, recursive=True)


def checksum(content: bytes) -> str:
    """A digest of 128 bits, as hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _open(location: str, argument: str) -> tuple[str, Any, str]:
    """The absolute path or the URL, its fsspec filesystem, and what that filesystem calls it."""
    if "::" in location:
        raise InputError(
            f"{argument}: {location!r} contains '::', which stands for one store inside another. "
            "Give a plain folder or URL."
        )
    scheme, mark, rest = location.partition("://")
    # Absolute, because workers have working directories of their own.
    whole = f"{scheme}{mark}{rest.rstrip('/')}" if mark else str(Path(location).expanduser().absolute())
    try:
        files, root = fsspec.core.url_to_fs(whole)
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{argument}: {location!r} cannot be opened ({error}). Give a local folder, or a URL of a kind that "
            "fsspec and its installed extensions know (s3:// needs the package s3fs)."
        ) from error
    return (root if isinstance(files, LocalFileSystem) else whole), files, root.rstrip("/")


def _check_folder(path: Path, argument: str) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{argument}: {str(path)!r} is a file. Give the path of a folder, which need not exist yet.")
    if not path.parent.is_dir():
        raise InputError(
            f"{argument}: {str(path)!r} cannot be made, because there is no folder {str(path.parent)!r}. "
            "Create that folder first or give another path."
        )


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(path: Path) -> None:
    # Some network filesystems refuse this for folders, and keep their own order of writing.
    with suppress(OSError):
        _flush(path)
