"""The plan of shards and blocks: a function of the data alone, that covers every row once."""

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.loading import order_shard
from bcnmf_dask.data.shards import LARGEST_BLOCK, LARGEST_SHARD, SMALLEST_BLOCK, plan_shards
from bcnmf_dask.engine.taking import from_chunks


class Outline:
    """A source of which only the outline is asked: so that plans of huge data can be made."""

    location = None

    def __init__(self, rows, values):
        self._cuts = np.asarray(rows), np.asarray(values)

    def cuts(self):
        return self._cuts


def outlined(rows, values):
    inputs = read_inputs(np.ones((2, 2)), None)
    (store,) = inputs.stores
    object.__setattr__(store, "source", Outline(rows, values))
    return inputs


@given(n=st.integers(1, 3000), m=st.integers(1, 500), f=st.integers(1, 60), density=st.floats(0.01, 1.0))
def test_every_row_is_in_one_shard_and_one_block(n, m, f, density):
    draw = np.random.default_rng(n)
    parts = [sp.random_array((rows, f), density=density, format="csr", rng=draw) for rows in (n, m)]
    plan = plan_shards(read_inputs(*parts))
    for store, count in enumerate((n, m)):
        mine = [shard for shard in plan.shards if shard.store == store]
        edges = [mine[0].start, *(shard.stop for shard in mine)]
        assert [shard.start for shard in mine] == edges[:-1]
        assert (edges[0], edges[-1]) == (0, count)
    assert sum(shard.n_blocks for shard in plan.shards) == plan.n_blocks
    assert [shard.first_block for shard in plan.shards] == list(
        np.cumsum([0, *(shard.n_blocks for shard in plan.shards)])[:-1]
    )
    assert sum(shard.stored_values for shard in plan.shards) == sum(part.nnz for part in parts)


def test_small_data_still_has_shards_for_several_workers():
    plan = plan_shards(read_inputs(np.ones((360, 64)), np.ones((400, 64))))
    assert len(plan.shards) >= 8


def test_atlas_scale_stays_within_the_limits():
    n, per_row = 2_000_000, 1500
    rows = np.arange(n + 1)
    plan = plan_shards(outlined(rows, rows * per_row))
    shard = plan.shards[0]
    assert shard.block_rows * per_row <= LARGEST_BLOCK
    assert max(one.stored_values for one in plan.shards) < 1.5 * LARGEST_SHARD
    assert all(one.stop % plan.chunk_rows == 0 for one in plan.shards[:-1])


def test_shards_are_balanced_by_stored_values_not_rows():
    per_row = np.where(np.arange(4000) < 400, 100, 5)
    plan = plan_shards(outlined(np.arange(4001), np.append(0, np.cumsum(per_row))))
    sizes = [shard.stored_values for shard in plan.shards]
    assert len(sizes) > 4
    assert max(sizes) < 2.5 * np.mean(sizes)
    lengths = [shard.stop - shard.start for shard in plan.shards]
    assert max(lengths) > 4 * min(lengths)


def test_dense_shards_end_on_stored_chunks(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=np.ones((1000, 50)), chunks=(70, 50))
    plan = plan_shards(read_inputs(tmp_path / "x.zarr", None))
    assert len(plan.shards) > 2
    assert all(shard.stop % 70 == 0 for shard in plan.shards[:-1])


def test_one_tiny_row():
    plan = plan_shards(read_inputs(np.ones((1, 3)), None))
    assert (len(plan.shards), plan.n_blocks, plan.shards[0].role_rows) == (1, 1, {"target": (0, 1)})
    assert SMALLEST_BLOCK < LARGEST_BLOCK


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_blocks_are_views_where_nothing_must_change(form):
    data = form(np.random.default_rng(0).random((500, 20)).astype(np.float32))
    inputs = read_inputs(data, None)
    (store,) = inputs.stores
    values = data.data if sp.issparse(data) else data
    for shard in plan_shards(inputs).shards:
        chunk = store.source.read(shard.start, shard.stop)
        blocks = from_chunks(order_shard(store, shard, "float32"), [chunk]).blocks
        for block in blocks:
            part = block.parts["target"]
            assert np.shares_memory(part.data if sp.issparse(part) else part, values)
