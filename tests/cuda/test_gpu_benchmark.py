"""The one command for a machine with a device: its stages run on an emulated one, and a stage that fails is noted."""

from functools import partial

import emulator
import gpu
import gpu_cases
import gpu_results
import pytest

from bcnmf_dask.backend import is_on_device, to_host
from bcnmf_dask.benchmarking.runs import read
from bcnmf_dask.benchmarking.timing import sweep_seconds

pytestmark = pytest.mark.parametrize("device", [pytest.param("emulated", marks=emulator.needs_compiler)], indirect=True)


@pytest.fixture
def small(device, monkeypatch):
    """Shapes of a moment."""
    for module in (gpu, gpu_cases):
        monkeypatch.setattr(module, "cupy", emulator.Cupy)
    monkeypatch.setattr(gpu, "SMALL", gpu.Shape(12, 40, 8))
    monkeypatch.setattr(gpu, "SHAPES", [gpu.SMALL, gpu.Shape(20, 30, None), gpu.Shape(50, 30, 5)])
    monkeypatch.setattr(gpu, "COMPONENTS", (3,))
    monkeypatch.setattr(gpu, "SWEEPS", 2)
    monkeypatch.setattr(gpu, "copied_per_second", lambda: gpu_cases.copied_per_second(1000))
    monkeypatch.setattr(gpu, "fetched_per_second", lambda: 1e9)
    monkeypatch.setattr("bcnmf_dask.data.shards.COMMON_SHARD", 30)
    monkeypatch.setattr("bcnmf_dask.data.shards.SMALLEST_BLOCK", 10)


def test_shapes_are_measured_and_judged(small):
    results = gpu.Results()
    results.stage("shapes", gpu.shapes)
    cases = [one for one in results.measurements if "share_of_copy" in one.figures]
    assert len(cases) == 3 * 2
    assert all(one.figures["sweep_seconds"] >= one.figures["visit_seconds"] > 0 for one in cases)
    assert [one.status in ("met", "missed") for one in results.verdicts] == [True] * 4


def test_the_parts_of_a_sweep_are_measured(small):
    results = gpu.Results()
    results.stage("profile", gpu.profile)
    assert not results.verdicts, "nothing went wrong"
    profiled = [one.case for one in results.measurements if one.case.startswith("profile, ")]
    assert len(profiled) == 2 * 4


def test_a_sweep_goes_over_all_shards_and_steps_the_basis(small):
    shape = gpu.SMALL
    residency, n_shards = gpu_cases.placed(shape)
    assert n_shards > 1
    fit = gpu_cases.Fit(residency, n_shards, shape, "frobenius", 3)
    before = fit.progress.basis
    fit.sweep()
    assert is_on_device(fit.progress.basis)
    assert (to_host(fit.progress.basis) != before).any()
    assert fit.progress.stamp == 1


def test_what_goes_wrong_in_a_stage_is_a_verdict(small, monkeypatch, tmp_path, capsys):
    def fails(results):
        raise RuntimeError("no such kernel")

    for name in ("tests", "check", "profile", "published", "processes", "devices"):
        monkeypatch.setattr(gpu, name, fails if name == "check" else lambda results, **_: None)
    monkeypatch.setattr(gpu, "n_devices", lambda: 1)
    monkeypatch.setattr(gpu, "no_device", lambda: None)
    monkeypatch.setattr("sys.argv", ["gpu.py", "--out", str(tmp_path)])
    assert gpu.main()
    run = read(tmp_path / "gpu.json")
    assert ("check against float64", "RuntimeError: no such kernel") in [
        (one.what, one.measured) for one in run.verdicts
    ]
    assert run.machine["device"] == "emulated"
    assert any("share of a copy" in line for line in gpu_results.tables(run))


def test_scaling_over_devices(small, monkeypatch):
    """On workers that compute on CPUs: it is the way of the figures that is tested."""
    monkeypatch.setattr(gpu, "find_spec", lambda name: name)
    monkeypatch.setattr(gpu, "processes", lambda *_: None)
    monkeypatch.setattr(gpu, "ROWS_PER_DEVICE", 256)
    monkeypatch.setattr(gpu, "LOSSES", ["frobenius"])
    monkeypatch.setattr(gpu, "sweep_seconds_of", lambda *given: sweep_seconds(*given[:-1]))
    own = gpu.cluster
    monkeypatch.setattr(gpu, "cluster", lambda n, _: own(n, "processes"))
    results = gpu.Results()
    results.stage("devices", partial(gpu.devices, n_devices=2))
    assert not results.verdicts, "nothing went wrong"
    noted = [(one.case, one.workers) for one in results.measurements[:-1]]
    cases = [f"256 rows {words}, frobenius" for words in ("each", "together")]
    assert noted == [(case, n) for n in (1, 2) for case in cases]
    assert [one.figures["against_one"] for one in results.measurements[:2]] == [1.0, 1.0]


def test_without_dask_cuda_it_says_so(small, monkeypatch):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    results = gpu.Results()
    gpu.devices(results, 1)
    assert [one.measured for one in results.verdicts] == ["not run: dask-cuda is not installed"]


def test_without_a_device_it_says_why(small, monkeypatch):
    monkeypatch.setattr(gpu, "no_device", lambda: "there is none")
    with pytest.raises(SystemExit, match=r"a machine with a CUDA device, but there is none"):
        gpu.main()


def test_all_tests_for_a_device_are_where_it_looks(small):
    marked = {path.parent for path in (gpu.REPOSITORY / "tests").rglob("*.py") if "pytest.mark.gpu" in path.read_text()}
    assert marked == {gpu.REPOSITORY / folder for folder in gpu.GPU_TESTS}
