"""A Dask array can declare what its chunks then do not hold: refused in words, whoever computes them."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.loading import order_shard
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.taking import from_chunks
from bcnmf_dask.errors import InputError

COUNTS = np.arange(60.0).reshape(12, 5)


def every_other_sparse(block, block_info=None):
    return sp.csr_array(block) if block_info[0]["chunk-location"][0] % 2 else block


WRONG = {
    "fewer rows": (
        lambda block: block[:-1],
        r"8 rows of 5 features .* 12 rows of 5; .*compute_chunk_sizes",
    ),
    "more rows": (lambda block: np.concatenate([block, block]), r"hold 24 rows .* or give the right chunks="),
    "fewer features": (lambda block: block[:, :-1], r"12 rows of 4 features .* declares 12 rows of 5"),
    "one dimension": (lambda block: block[:, 0], r"1 dimension"),
    "masked": (lambda block: np.ma.masked_equal(block, 3), r"masked array.*\.filled\(0\)"),
    "CSC": (sp.csc_array, r"CSC format.*\.tocsr\(\)"),
    "DataFrames": (pd.DataFrame, r"held as DataFrame"),
    "text": (lambda block: block.astype(str), r"values of type <U"),
    "objects": (lambda block: block.astype(object), r"values of type object"),
    "both kinds": (every_other_sparse, r"both dense and sparse chunks"),
}


def declared(change):
    """Four chunks of three rows, as the array says."""
    return da.from_array(COUNTS, chunks=(3, 5)).map_blocks(change, dtype=float, meta=COUNTS[:0])


@pytest.mark.parametrize("case", WRONG)
def test_chunks_that_are_not_as_declared_are_refused_in_this_process(case):
    change, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        read_inputs(declared(change), None).stores[0].source.read(0, 12)


@pytest.mark.parametrize("case", WRONG)
def test_chunks_that_are_not_as_declared_are_refused_by_the_worker_that_adopts_them(case):
    change, message = WRONG[case]
    inputs = read_inputs(COUNTS, declared(change))
    store = inputs.stores[1]
    (shard,) = [shard for shard in plan_shards(inputs).shards if shard.store == 1]
    chunks = [chunk.compute(scheduler="sync") for chunk in store.source.blocks(shard.start, shard.stop)]
    with pytest.raises(InputError, match=rf"(?s)^background: .*{message}"):
        from_chunks(order_shard(store, shard, "float32"), chunks)


def test_empty_chunks_are_as_declared():
    array = da.concatenate([da.zeros((0, 5)), da.from_array(COUNTS, chunks=(12, 5))])
    np.testing.assert_array_equal(read_inputs(array, None).stores[0].source.read(0, 12), COUNTS)


def test_values_are_those_of_the_chunks_whatever_type_is_declared():
    halves = COUNTS + 0.5
    lie = da.from_array(halves, chunks=(4, 5)).map_blocks(np.copy, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    inputs = read_inputs(lie, None)
    found = []
    for shard in plan_shards(inputs).shards:
        chunks = [chunk.compute() for chunk in inputs.stores[0].source.blocks(shard.start, shard.stop)]
        held = from_chunks(order_shard(inputs.stores[0], shard, "float32"), chunks)
        found += [block.parts["target"] for block in held.blocks]
    np.testing.assert_array_equal(np.concatenate(found), halves)
