"""All that a CUDA device is to show, in one command: ``python benchmarks/gpu.py`` (within ten minutes).

It runs the tests marked ``gpu``, checks the kernels against float64 on fresh random rows, and measures; a stage that
fails is noted and the next one begins. Writes ``benchmarks/results/gpu.json``. Needs CuPy and the dependency group
``test`` beside this package (of its dependencies not matplotlib), and PyTorch for the published formulas. ``--devices``
measures scaling over several devices.
"""

import argparse
import secrets
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from gpu_cases import (
    Fit,
    Shape,
    copied_per_second,
    fetched_per_second,
    placed,
    seconds_of,
    sort_by_columns,
    sweep_seconds,
)
from gpu_results import Results
from peer_formulas import published_torch
from peer_runners import sweep_seconds as peer_seconds

from bcnmf_dask import BCNMF
from bcnmf_dask.backend import cupy, give_back_device_memory, n_devices, no_device
from bcnmf_dask.benchmarking.runs import new_run, write
from bcnmf_dask.benchmarking.scaling import Shape as Synthetic
from bcnmf_dask.benchmarking.synthetic import csr_chunk, synthetic_inputs
from bcnmf_dask.benchmarking.timing import sweep_seconds as sweep_seconds_of
from bcnmf_dask.updates.losses import LOSSES

REPOSITORY = Path(__file__).resolve().parents[1]
COMMAND = "python benchmarks/gpu.py"
SMALL = Shape(5000, 40_000, 6600)
SHAPES = [SMALL, Shape(1_000_000, 3000, None), Shape(1_000_000, 3000, 150), Shape(2_000_000, 30_000, 1500)]
COMPONENTS = (20, 50)
SWEEPS = 10
BUDGET_MS = {"frobenius": 3.0, "kullback-leibler": 4.0}
"""Per sweep of the first shape with 20 components."""
CHECKED_SWEEPS = 60
ROWS_PER_DEVICE = 2**21
"""Of synthetic counts: 214 million stored."""
GPU_TESTS = ("tests/cuda", "tests/engine")
"""Where tests are marked ``gpu``: others may need what a machine with a device has not."""


