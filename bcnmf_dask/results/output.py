"""A result that is written aside and appears under its name only when it is whole."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self
from uuid import uuid4

from bcnmf_dask.errors import InputError
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

    def __init__(self, location: Path, path: Path, scrap: Path) -> None:
        self.location = str(location)
        self.path = str(path)
        self._scrap = scrap
        self._whole = False

    @classmethod
    def at(cls, out: str | os.PathLike[str] | None) -> Self:
        """Check that a result can be written to ``out``, and make the folder aside.

        Parameters
        ----------
        out : path or None
            Where the result shall be. None: in a new temporary directory, which is left for the user to keep
            or remove.

        Raises
        ------
        InputError
            ``out`` exists, or its folder does not, or cannot be written to.
        """
        if out is None:
            folder = Path(tempfile.mkdtemp(prefix="bcnmf-"))
            path, location = folder / "fit.zarr", folder / "fit.zarr.partial"
            location.mkdir()
            return cls(location, path, scrap=folder)
        path = _free_path(out)
        location = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
        _make(location, out)
        return cls(location, path, scrap=location)

    def finish(self, result: FitResult) -> None:
        """Write all of ``result`` that is not there yet, then give it its name.

        Usages may be NumPy, DataArray or Dask; those that workers have already written are left as they are.

        Raises
        ------
        InputError
            Something else has taken the name since `at`. The result is whole and stays at ``location``.
        """
        write_result(self.location, result)
        self._whole = True
        # A rename would silently replace an empty folder.
        if os.path.lexists(self.path):
            raise InputError(
                f"out: {self.path!r} has come into being while the fit ran, and is not overwritten. "
                f"The fit is whole, at {self.location!r}: give that folder another name."
            )
        Path(self.location).rename(self.path)

    def discard(self) -> None:
        """Remove what was written aside; a result that is already whole stays."""
        if not self._whole:
            # Errors are ignored: this runs while another error is on its way to the user.
            shutil.rmtree(self._scrap, ignore_errors=True)


def _free_path(out: str | os.PathLike[str]) -> Path:
    # Absolute, because workers have working directories of their own.
    path = Path(out).expanduser().absolute()
    if os.path.lexists(path):
        raise InputError(
            f"out: {os.fspath(out)!r} already exists, and is not overwritten. Remove it or give another path."
        )
    if not path.parent.is_dir():
        raise InputError(
            f"out: {os.fspath(out)!r} cannot be made, because there is no folder {str(path.parent)!r}. "
            "Create that folder first or give another path."
        )
    return path


def _make(location: Path, out: str | os.PathLike[str]) -> None:
    try:
        location.mkdir()
    except OSError as error:
        raise InputError(
            f"out: {os.fspath(out)!r} cannot be written in the folder {str(location.parent)!r} "
            f"({error.strerror}). Give a path in a folder that you may write to."
        ) from error
