"""What a fit is about to do, in lines for people."""

from collections.abc import Iterator

import numpy as np

from bcnmf_dask.data.inputs import Inputs, Store
from bcnmf_dask.data.shards import ShardPlan, plan_shards

Lines = Iterator[tuple[str, str]]
INDEX_BYTES = 4
"""Of the column number of each stored value of a CSR matrix."""


def plan_lines(inputs: Inputs, dtype: str, where: str) -> Lines:
    """Labels and texts: the rows of each role, features, stored values, shards, memory, and where it runs.

    Parameters
    ----------
    inputs : Inputs
    dtype : {"float32", "float64"}
        Of the fit.
    where : str
        Where it runs, in words.
    """
    plan = plan_shards(inputs)
    for role, count in inputs.n_rows.items():
        yield role, f"{count:,} rows from {_origin(inputs, role)}"
    yield "features", f"{inputs.n_features:,}{_chosen(inputs)}"
    yield "values", _values(inputs, plan)
    yield "memory", f"{_bound(inputs)} {_size(row_bytes(inputs, plan, dtype))} for the rows as {dtype}"
    yield "shards", f"{len(plan.shards):,}, computed in {plan.n_blocks:,} blocks of rows"
    yield "runs", where


def row_bytes(inputs: Inputs, plan: ShardPlan, dtype: str) -> int:
    """Bytes of all rows of the plan in memory; for CSR with chosen features, an upper bound."""
    width = np.dtype(dtype).itemsize
    total = 0
    for shard in plan.shards:
        rows = shard.stop - shard.start
        if inputs.stores[shard.store].source.sparse:
            total += shard.stored_values * (width + INDEX_BYTES) + (rows + 1) * INDEX_BYTES
        else:
            total += rows * inputs.n_features * width
    return total


def _origin(inputs: Inputs, role: str) -> str:
    store = next(store for store in inputs.stores if role in store.masks)
    return store.source.location or "memory"


def _chosen(inputs: Inputs) -> str:
    widest = max(store.source.shape[1] for store in inputs.stores)
    return f" of {widest:,}" if inputs.n_features < widest else ""


def _values(inputs: Inputs, plan: ShardPlan) -> str:
    entries = sum(store.source.shape[0] * store.source.shape[1] for store in inputs.stores)
    kinds = " and ".join(sorted({"sparse (CSR)" if store.source.sparse else "dense" for store in inputs.stores}))
    return f"{plan.stored_values:,} stored, {plan.stored_values / entries:.1%} of all entries, {kinds}"


def _bound(inputs: Inputs) -> str:
    return "at most" if any(_cut_sparse(store) for store in inputs.stores) else "about"


def _cut_sparse(store: Store) -> bool:
    return store.source.sparse and store.columns is not None


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
