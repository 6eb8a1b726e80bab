"""How the values of a store are cut: the one place where sizes and codecs are decided, and why.

Measured by ``benchmarks/chunks.py`` (``benchmarks/results/chunks.json``, two cores): counts like those of single cells,
read in order in blocks of 2 million values, MB of decoded values per second, for chunks of 64k / 128k / 256k / 512k:

- lz4 with shuffled bytes, crc32c: 541 / 1103 / 1568 / 1858, at 0.29 of the size;
- zstd level 3 with its own checksum: 422 / 560 / 720 / 715, at 0.29 of the size, and written at half the speed;
- uncompressed, crc32c: 1424 / 2224 / 2559 / 3059.

So lz4, which is as small as zstd here. Beyond 256k little is gained, and a reader that stops within a chunk decodes
more in vain. Files of 1M values (shards) read at 1397 instead of 1568, and are a quarter as many.
"""

from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from bcnmf_dask.results.factors import WRITE_EVERY_CHUNK

CHUNK_VALUES = 2**18
"""Stored values of a CSR chunk. It ends in the middle of a row: whoever reads in order keeps the tail."""
SHARD_VALUES = 2**20
"""Stored values of a CSR file, which holds whole chunks and can be read by chunk."""
PIECE_VALUES = 4 * SHARD_VALUES
"""Stored values that one task writes: whole files, so that no two writers share one."""
DENSE_CHUNK_BYTES = 2**22
DENSE_UNIT_BYTES = 2**26
"""Of dense rows that share a checksum, and that one task writes if the source can be read in such steps."""
LARGEST_DENSE_PIECE_BYTES = 2**28
"""What one task writes at most where the source can only be read in larger steps."""


def codecs() -> list[Any]:
    """Compressor, then a checksum over what is stored, so that every reader notices a flipped bit."""
    return [BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()]


def create_values(group: "zarr.Group", name: str, length: int, dtype: np.dtype[Any]) -> None:
    """Make room for one of the long arrays of a CSR matrix."""
    short = length <= CHUNK_VALUES
    group.create_array(
        name,
        shape=(length,),
        dtype=dtype,
        chunks=(max(1, length) if short else CHUNK_VALUES,),
        shards=None if short else (SHARD_VALUES,),
        compressors=codecs(),
        config=WRITE_EVERY_CHUNK,
    )


def create_dense(root: "zarr.Group", name: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> "zarr.Array[Any]":
    """Make room for a dense matrix, chunked by rows."""
    chunks = (min(dense_chunk_rows(shape, dtype), shape[0]), shape[1])
    return root.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=codecs(),
        config=WRITE_EVERY_CHUNK,
        overwrite=True,
    )


def dense_chunk_rows(shape: tuple[int, int], dtype: np.dtype[Any]) -> int:
    """A power of two, as the row quantum of shards is, so that shards end on chunks."""
    fitting = DENSE_CHUNK_BYTES // (shape[1] * dtype.itemsize)
    return 1 << max(int(fitting).bit_length() - 1, 0)


def dense_unit_rows(shape: tuple[int, int], dtype: np.dtype[Any]) -> int:
    """Rows that share a checksum: whole chunks."""
    chunk = dense_chunk_rows(shape, dtype)
    return chunk * max(1, DENSE_UNIT_BYTES // (chunk * shape[1] * dtype.itemsize))


def dense_units(shape: tuple[int, int], dtype: np.dtype[Any], step: int) -> int:
    """Units that one task writes: as many as the ``step`` in which the source is read holds, if that fits."""
    bytes_wanted = min(step * shape[1] * dtype.itemsize, LARGEST_DENSE_PIECE_BYTES)
    return max(1, bytes_wanted // (dense_unit_rows(shape, dtype) * shape[1] * dtype.itemsize))


def open_values(location: str, name: str, mode: Literal["r", "r+"] = "r") -> "zarr.Array[Any]":
    """One array of the store at ``location``, to be read or written in whole pieces."""
    return zarr.open_array(location, path=name, mode=mode).with_config(WRITE_EVERY_CHUNK)


def write_all(array: "zarr.Array[Any]", values: NDArray[Any]) -> None:
    """Write an array whole, a piece at a time."""
    for start in range(0, len(values), PIECE_VALUES):
        array[start : start + PIECE_VALUES] = values[start : start + PIECE_VALUES]
