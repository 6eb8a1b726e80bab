"""Speed and memory of ``ingest``: ``python benchmarks/ingest.py`` (about ten minutes, two cores, 20 GB of disk).

Writes ``benchmarks/results/ingest.json``. 5e8 stored values, on two worker processes of one thread: of a Dask array of
CSR blocks that the workers draw, then of the same matrix as CSR, and its transpose as CSC, in ``.h5ad`` files. The
largest memory of each worker is the mark that the kernel keeps, so nothing is missed between two looks; new workers
start for each source.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import scipy.sparse as sp
import zarr
from distributed import Client

from bcnmf_dask import ingest
from bcnmf_dask.engine.clusters import local_cluster
from bcnmf_dask.engine.environment import versions

N_FEATURES, PER_ROW, BLOCK_ROWS = 30_000, 1_500, 2_000
MOST_MEMORY_MB = 1_000


def draw(block_info=None):
    """One block of counts like those of single cells: every row stores ``PER_ROW`` values."""
    (start, stop), _ = block_info[None]["array-location"]
    rng = np.random.default_rng(start)
    steps = rng.integers(1, 2 * N_FEATURES // PER_ROW - 3, (stop - start, PER_ROW), dtype=np.int32)
    indices = np.cumsum(steps, axis=1, dtype=np.int32).ravel()  # the sum stays below the features by five deviations
    data = rng.geometric(0.6, indices.size).astype(np.float32)
    indptr = np.arange(0, indices.size + 1, PER_ROW)
    return sp.csr_array((data, indices, indptr), shape=(stop - start, N_FEATURES))


def drawn(n_rows):
    """The lazy matrix."""
    chunks = (tuple(min(BLOCK_ROWS, n_rows - start) for start in range(0, n_rows, BLOCK_ROWS)), (N_FEATURES,))
    return da.map_blocks(draw, chunks=chunks, dtype=np.float32, meta=sp.csr_array((0, 0), dtype=np.float32))


def peak():
    """Most memory this process ever had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def workers(n_workers):
    """A client of new workers."""
    with local_cluster(n_workers) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


def measure(source, out, n_workers):
    """Ingest with new workers; speed over decoded bytes (8 for each value), and the largest memory of each worker."""
    with workers(n_workers) as client:
        idle = list(client.run(peak).values())
        started = time.perf_counter()
        report = ingest(source, out, client=client)
        seconds = time.perf_counter() - started
        peaks = list(client.run(peak).values())
    size = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
    found = {
        "stored_values": report.stored_values,
        "seconds": seconds,
        "mb_per_s": 8e-6 * report.stored_values / seconds,
        "idle_worker_mb": max(idle),
        "worker_peak_mb": peaks,
        "files": sum(1 for path in Path(out).rglob("*") if path.is_file()),
        "size_gb": size / 1e9,
        "checksum": report.checksum,
    }
    print(json.dumps(found))
    return found


def write_h5ad(path, store, name):
    """A ``.h5ad`` of the matrix in ``store``, with its values as they are: CSR, or read as CSC of the transpose."""
    group = zarr.open_group(store, mode="r")
    n_rows, n_features = group["X"].attrs["shape"]
    shape = (n_rows, n_features) if name == "csr" else (n_features, n_rows)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix = file.create_group("X")
        matrix.attrs.update({"encoding-type": f"{name}_matrix", "encoding-version": "0.1.0", "shape": shape})
        for part in ("data", "indices", "indptr"):
            values = group[f"X/{part}"]
            stored = matrix.create_dataset(part, values.shape, values.dtype)
            for start in range(0, values.shape[0], 2**22):
                stored[start : start + 2**22] = values[start : start + 2**22]
        for part, length in zip(("obs", "var"), shape, strict=True):
            frame = file.create_group(part)
            frame.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
            frame.attrs["column-order"] = np.array([], dtype="S1")
            names = frame.create_dataset("_index", data=[str(i) for i in range(length)], dtype=h5py.string_dtype())
            names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def main():
    """Measure, judge and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ingest.json")
    arguments.add_argument("--values", type=float, default=5e8)
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    n_rows, found = int(given.values / PER_ROW), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["Dask array of CSR blocks"] = measure(drawn(n_rows), folder / "drawn.zarr", given.workers)
        for kind in ("csr", "csc"):
            write_h5ad(folder / "source.h5ad", folder / "drawn.zarr", kind)
            found[f"h5ad, {kind.upper()}"] = measure(folder / "source.h5ad", folder / "out.zarr", given.workers)
            shutil.rmtree(folder / "out.zarr")
    met = all(max(one["worker_peak_mb"]) < MOST_MEMORY_MB for one in found.values())
    machine = {"cpu": versions()["cpu"], "cores": len(os.sched_getaffinity(0)), "system": platform.platform()}
    parameters = {"workers": given.workers, "threads_per_worker": 1, "features": N_FEATURES}
    result = {
        "machine": machine,
        "versions": versions(),
        "parameters": parameters,
        "budgets": {"worker_peak_mb": MOST_MEMORY_MB},
        "measured": found,
        "status": {"memory": "met" if met else "missed"},
    }
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    if not met:
        raise SystemExit(f"a worker used more than {MOST_MEMORY_MB} MB")


if __name__ == "__main__":
    main()
