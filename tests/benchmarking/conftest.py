import made_up
import pytest

from bcnmf_dask.benchmarking import stand_in
from bcnmf_dask.benchmarking.benchmark import judged
from bcnmf_dask.benchmarking.registry import BENCHMARKS
from bcnmf_dask.benchmarking.runs import write
from bcnmf_dask.updates.losses import LOSSES


@pytest.fixture(autouse=True)
def no_stand_in_is_left():
    """A loss that computes nothing must not be found by other tests."""
    yield
    LOSSES.pop(stand_in.NAME, None)


@pytest.fixture
def results(tmp_path):
    """A folder with the runs of a machine whose numbers are known."""
    for run in (made_up.compute_run(), made_up.orchestration_run()):
        write(judged(BENCHMARKS[run.benchmark], run), tmp_path / "results" / f"{run.benchmark}.json")
    return tmp_path / "results"
