"""How CSR chunks are read fastest: ``python benchmarks/chunks.py`` (about four minutes, two cores).

Writes ``benchmarks/results/chunks.json``, the measurements behind ``bcnmf_dask/ingesting/chunks.py``. Values
are drawn like counts of single cells: rows of about 1500 of 30,000 features, most of them 1 or 2. They are read in
order in blocks of 2 million, from the page cache, as a fit that streams would.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from bcnmf_dask.engine.environment import versions

N_VALUES, BLOCK, ROW, N_FEATURES = 2**25, 2**21, 1500, 30_000
SIZES = [2**16, 2**17, 2**18, 2**19, 2**20]
SHARDS = [None, 2**20]
CODECS = {
    "none, crc32c": [Crc32cCodec()],
    "lz4 (blosc, shuffled), crc32c": [BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()],
    "zstd level 1, checksum": [ZstdCodec(level=1, checksum=True)],
    "zstd level 3, checksum": [ZstdCodec(level=3, checksum=True)],
}


def draw():
    """Values and sorted column numbers."""
    rng = np.random.default_rng(0)
    data = rng.geometric(0.6, N_VALUES).astype(np.float32)
    steps = rng.integers(1, 2 * N_FEATURES // ROW - 1, N_VALUES).reshape(-1, 2**10)
    return {"data": data, "indices": (np.cumsum(steps, axis=1) % N_FEATURES).astype(np.int32).ravel()}


def measure(folder, arrays, size, shard, codecs, repeats):
    """Write both arrays one way, and read them back."""
    group = zarr.create_group(folder, zarr_format=3)
    started = time.perf_counter()
    for name, values in arrays.items():
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, chunks=(size,), shards=shard and (shard,), compressors=codecs
        )
        for start in range(0, N_VALUES, BLOCK):
            array[start : start + BLOCK] = values[start : start + BLOCK]
    written = time.perf_counter() - started
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]
    seconds = [read(folder) for _ in range(repeats)]
    raw = sum(values.nbytes for values in arrays.values()) / 1e6
    return {
        "chunk_values": size,
        "shard_values": shard,
        "read_mb_per_s": raw / median(seconds),
        "write_mb_per_s": raw / written,
        "files": len(files),
        "share_of_raw_size": sum(path.stat().st_size for path in files) / 1e6 / raw,
    }


def read(folder):
    """Seconds to read all blocks in order."""
    group = zarr.open_group(folder, mode="r")
    started = time.perf_counter()
    for start in range(0, N_VALUES, BLOCK):
        for name in ("data", "indices"):
            group[name][start : start + BLOCK]
    return time.perf_counter() - started


def main():
    """Measure and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "chunks.json")
    arguments.add_argument("--repeats", type=int, default=3)
    given = arguments.parse_args()
    arrays, found = draw(), []
    for (codec, codecs), size, shard in product(CODECS.items(), SIZES, SHARDS):
        if shard is None or size < shard:
            with tempfile.TemporaryDirectory() as folder:
                one = {"codec": codec} | measure(Path(folder, "x"), arrays, size, shard, codecs, given.repeats)
            found.append(one)
            print(json.dumps(one))
    cores = len(os.sched_getaffinity(0))
    machine = {"cpu": versions()["cpu"], "cores": cores, "system": platform.platform()}
    parameters = {"values": N_VALUES, "block_values": BLOCK, "cache": "warm", "repeats": given.repeats}
    result = {"machine": machine, "versions": versions(), "parameters": parameters, "measured": found}
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
