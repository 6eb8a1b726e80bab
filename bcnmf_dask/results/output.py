"""A result that is written aside and appears under its name only when it is whole."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

from bcnmf_dask.errors import InputError, OutputError
from bcnmf_dask.results.layout import write_result
from bcnmf_dask.results.record import FitResult


class Output:
    """The place of a result: a folder aside to write into, and the name it gets at the end.

    Attributes
    ----------
    location : str
        The folder aside. It lies next to ``path``, so that giving it its name is one atomic rename.
    path : str
        Where the result will be.
    """

    def __init__(self, location: Path, path: Path, scrap: Path, argument: str) -> None:
        self.location = str(location)
        self.path = str(path)
        self._argument = argument
        self._scrap = scrap
        self._whole = False

    @classmethod
    def at(cls, out: str | os.PathLike[str] | None, argument: str = "out") -> Self:
        """Check that a result can be written to ``out``, and make the folder aside.

        Parameters
        ----------
        out : path or None
            Where the result shall be. None: in a new temporary directory, which is left for the user to keep
            or remove.
        argument : str
            What messages call ``out``.

        Raises
        ------
        InputError
            ``out`` exists, or its folder does not, or cannot be written to.
        """
        if out is None:
            folder = _temporary(argument)
            return cls(folder / "fit.zarr.partial", folder / "fit.zarr", folder, argument)
        path = free_path(out, argument)
        location = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
        _make(location, out, argument)
        return cls(location, path, location, argument)

    def finish(self, result: FitResult) -> None:
        """Write all of ``result`` that is not there yet, then give it its name.

        Usages may be NumPy, DataArray or Dask; those that workers have already written are left as they are.

        Raises
        ------
        OutputError
            The result cannot be written; or something else has taken the name since `at`: then the result is whole
            and stays at ``location``.
        """
        with self.writing(result):
            write_result(self.location, result)
            self._whole = True
            # A rename would silently replace an empty folder.
            if os.path.lexists(self.path):
                raise OutputError(
                    f"{self._argument}: {self.path!r} has come into being while the fit ran, and is not overwritten. "
                    f"The fit is whole, at {self.location!r}: give that folder another name.",
                    result,
                )
            Path(self.location).rename(self.path)

    @contextmanager
    def writing(self, result: FitResult) -> Iterator[None]:
        """Say of ``result`` in words that it cannot be written, with the place and the reason.

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
                "or give a path on another disk.",
                result,
            ) from error

    def discard(self) -> None:
        """Remove what was written aside; a result that is already whole stays."""
        if not self._whole:
            # Errors are ignored: this runs while another error is on its way to the user.
            shutil.rmtree(self._scrap, ignore_errors=True)


def _temporary(argument: str) -> Path:
    """A new temporary folder, and in it the one aside."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="bcnmf-"))
        (folder / "fit.zarr.partial").mkdir()
    except OSError as error:
        raise InputError(
            f"{argument}: none was given, and no temporary folder can be made for the result ({_reason(error)}). "
            f"Free space, give {argument}=, or set the environment variable TMPDIR to a folder with space."
        ) from error
    return folder


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


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
    except OSError as error:
        raise InputError(
            f"{argument}: {os.fspath(out)!r} cannot be written in the folder {str(location.parent)!r} "
            f"({_reason(error)}). Give a path in a folder that you may write to and that has space."
        ) from error
