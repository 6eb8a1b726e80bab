"""Seeded synthetic rows as Dask arrays, generated where they are computed: no row passes through the driver."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask.delayed import delayed

from bcnmf_dask.backend import Rows, csr_of
from bcnmf_dask.data.inputs import Inputs, read_inputs

CHUNK_ROWS = 1024
"""Rows that are generated at once: the block of a plan for many rows of 2048 features."""
LARGEST = 8
"""Values are whole numbers from 1 (sparse) or 0 (dense) to below this."""


def synthetic_inputs(n_rows: int, n_features: int, stored_per_row: int | None, seed: int = 0) -> Inputs:
    """A target and a background of random counts, as Dask arrays.

    Parameters
    ----------
    n_rows : int
        Of both together; each gets half.
    n_features : int
    stored_per_row : int or None
        Stored values of each row of CSR chunks; None for dense chunks.
    seed : int
    """
    halves = (n_rows - n_rows // 2, n_rows // 2)
    arrays = [_array(count, n_features, stored_per_row, (seed, role)) for role, count in enumerate(halves)]
    return read_inputs(*arrays)


def csr_chunk(n_rows: int, n_features: int, stored_per_row: int, seed: tuple[int, ...]) -> Rows:
    """CSR rows with ``stored_per_row`` values each, spread evenly over the features; float32."""
    random = np.random.default_rng(seed)
    edges = np.linspace(0, n_features, stored_per_row + 1).astype(np.int32)
    columns = random.integers(edges[:-1], edges[1:], size=(n_rows, stored_per_row), dtype=np.int32)
    values = random.integers(1, LARGEST, size=columns.size).astype(np.float32)
    return csr_of(values, columns.ravel(), np.arange(n_rows + 1, dtype=np.int32) * stored_per_row, n_features)


def dense_chunk(n_rows: int, n_features: int, seed: tuple[int, ...]) -> Rows:
    """Dense rows, float32."""
    return np.random.default_rng(seed).integers(0, LARGEST, size=(n_rows, n_features)).astype(np.float32)


def _array(n_rows: int, n_features: int, stored_per_row: int | None, seed: tuple[int, ...]) -> da.Array:
    def chunk(rows: int, number: int) -> da.Array:
        shape, own_seed = (rows, n_features), (*seed, number)
        if stored_per_row is None:
            return _delayed(dense_chunk, np.empty((0, 0), np.float32), shape, own_seed)
        return _delayed(csr_chunk, sp.csr_array((0, 0), dtype=np.float32), shape, stored_per_row, own_seed)

    counts = [min(CHUNK_ROWS, n_rows - first) for first in range(0, n_rows, CHUNK_ROWS)]
    array: da.Array = da.concatenate([chunk(rows, number) for number, rows in enumerate(counts)])
    return array


def _delayed(make: Callable[..., Rows], meta: Any, shape: tuple[int, int], *arguments: Any) -> da.Array:
    array: da.Array = da.from_delayed(delayed(make)(*shape, *arguments), shape, meta=meta)
    return array
