"""What it costs to read rows in every sweep, against the larger of reading alone and computing alone."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask

from bcnmf_dask.benchmarking.benchmark import Benchmark, Setting
from bcnmf_dask.benchmarking.runs import Measurement, Verdict, verdict
from bcnmf_dask.benchmarking.scaling import Shape
from bcnmf_dask.benchmarking.synthetic import synthetic_inputs
from bcnmf_dask.benchmarking.timing import sweep_seconds
from bcnmf_dask.data.inputs import Inputs, read_inputs
from bcnmf_dask.data.loading import bounds_of
from bcnmf_dask.data.shards import Shard, plan_shards
from bcnmf_dask.data.stored import PathSource
from bcnmf_dask.ingesting.run import ingest

ROWS, FEATURES, STORED_PER_ROW, COMPONENTS = 100_000, 2048, 1000, 20
SWEEPS = 5
ALLOWED = 1.3
NOTHING_STAYS = {"bcnmf-dask.memory-limit": "1 B"}
BYTES_PER_VALUE = 8


def measure(setting: Setting) -> Iterator[Measurement]:
    """1e8 values of CSR in a store that `ingest` wrote, both losses; no row stays in memory."""
    shape = Shape("csr", setting.rows(ROWS), FEATURES, STORED_PER_ROW)
    with TemporaryDirectory(dir=setting.folder, prefix=".streaming-") as folder:
        inputs = _ingested(setting, shape, Path(folder) / "rows.zarr")
        reading = _seconds_of_reading(setting, inputs)
        for loss in ("kullback-leibler", "frobenius"):
            workload = shape.workload(loss, COMPONENTS)
            resident = sweep_seconds(setting.client, inputs, workload, SWEEPS)["sweep_seconds"]
            with dask.config.set(NOTHING_STAYS):
                figures = sweep_seconds(setting.client, inputs, workload, SWEEPS)
            figures |= {"resident_sweep_seconds": resident, "reading_alone_seconds": reading}
            figures["over_the_larger"] = figures["sweep_seconds"] / max(resident, reading)
            read = replace(workload, streamed_bytes=workload.stored_values * BYTES_PER_VALUE)
            case = f"{workload.kind}, streamed"
            yield Measurement(case, setting.workers, setting.threads, setting.label, figures, read)


def judge(measurements: Sequence[Measurement]) -> list[Verdict]:
    """Each against the larger of reading alone and computing alone."""
    return [
        verdict(
            f"streamed sweep over the larger of reading and computing, {one.case}, {one.workers} workers ({one.label})",
            f"{one.figures['over_the_larger']:.2f}",
            f"at most {ALLOWED}",
            one.figures["over_the_larger"] <= ALLOWED,
        )
        for one in measurements
    ]


def _ingested(setting: Setting, shape: Shape, store: Path) -> Inputs:
    drawn = synthetic_inputs(2 * shape.n_rows, shape.n_features, shape.stored_per_row)
    ingest(drawn.stores[0].source.array, store, client=setting.client)  # type: ignore[attr-defined]
    return read_inputs(store, None)


def _seconds_of_reading(setting: Setting, inputs: Inputs) -> float:
    """Of the worker that takes longest to read its share of all blocks, as a sweep would; its second pass counts."""
    shards, source = plan_shards(inputs).shards, inputs.paths[0]
    ends = [len(shards) * number // setting.workers for number in range(setting.workers + 1)]
    shares = [shards[first:last] for first, last in pairwise(ends)]
    workers = sorted(setting.client.nthreads())
    client: Any = setting.client
    timed = [
        client.submit(_read, source, share, workers=[worker], pure=False)
        for share, worker in zip(shares, workers, strict=True)
    ]
    return float(max(client.gather(timed)))


def _read(source: PathSource, shards: Sequence[Shard]) -> float:
    strips = [(source.strip(shard.start), bounds_of(shard)) for shard in shards]
    for _ in range(2):
        started = time.perf_counter()
        for strip, bounds in strips:
            for _ in strip.blocks(bounds):
                pass
    return time.perf_counter() - started


STREAMING = Benchmark(
    "streaming",
    "Seconds per sweep where no row stays in memory, against reading alone and computing alone. On a running cluster, "
    "--out must be a folder that all workers share.",
    (1,),
    {"rows": ROWS, "features": FEATURES, "stored_per_row": STORED_PER_ROW, "components": COMPONENTS, "sweeps": SWEEPS},
    measure,
    judge,
)
