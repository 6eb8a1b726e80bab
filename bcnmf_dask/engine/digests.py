"""Short proofs that rows and usages are the same as before."""

import hashlib
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import parts_of
from bcnmf_dask.data.loading import Block
from bcnmf_dask.kernels.checksum import checksum_of


def checksum(usages: NDArray[Any]) -> int:
    """CRC-32 of the bytes of an array."""
    return zlib.crc32(np.ascontiguousarray(usages).tobytes())


def rows_checksum(blocks: Iterable[Block]) -> int:
    """64 bits that change with any value of the rows of some blocks."""
    parts = (part for block in blocks for _, rows in sorted(block.parts.items()) for part in parts_of(rows))
    return checksum_of(*parts)


def digest(blocks: Iterable[Block], dtype: np.dtype[Any]) -> str:
    """A digest of the rows of some blocks: roles, places and values as they are computed, however they are held."""
    found = hashlib.blake2b(digest_size=16)
    for block in blocks:
        for role, rows in sorted(block.parts.items()):
            found.update(f"{block.number} {role} {rows.shape} {dtype}".encode())
            *places, values = parts_of(rows)
            for part in (*places, values.astype(dtype, copy=False)):
                found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def digest_of_all(digests: Iterable[tuple[int, str]]) -> str:
    """One digest of those of all shards (index, digest), in any order."""
    found = hashlib.blake2b(digest_size=16)
    for index, one in sorted(digests):
        found.update(f"{index} {one};".encode())
    return found.hexdigest()
