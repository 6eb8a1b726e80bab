"""Statistics of drawn rows: the same in both engines, and nothing is changed by taking them."""

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import anndata
import dask
import numpy as np
import pytest
import scipy.sparse as sp
from cases import KINDS, F, K, M, N, counts
from zarr.storage import LocalStore

from bcnmf_dask import split
from bcnmf_dask.data import draws
from bcnmf_dask.data.draws import Draw
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine import local, streamed
from bcnmf_dask.engine.base import FitSpec, RunSpec
from bcnmf_dask.engine.clients import open_engine
from bcnmf_dask.engine.memory import BLOCKS_OF_PIECE
from bcnmf_dask.engine.orders import Order, Sample
from bcnmf_dask.engine.shelf import Shelf
from bcnmf_dask.updates.initialise import draw_basis, even_usages, normalise
from bcnmf_dask.updates.multiplicative import Steps

LOSSES = ("frobenius", "kullback-leibler")
WHERE = ("local", "cluster")
STEPS = Steps(2, 1.0)
PIECE = 16
LITTLE = {"bcnmf-dask.memory-limit": "1 MB"}
FORMS = {"dense": np.asarray, "csr": sp.csr_array, "integers": lambda rows: sp.csr_array(rows.astype(np.int64))}


def inputs_of(form):
    return read_inputs(*(FORMS[form](rows) for rows in counts()))


def basis(dtype):
    return normalise(draw_basis(4, F, K))[0].astype(dtype)


def draw(inputs, number=0, of=1, seed=7):
    return Draw((seed,), number, of, inputs.n_rows, PIECE)


def sample(one, loss, dtype="float32"):
    return Sample(basis(dtype), STEPS, loss, one)


@contextmanager
def engine_of(inputs, client, dtype="float32"):
    with open_engine(client, RunSpec(inputs, plan_shards(inputs), dtype, [K, K])) as engine:
        engine.load()
        yield engine


def taken(engine, samples):
    return engine.sample(samples)[0]


def bits(records):
    return [{role: [np.asarray(part).tobytes() for part in sums] for role, sums in one.items()} for one in records]


def begin(engine, inputs, loss, dtype):
    """Start a fit from the usages that a sample begins with, and give the order of its first sweep."""
    starts = dict(zip(inputs.n_rows, (even_usages(rows.astype(dtype), basis(dtype)) for rows in counts()), strict=True))
    engine.start(FitSpec(loss, loss, K, 0), starts)
    return Order(basis(dtype), STEPS, loss, 0, np.ones(K))


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_draw_of_all_rows_is_a_sweep_of_them_to_the_bit(form, dtype, where, client_of):
    inputs = inputs_of(form)
    with engine_of(inputs, client_of[where](), dtype) as engine:
        swept, _ = engine.sweep([begin(engine, inputs, loss, dtype) for loss in LOSSES])
        assert bits(taken(engine, [sample(draw(inputs), loss, dtype) for loss in LOSSES])) == bits(swept)


@pytest.mark.parametrize("form", FORMS)
def test_both_engines_give_the_same_bits_of_any_draw(form, client_of):
    inputs = inputs_of(form)
    wanted = [sample(draw(inputs, number, of), loss) for loss in LOSSES for number, of in ((0, 2), (3, 7), (1, 100))]
    found = []
    for where in WHERE:
        with engine_of(inputs, client_of[where]()) as engine:
            together = bits(taken(engine, wanted))
            assert together == [one for alone in wanted for one in bits(taken(engine, [alone]))]
            found.append(together)
    assert found[0] == found[1]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("of", [2, 5, 250])
