"""Real data lie beside the repository, or where BCNMF_TEST_DATA says; they are never part of it."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def data_folder():
    """A function from the name of a data set to its folder; skips the test where it is absent."""
    root = Path(os.environ.get("BCNMF_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

    def folder(name):
        if not (root / name).is_dir():
            pytest.skip(f"real data {name!r} is not in {root}; set BCNMF_TEST_DATA to the folder that has it")
        return root / name

    return folder