def tests(results):
    """The suite of the project that needs a device."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--timeout=240"]
    done = subprocess.run([*command, *GPU_TESTS], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED") and "CuPy" in line]
    ran = done.returncode == 0 and "passed" in last and not skipped
    results.judge("pytest -m gpu", last.strip("= "), "to pass, and none to find no device", met=ran)


def check(results):
    """Fits in float32 on the device against float64 on the CPU, from rows that nobody has seen."""
    seed = secrets.randbelow(2**31)
    draw = np.random.default_rng(seed)
    dense = draw.poisson(draw.gamma(0.4, 1.0, (900, 8)) @ draw.gamma(0.5, 2.0, (8, 700))).astype(np.float32)
    for loss in LOSSES:
        for form, rows in (("csr", sp.csr_array(dense)), ("dense", dense)):
            fits = {}
            for device, dtype in (("cuda", "float32"), ("cpu", "float64")):
                model = BCNMF(20, 0.5, loss=loss, max_iter=CHECKED_SWEEPS, tol=0, dtype=dtype)
                fits[device] = model.fit(rows[:600], background=rows[600:], client=False, device=device)
            models = [one.target_usages_ @ one.components_ for one in fits.values()]
            apart = np.linalg.norm(models[0] - models[1]) / np.linalg.norm(models[1])
            what = f"reconstruction after {CHECKED_SWEEPS} sweeps, float32 against float64, {loss}, {form}, seed {seed}"
            results.judge(what, f"{apart:.1e}", "within 1e-3", met=bool(apart < 1e-3))
            first = [one.history_["target_divergence"][0] for one in fits.values()]
            apart = abs(first[0] / first[1] - 1)
            what = f"divergence after one sweep, float32 against float64, {loss}, {form}, seed {seed}"
            results.judge(what, f"{apart:.1e}", "within 1e-5", met=bool(apart < 1e-5))


def shapes(results):
    """Seconds per sweep, bytes per second against a copy, and memory."""
    copy, fetch = copied_per_second(), fetched_per_second()
    results.note("copy within the device", bytes_per_second=copy)
    results.note("reads of the cache that multiprocessors share", bytes_per_second=fetch)
    for shape in SHAPES:
        residency, n_shards = placed(shape)
        results.note(f"sorted by columns, {shape.words}, {n_shards} shards", seconds=sort_by_columns(residency))
        for k in COMPONENTS:
            for loss in LOSSES:
                give_back_device_memory()
                visit, whole = sweep_seconds(Fit(residency, n_shards, shape, loss, k), SWEEPS)
                # Both visits of the rows, and a row of a factor gathered for each stored value in each.
                moved = 2 * shape.values * (4 if shape.per_row is None else 8)
                gathered = 0 if shape.per_row is None else 2 * shape.values * 4 * k
                results.note(
                    f"{shape.words}, {loss}, {k} components",
                    sweep_seconds=whole,
                    visit_seconds=visit,
                    share_of_copy=moved / visit / copy,
                    share_of_fetch=gathered / visit / fetch,
                    peak_bytes=cupy().get_default_memory_pool().total_bytes(),
                )
                if shape is SMALL and k == COMPONENTS[0]:
                    budget = BUDGET_MS[loss]
                    what = f"sweep of {shape.words}, {loss}, {k} components"
                    results.judge(what, f"{1e3 * whole:.2f} ms", f"at most {budget:g} ms", met=1e3 * whole <= budget)
                    share = max(moved / copy, gathered / fetch) / visit
                    what = f"visit of {shape.words}, {loss}, {k} components, against the limit that binds"
                    results.judge(what, f"{share:.0%}", "at least 50%", met=share >= 0.5)
        residency.close()


def profile(results):
    """Where the time of a sweep of the first shape goes: its parts one by one, each waited for."""
    residency, n_shards = placed(SMALL)
    for loss in LOSSES:
        fit = Fit(residency, n_shards, SMALL, loss, COMPONENTS[0])
        fit.sweep()
        gathered = SMALL.values * 4 * COMPONENTS[0]
        for name, work in fit.parts().items():
            seconds = seconds_of(work)
            visits = {"gathered_bytes_per_second": gathered / seconds} if "usages" in name or "rows" in name else {}
            results.note(f"profile, {loss}: {name}", seconds=seconds, **visits)
    residency.close()


def published(results):
    """The published formulas in PyTorch on the same device, dense, of the first shape."""
    half = SMALL.rows // 2
    sides = [csr_chunk(rows, SMALL.features, SMALL.per_row, (rows,)).toarray() for rows in (half, SMALL.rows - half)]
    for loss in LOSSES:
        seconds = peer_seconds(published_torch(*sides, loss, 1.0, COMPONENTS[0], device="cuda"), SWEEPS)
        results.note(f"published, PyTorch on the device, dense, {SMALL.words}, {loss}", sweep_seconds=seconds)


def processes(results, n_workers, name):
    """A fit on worker processes, each on a device of its own or all on one."""
    target, background = (csr_chunk(100_000, 3000, 150, (side,)) for side in range(2))
    for loss in LOSSES:
        model = BCNMF(COMPONENTS[0], 1.0, loss=loss, max_iter=20, tol=0)
        with cluster(n_workers, name) as client:
            model.fit(target, background=background, client=client, device="cuda")
        alone = BCNMF(COMPONENTS[0], 1.0, loss=loss, max_iter=20, tol=0)
        alone.fit(target, background=background, client=False, device="cuda")
        apart = np.linalg.norm(model.components_ - alone.components_) / np.linalg.norm(alone.components_)
        results.judge(f"{n_workers} {name}, {loss}, against one process", f"{apart:.1e}", "within 1e-5", apart < 1e-5)
        seconds = model.history_["seconds"].iloc[3:].median()
        results.note(f"{n_workers} {name}, 30 M stored, {loss}", sweep_seconds=float(seconds))


def devices(results, n_devices):
    """A worker on each of 1, 2, ... devices: the same result, and seconds per sweep of the same rows, and of more."""
    if find_spec("dask_cuda") is None:
        results.judge("workers on devices of their own", "not run: dask-cuda is not installed")
        return
    processes(results, n_devices, "devices")
    alone = {}
    for n in range(1, n_devices + 1):
        for words, rows in (("each", n * ROWS_PER_DEVICE), ("together", ROWS_PER_DEVICE)):
            shape = Synthetic("csr", rows, 2048, 102)
            for loss in LOSSES:
                case = f"{ROWS_PER_DEVICE:,} rows {words}, {loss}"
                with cluster(n, "devices") as client:
                    inputs = synthetic_inputs(*shape[1:])
                    seconds = sweep_seconds_of(client, inputs, shape.workload(loss, COMPONENTS[0]), SWEEPS, "cuda")
                first = alone.setdefault(case, seconds["sweep_seconds"])
                results.note(case, n, **seconds, against_one=first / seconds["sweep_seconds"])


@contextmanager
def cluster(n_workers, name):
    """A client of worker processes: by dask-cuda, each has a device."""
    from distributed import Client, LocalCluster

    shape = {"n_workers": n_workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    if name == "devices":
        from dask_cuda import LocalCUDACluster as LocalCluster
    with LocalCluster(**shape) as started, Client(started, set_as_default=False) as client:
        yield client


def main():
    """Run all stages, and write what they found."""
    if (missing := no_device()) is not None:
        sys.exit(f"gpu.py is for a machine with a CUDA device, but {missing}.")
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results")
    arguments.add_argument("--devices", type=int, default=n_devices(), help="up to how many devices scaling goes")
    given = arguments.parse_args()
    if not 1 <= given.devices <= n_devices():
        arguments.error(f"--devices: got {given.devices}. Expected 1 to {n_devices()}, as many as are here.")
    results = Results()
    results.stage("tests", tests)
    results.stage("check against float64", check)
    results.stage("shapes", shapes)
    results.stage("profile", profile)
    results.stage("published formulas", published)
    results.stage("processes that share a device", partial(processes, n_workers=2, name="processes on one device"))
    results.stage("a worker on each device", partial(devices, n_devices=given.devices))
    device = cupy().cuda.runtime.getDeviceProperties(0)["name"].decode()
    run = new_run("gpu", COMMAND, {"components": COMPONENTS, "sweeps": SWEEPS}, results.measurements, results.verdicts)
    run.machine.update(device=device, devices=n_devices(), cupy=cupy().__version__)
    write(run, given.out / "gpu.json")
    return run.status == "missed"


if __name__ == "__main__":
    sys.exit(main())
