"""Where stores are: local paths, and URLs of any kind that fsspec knows.

A URL is opened with what fsspec is told by its own configuration and the environment, credentials included: workers
need the same.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec.core

from bcnmf_dask.errors import InputError

Location = str | os.PathLike[str]
Stamp = tuple[int | str, ...]
"""What tells a file or a folder from one that takes its place."""

METADATA = ("zarr.json", ".zarray", ".zgroup")
"""Of any part of a Zarr store, one of these is a file in it."""
FILE = "file://"


def is_location(value: Any) -> bool:
    """Whether it is of a type that names a place."""
    return isinstance(value, str | os.PathLike)


def absolute(location: Location) -> str:
    """The same place seen from any working directory: an absolute path, or a URL without its last slash."""
    given = os.fspath(location)
    if given.startswith(FILE):
        given = fsspec.core.strip_protocol(given)
    return given.rstrip("/") if is_url(given) else str(Path(given).absolute())


def is_url(location: Location) -> bool:
    """Whether it is to be opened by fsspec; ``file://`` URLs stand for local paths."""
    given = os.fspath(location)
    return "://" in given and not given.startswith(FILE)


def exists(location: Location) -> bool:
    """Whether anything is there.

    Raises
    ------
    InputError
        If fsspec does not know such URLs.
    OSError
        If that cannot be told. Other errors, too: each kind of URL fails in its own way.
    """
    if not is_url(location):
        return Path(absolute(location)).exists()
    files, root = _opened(location)
    return bool(files.exists(root)) or holds_zarr(location)  # object stores have no folders


def is_file(location: Location) -> bool:
    """Whether it is a local file: of what URLs point to, only Zarr stores are read."""
    return not is_url(location) and Path(absolute(location)).is_file()


def holds_zarr(location: Location) -> bool:
    """Whether it is a folder or prefix with the files that make it a part of a Zarr store."""
    if not is_url(location):
        return any(Path(absolute(location), mark).exists() for mark in METADATA)
    files, root = _opened(location)
    return any(files.exists(f"{root}/{mark}") for mark in METADATA)


def stamp_of(path: str, element: str) -> Stamp:
    """What tells ``element`` of the store at the absolute ``path`` from one that takes its place.

    Raises
    ------
    OSError
        If there is no such store.
    """
    if is_url(path):
        files, root = _opened(path)
        for mark in METADATA:
            with suppress(FileNotFoundError):
                return _stamp_of_file(files, f"{root}/{element}/{mark}" if element else f"{root}/{mark}")
        raise FileNotFoundError(f"no part {element!r}")
    # The parts of a Zarr store are folders of their own; of any other file we see only the whole.
    part = Path(path, element)
    stat = (part if part.exists() else Path(path)).stat()
    return stat.st_ino, stat.st_mtime_ns


def _stamp_of_file(files: Any, path: str) -> Stamp:
    """Its content, and what the server says of when it was written."""
    content = files.cat_file(path)
    try:
        info = files.info(path)
    except FileNotFoundError as error:  # what fsspec also says of a server that does not answer
        raise ConnectionError(f"{shown(path)} was there, and then was not") from error
    said = [str(info[key]) for key in ("ETag", "LastModified", "mtime", "created") if key in info]
    return (hashlib.blake2b(content, digest_size=16).hexdigest(), *said)


def shown(location: Location) -> str:
    """The location for messages: without the password and the query that a URL may have."""
    given = os.fspath(location)
    # One store inside another has a URL for each.
    return "::".join(map(_shown, given.split("::"))) if is_url(given) else given


def _shown(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _opened(url: Location) -> tuple[Any, str]:
    """The filesystem of a URL, and what that calls it."""
    try:
        files, root = fsspec.core.url_to_fs(os.fspath(url))
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{shown(url)!r} cannot be opened ({error}). Give a local path, or a URL of a kind that fsspec and its "
            "installed extensions know (s3:// needs the package s3fs)."
        ) from error
    files.invalidate_cache()
    return files, root.rstrip("/")