def test_all_draws_of_a_shuffle_add_up_to_all_rows(loss, of, where, client_of):
    inputs = inputs_of("csr")
    with engine_of(inputs, client_of[where](), "float64") as engine:
        (whole,) = taken(engine, [sample(draw(inputs), loss, "float64")])
        parts = taken(engine, [sample(draw(inputs, number, of), loss, "float64") for number in range(of)])
    for role, sums in whole.items():
        mine = [part[role] for part in parts if role in part]
        assert len(mine) == min(of, inputs.n_rows[role])
        for name, expected in zip(sums._fields, sums, strict=True):
            np.testing.assert_allclose(sum(getattr(one, name) for one in mine), expected, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("where", WHERE)
def test_a_role_of_which_no_row_is_drawn_is_missing(where, client_of):
    rows, few = counts()[0], counts()[1][:2]
    inputs = read_inputs(rows, few)
    with engine_of(inputs, client_of[where]()) as engine:
        records = taken(engine, [sample(draw(inputs, number, 10), LOSSES[0]) for number in range(10)])
    assert sum("background" in one for one in records) == 2
    assert all("target" in one for one in records)


@pytest.mark.parametrize("where", WHERE)
def test_samples_change_nothing_in_a_fit(where, client_of):
    inputs = inputs_of("csr")
    found = []
    for sampling in (False, True):
        with engine_of(inputs, client_of[where]()) as engine:
            order = begin(engine, inputs, LOSSES[1], "float32")
            before = engine.fingerprint()
            records = []
            for stamp in range(3):
                now = Order(order.basis, order.steps, order.key, stamp, order.scales)
                if sampling:
                    taken(engine, [sample(draw(inputs, stamp, 4), loss) for loss in LOSSES])
                records += engine.sweep([now])[0]
            last = Order(order.basis, order.steps, order.key, 3, order.scales)
            usages = [engine.usages(last, role).tobytes() for role in inputs.n_rows]
            assert engine.fingerprint() == before
            found.append((bits(records), usages))
    assert found[0] == found[1]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", ["zarr", "anndata-zarr-csr", "anndata-h5ad-dense", "roles-zarr"])
def test_streamed_rows_give_the_bits_of_resident_ones(kind, where, tmp_path, client_of):
    inputs = read_inputs(*KINDS[kind](tmp_path))
    wanted = [sample(draw(inputs, number, of), loss) for loss in LOSSES for number, of in ((0, 1), (2, 5), (60, 90))]
    with engine_of(inputs, False) as engine:
        expected = bits(taken(engine, wanted))
    with dask.config.set(LITTLE), engine_of(inputs, client_of[where]()) as engine:
        assert engine.describe()["shards_streamed"] == len(plan_shards(inputs).shards)
        assert [bits(taken(engine, wanted)) for _ in range(2)] == [expected] * 2


def chunks_drawn(inputs, wanted_draws, height):
    """Chunks, by store and number, of the blocks with drawn rows."""
    wanted = set()
    for shard in plan_shards(inputs).shards:
        ((role, (first, _)),) = shard.role_rows.items()
        for start in range(shard.start, shard.stop, shard.block_rows):
            stop = min(start + shard.block_rows, shard.stop)
            rows = first + start - shard.start, first + stop - shard.start
            if any(len(one.runs(role, *rows)) for one in wanted_draws):
                wanted |= {(shard.store, chunk) for chunk in range(start // height, -(-stop // height))}
    return wanted


@pytest.mark.parametrize("numbers", [[17], [0, 40], [3, 90]])
def test_only_blocks_with_drawn_rows_are_read(numbers, tmp_path, monkeypatch):
    paths = KINDS["zarr"](tmp_path)
    inputs = read_inputs(*paths)
    read = Counter()
    get = LocalStore.get

    async def counted(self, key, *arguments, **options):
        if "/c/" in f"/{key}":
            store = next(number for number, path in enumerate(paths) if path.name in f"{self.root}/{key}")
            read[store, int(key.split("c/")[-1].split("/")[0])] += 1
        return await get(self, key, *arguments, **options)

    with dask.config.set(LITTLE), engine_of(inputs, False) as engine:
        monkeypatch.setattr(LocalStore, "get", counted)
        wanted = [draw(inputs, number, 100) for number in numbers]
        taken(engine, [sample(one, loss) for one in wanted for loss in LOSSES])
    expected = chunks_drawn(inputs, wanted, height=64)
    every = sum(-(-count // 64) for count in inputs.n_rows.values())
    assert 0 < len(expected) < every
    assert set(read) == expected
    assert set(read.values()) == {1}


@pytest.mark.parametrize("of", [3, 40, 400])
@pytest.mark.parametrize("kind", ["zarr", "anndata-zarr-csr", "roles-zarr"])
def test_a_pass_in_draws_reads_every_block_once(kind, of, tmp_path, monkeypatch):
    """Roles of one store may lie anywhere in its blocks: those at the seams of two windows are then read twice."""
    monkeypatch.setattr(draws, "PIECES", 2)
    monkeypatch.setattr(local, "Shelf", lambda _: Shelf(1e9))
    inputs = read_inputs(*KINDS[kind](tmp_path))
    plan, read = plan_shards(inputs), Counter()
    make_blocks = streamed.make_blocks

    def counted(*arguments):
        for block in make_blocks(*arguments):
            read[block.number] += 1
            yield block

    with dask.config.set(LITTLE), engine_of(inputs, False) as engine:
        monkeypatch.setattr(streamed, "make_blocks", counted)
        whole = Draw((7,), 0, of, inputs.n_rows, plan.block_rows)
        most = 0
        for number in range(of):
            one = replace(whole, number=number)
            taken(engine, [replace(sample(one, LOSSES[1]), goes_on=True)])
            most = max(most, len(engine._residency._shelf))
    assert set(read) == set(range(plan.n_blocks))
    assert max(read.values()) <= (4 if kind == "roles-zarr" else 1)
    assert most <= BLOCKS_OF_PIECE * whole.pieces_kept + 1


def test_blocks_are_kept_only_for_draws_that_follow(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "Shelf", lambda _: Shelf(1e9))
    inputs = read_inputs(*KINDS["zarr"](tmp_path))
    one = sample(Draw((7,), 0, 40, inputs.n_rows, plan_shards(inputs).block_rows), LOSSES[0])
    with dask.config.set(LITTLE), engine_of(inputs, False) as engine:
        for wanted, some in ((replace(one, goes_on=True), True), (one, False)):
            taken(engine, [wanted])
            assert bool(len(engine._residency._shelf)) == some
        taken(engine, [replace(one, goes_on=True)])
        engine.fingerprint()
        assert not len(engine._residency._shelf), "all rows were gone through"


class Watched(Shelf):
    """Remembers the most bytes it held."""

    def put(self, block):
        super().put(block)
        self.most = max(getattr(self, "most", 0), self.limit - self._left)


@pytest.mark.parametrize("limit", [0, 30_000, 10**9])
@pytest.mark.parametrize("kind", ["anndata-zarr-csr", "rare"])
def test_the_room_for_kept_blocks_changes_no_bit_and_is_never_exceeded(kind, limit, tmp_path, monkeypatch):
    """Of a role that is rare in its store the pieces of a window may lie in all blocks."""
    monkeypatch.setattr(draws, "PIECES", 2)
    if kind == "rare":
        cells = anndata.AnnData(
            np.vstack(counts()), obs={"group": ["rare" if i % 31 == 0 else "common" for i in range(N + M)]}
        )
        cells.write_h5ad(tmp_path / "cells.h5ad")
        given = split(tmp_path / "cells.h5ad", "group", target="common", background="rare")
    else:
        given = KINDS[kind](tmp_path)
    inputs = read_inputs(*given)
    whole = Draw((7,), 0, 20, inputs.n_rows, plan_shards(inputs).block_rows)
    wanted = [replace(sample(replace(whole, number=number), LOSSES[1]), goes_on=True) for number in range(20)]
    with engine_of(inputs, False) as engine:
        expected = [bits(taken(engine, [one])) for one in wanted]
    shelf = Watched(limit)
    shelf.limit = limit
    monkeypatch.setattr(local, "Shelf", lambda _: shelf)
    with dask.config.set(LITTLE), engine_of(inputs, False) as engine:
        assert [bits(taken(engine, [one])) for one in wanted] == expected
    assert getattr(shelf, "most", 0) <= limit
    assert (getattr(shelf, "most", 0) > 0) == (limit > 0)
