"""A result that is written aside and appears under its name only when it is whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Self
from uuid import uuid4

from dask.utils import format_bytes

from bcnmf_dask.errors import InputError, NameTakenError, OutputError
from bcnmf_dask.results.factors import RowNames
from bcnmf_dask.results.layout import write_result, write_row_names
from bcnmf_dask.results.record import FitResult
from bcnmf_dask.results.temporaries import TemporaryFolder
from bcnmf_dask.updates.statistics import Role


class Output:
    """The place of a result: a folder aside to write into, and the name it gets at the end.

    Attributes
    ----------
    location : str
        The folder aside. It lies next to ``path``, so that giving it its name is one atomic rename.
    path : str
        Where the result will be.
    folder : TemporaryFolder or None
        That both are in, and that whoever reads the result has to hold; None where a path was given.
    """

    def __init__(self, location: Path, path: Path, argument: str, folder: TemporaryFolder | None = None) -> None:
        self.location = str(location)
        self.path = str(path)
        self.folder = folder
        self._argument = argument
        self._whole = False

    @classmethod
    def at(cls, out: str | os.PathLike[str], argument: str = "out") -> Self:
        """Check that a result can be written to ``out``, and make the folder aside.

        Parameters
        ----------
        out : path
            Where the result shall be.
        argument : str
            What messages call ``out``.

        Raises
        ------
        InputError
            ``out`` exists, or its folder does not, or cannot be written to.
        """
        path = free_path(out, argument)
        location = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
        _make(location, out, argument)
        return cls(location, path, argument)

    @classmethod
    def within(cls, folder: TemporaryFolder) -> Self:
        """Make the place of a result in a temporary folder.

        Parameters
        ----------
        folder : TemporaryFolder

        Raises
        ------
        InputError
            It cannot be written to.
        """
        path = Path(folder.path) / "fit.zarr"
        location = path.with_name("fit.zarr.partial")
        _make(location, path, "out")
        return cls(location, path, "out", folder)

    def finish(self, result: FitResult) -> None:
        """Write all of ``result`` that is not there yet, then give it its name.

        Usages may be NumPy, DataArray or Dask; those that workers have already written are left as they are.

        Raises
        ------
        OutputError
            The result cannot be written.
        NameTakenError
            Something else has taken the name since `at`: then the result is whole, under another name beside it.
        """
        with self.writing():
            write_result(self.location, result)
            self._whole = True
            # A rename would silently replace an empty folder.
            if os.path.lexists(self.path):
                rescued = rescue_path(self.path)
                Path(self.location).rename(rescued)
                raise NameTakenError(
                    f"{self._argument}: {self.path!r} has come into being while the fit ran, and is not overwritten. "
                    f"The fit is whole, at {rescued!r}.",
                    rescued,
                )
            Path(self.location).rename(self.path)

    def keep_names(self, role: Role, n_rows: int, names: RowNames | None) -> None:
        """Write the names of the rows of a role, which at the end of a long fit might no longer be there to be read.

        Raises
        ------
        InputError
            They cannot be read or decoded.
        OutputError
            They cannot be written.
        """
        with self.writing():
            write_row_names(self.location, role, n_rows, names)

    def refuse_lack_of_room(self, nbytes: int) -> None:
        """Refuse a disk on which usages of this size do not fit.

        Raises
        ------
        InputError
        """
        free = shutil.disk_usage(self.location).free
        if nbytes > free:
            given = (
                f"{self.path!r} is on" if self.folder is None else "none was given, and the temporary directory is on"
            )
            raise InputError(
                f"{self._argument}: {given} a disk with {format_bytes(free)} free, but the usages take up to "
                f"{format_bytes(nbytes)}. Free space there, or give a path on another disk."
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say in words that the result cannot be written, with the place and the reason.

        Raises
        ------
        OutputError
            For any OSError.
        """
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._argument}: the result cannot be written to {self.path!r} ({_reason(error)}). Free space there "
                "or give a path on another disk."
            ) from error

    def discard(self) -> None:
        """Remove what was written aside; a result that is already whole stays."""
        if not self._whole:
            # Errors are ignored: this runs while another error is on its way to the user.
            shutil.rmtree(self.location, ignore_errors=True)
            if self.folder is not None:
                self.folder.remove()


def rescue_path(path: str) -> str:
    """A free name beside that of a result, for what can be had of it after all: ``fit.rescued.zarr``."""
    wanted = Path(path)
    endings = (".rescued" if number == 1 else f".rescued-{number}" for number in count(1))
    names = (wanted.with_name(f"{wanted.stem}{ending}{wanted.suffix}") for ending in endings)
    return str(next(name for name in names if not os.path.lexists(name)))


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def free_path(out: str | os.PathLike[str], argument: str) -> Path:
    """The absolute path of ``out``, at which something can be made.

    Parameters
    ----------
    out : path
        As the user gave it.
    argument : str
        What messages call it.

    Raises
    ------
    InputError
        It exists, its folder does not, or it is a URL.
    """
    if not os.fspath(out):
        raise InputError(f"{argument}: got an empty path. Give the path of a new store.")
    if "://" in os.fspath(out):
        raise InputError(
            f"{argument}: {os.fspath(out)!r} is a URL, but results are written to local folders. Give a path, and copy "
            "what is there afterwards."
        )
    # Absolute, because workers have working directories of their own.
    path = Path(out).expanduser().absolute()
    if os.path.lexists(path):
        raise InputError(
            f"{argument}: {os.fspath(out)!r} already exists, and is not overwritten. Remove it or give another path."
        )
    if not path.parent.is_dir():
        raise InputError(
            f"{argument}: {os.fspath(out)!r} cannot be made, because there is no folder {str(path.parent)!r}. "
            "Create that folder first or give another path."
        )
    return path


def _make(location: Path, out: str | os.PathLike[str], argument: str) -> None:
    try:
        location.mkdir()
    except (OSError, ValueError) as error:  # which one, if the name is none, depends on the name
        raise InputError(
            f"{argument}: {os.fspath(out)!r} cannot be written in the folder {str(location.parent)!r} "
            f"({_reason(error)}). Give a path with a plain name in a folder that you may write to and that has space."
        ) from error
