"""Where snapshots go if there is no checkpoint: a folder that the driver and all workers see."""

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from uuid import uuid4

import dask


class Scratch:
    """A temporary folder of the driver, with at most one snapshot of each fit in it.

    It lies in ``temporary-directory`` of the Dask configuration, or where the system has such folders; workers
    on other machines see it only on shared storage.
    """

    def __init__(self) -> None:
        parent = dask.config.get("temporary-directory", None)
        self._folder = Path(tempfile.mkdtemp(prefix="bcnmf-scratch-", dir=parent))
        self.token = str(self._folder / "token")
        Path(self.token).touch()

    def next(self) -> str:
        """A new location, never used before: what an evicted worker still writes disturbs nobody."""
        return str(self._folder / uuid4().hex)

    def keep_only(self, locations: Collection[str]) -> None:
        """Remove all other snapshots."""
        for folder in self._folder.iterdir():
            if folder.is_dir() and str(folder) not in locations:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
