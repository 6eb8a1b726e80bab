"""Rows that are made on a CUDA device, shard by shard, and sweeps of them as the engine does them."""

import math
import time
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from statistics import median

import numpy as np
from peer_runners import SEED

from bcnmf_dask.backend import cupy, finish_on_device
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import Block
from bcnmf_dask.data.shards import Shard, sizes_for
from bcnmf_dask.engine.base import FitSpec, Recipe, Times
from bcnmf_dask.engine.device import Device
from bcnmf_dask.engine.limits import DeviceRoom
from bcnmf_dask.engine.local import total
from bcnmf_dask.engine.moving import PlacedBlocks, Whole
from bcnmf_dask.engine.resident import Residency
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.engine.shelf import Shelf
from bcnmf_dask.fitting.loop import FitProgress
from bcnmf_dask.fitting.stopping import Convergence
from bcnmf_dask.solvers.published import Published
from bcnmf_dask.updates.device_csr import DeviceCSR, Lines
from bcnmf_dask.updates.initialise import draw_basis, normalise
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.statistics import merge


@dataclass(frozen=True)
class Shape:
    """Rows of one role.

    Attributes
    ----------
    per_row : int or None
        Stored values of each row; None is dense.
    """

    rows: int
    features: int
    per_row: int | None

    @property
    def values(self):
        """Stored values, or entries."""
        return self.rows * (self.per_row or self.features)

    @property
    def words(self):
        """For tables."""
        kind = "dense" if self.per_row is None else f"csr, {self.values / 1e6:.3g} M stored"
        return f"{self.rows:,} x {self.features:,}, {kind}"


def made(shape, rows, seed):
    """So many rows, of whole numbers from 1 (CSR), or from 0."""
    xp = cupy()
    random = xp.random.default_rng(seed)
    if shape.per_row is None:
        return random.integers(0, 5, (rows, shape.features)).astype(np.float32)
    # A few features are in nearly every row, as genes are; what a row then has twice only takes its time.
    places = (random.random(rows * shape.per_row, dtype=np.float32) ** 2 * shape.features).astype(np.int32)
    values = random.integers(1, 10, rows * shape.per_row).astype(np.float32)
    pointers = xp.arange(rows + 1, dtype=np.int32) * shape.per_row
    return DeviceCSR((rows, shape.features), Lines(pointers, xp.minimum(places, shape.features - 1), values))


def placed(shape):
    """All shards of a shape, as large as a plan makes them, on the device."""
    n_shards = max(1, round(shape.values / sizes_for(shape.rows, shape.values).shard_values))
    edges = np.arange(n_shards + 1) * shape.rows // n_shards
    residency = Residency(n_shards, "float32", 1, Device(DeviceRoom(math.inf)), Shelf(0))
    for index, (start, stop) in enumerate(pairwise(edges)):
        rows, place = int(stop - start), {"target": slice(0, int(stop - start))}
        shard = Shard(index, 0, int(start), int(stop), rows, index, {"target": (int(start), int(stop))}, 0)
        block = Block(index, {"target": made(shape, rows, SEED + index)}, place)
        held = HeldShard(shard, PlacedBlocks(Whole(block, [place])), [place], Findings.none(shape.features), 0)
        residency._take(residency._looks, held)
    return residency, n_shards


class Fit:
    """A fit of placed rows by the loop itself, over shards that need no engine to load them."""

    def __init__(self, residency, n_shards, shape, loss, n_components):
        self._residency, self._n_shards = residency, n_shards
        spec = FitSpec("fit", loss, n_components, SEED)
        basis, scales = normalise(draw_basis(SEED, shape.features, n_components))
        solver = Published(loss, 0.0, LOSSES[loss].default_damping)
        self.progress = FitProgress(
            spec, solver, 0.0, 10**6, Convergence(0, "float32"), basis.astype(np.float32), scales
        )
        residency.restore(Recipe(spec), range(n_shards))

    def sweep(self):
        """Seconds of the visit of all rows, and of the whole sweep, with the basis."""
        started = time.perf_counter()
        record = total(self._n_shards, self._residency.sweep([self.progress.order()]).nodes)
        visited = time.perf_counter()
        self.progress.advance(record, Times(visited - started, 0.0, 0.0, 0.0))
        finish_on_device()
        return visited - started, time.perf_counter() - started

    def parts(self):
        """What a sweep is made of, by name, each a function that does it for all rows."""
        order = self.progress.order()
        rows = [
            (part, held.fits["fit"].usages[role])
            for held in self._residency._held()
            for block in held.blocks
            for role, part in block.parts.items()
        ]
        prepared, loss = order.prepared.on_device, LOSSES[self.progress.spec.loss]
        sums = [loss.contribute(part, usages, prepared) for part, usages in rows]
        whole = reduce(merge, sums)
        return {
            "steps of the usages": lambda: [loss.update_usages(*one, prepared, order.steps) for one in rows],
            "sums over rows": lambda: [loss.contribute(*one, prepared) for one in rows],
            "sums of shards merged": lambda: reduce(merge, sums),
            "step of the basis": lambda: self.progress.advance({"target": whole}, Times(0.0, 0.0, 0.0, 0.0)),
        }


def seconds_of(work, repeats=5):
    """The median of some calls, what they launch included."""
    found = []
    for _ in range(repeats + 1):
        finish_on_device()
        started = time.perf_counter()
        work()
        finish_on_device()
        found.append(time.perf_counter() - started)
    return median(found[1:])


def sort_by_columns(residency):
    """What the first sweep of sparse rows does once; its seconds."""
    started = time.perf_counter()
    for held in residency._held():
        for rows in held.blocks.whole.block.parts.values():
            if isinstance(rows, DeviceCSR):
                assert rows.columns is not None
    finish_on_device()
    return time.perf_counter() - started


def sweep_seconds(fit, sweeps):
    """Medians of `Fit.sweep`, the first three left out: kernels are compiled, and rows sorted by columns."""
    for _ in range(3):
        fit.sweep()
    return [median(one) for one in zip(*(fit.sweep() for _ in range(sweeps)), strict=True)]


FETCH = """
extern "C" __global__ void fetch(const float4* from, int size, int times, float* sums) {
    const int step = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = 0;
    for (int time = 0; time < times; ++time)
        for (int place = first; place < size; place += step) {
            const float4 four = __ldcg(from + (place + time * 1031) % size);
            sum += four.x + four.y + four.z + four.w;
        }
    sums[first] = sum;
}
"""


def fetched_per_second(n_bytes=16 * 2**20, times=400):
    """Bytes that all multiprocessors read of what lies in the cache that they share, the best of five."""
    xp, blocks, threads = cupy(), 132 * 8, 256
    kernel = xp.RawModule(code=FETCH).get_function("fetch")
    source, sums = xp.ones(n_bytes // 4, np.float32), xp.empty(blocks * threads, np.float32)
    given = source, np.int32(n_bytes // 16), np.int32(times), sums
    return times * n_bytes / min(seconds_of(lambda: kernel((blocks,), (threads,), given), 1) for _ in range(5))


def copied_per_second(n_bytes=4 * 2**30):
    """Bytes read and written by a copy within the device, the best of five."""
    xp = cupy()
    source = xp.zeros(n_bytes, np.uint8)
    target, best = xp.empty_like(source), np.inf
    for _ in range(6):
        finish_on_device()
        started = time.perf_counter()
        target[...] = source
        finish_on_device()
        best = min(best, time.perf_counter() - started)
    return 2 * n_bytes / best
