"""What all tests share. Real data lie beside the repository, or where BCNMF_TEST_DATA says; never in it."""

import multiprocessing
import os
import tempfile
from pathlib import Path

import dask
import pytest
from distributed.utils import get_mp_context
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]

settings.register_profile("quick", max_examples=25, derandomize=True, deadline=None)
settings.load_profile("quick")


def pytest_configure(config):
    """Only tests marked ``gpu`` may see a device: all others are about CPUs, to the bit."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session", autouse=True)
def temporary_folders_that_go(tmp_path_factory):
    """Fits without ``out`` leave their results in temporary folders, which here are for nobody to keep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def workers_that_start_soon():
    """Workers come from a process that has imported everything already: that takes each of them seconds."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context()  # distributed sets modules of its own once, at first
        multiprocessing.get_context("forkserver").set_forkserver_preload(["distributed", "bcnmf_dask.engine.tasks"])
        yield


@pytest.fixture(scope="session")
def data_folder():
    """A function from the name of a data set to its folder; skips the test where it is absent."""
    root = Path(os.environ.get("BCNMF_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

    def folder(name):
        if not (root / name).is_dir():
            pytest.skip(f"real data {name!r} is not in {root}; set BCNMF_TEST_DATA to the folder that has it")
        return root / name

    return folder
