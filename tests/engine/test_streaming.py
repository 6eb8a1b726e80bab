"""Rows that are read in every visit: the same bits, each stored chunk once, and never a wrong number."""

import asyncio
import threading
import time
from collections import Counter
from itertools import pairwise

import anndata
import dask
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from cases import KINDS, counts
from zarr.storage import LocalStore

from bcnmf_dask import BCNMF, split
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine import local
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.limits import Room
from bcnmf_dask.engine.memory import Footprint, Stays, resident
from bcnmf_dask.engine.rooms import rooms_of
from bcnmf_dask.engine.taking import from_path
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.settings import Settings

PATHS = ["zarr", "anndata-zarr-csr", "anndata-h5ad-csr", "anndata-h5ad-dense", "roles-zarr"]
LITTLE = {"bcnmf-dask.memory-limit": "1 MB"}


def bits(result):
    return [np.asarray(part).tobytes() for part in (result.components, result.target_usages, result.background_usages)]


def fit(given, client=False, **options):
    chosen = [Settings(4, 1.0, "mean", loss, None, 8, 0.0, 3) for loss in ("frobenius", "kullback-leibler")]
    return factorize(read_inputs(*given), chosen, dtype="float32", client=client, **options)


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("where", ["local", "cluster"])
def test_streamed_rows_give_the_bits_of_resident_ones(kind, where, tmp_path, client_of):
    given = KINDS[kind](tmp_path)
    reference = fit(given)
    with dask.config.set(LITTLE):
        streamed = fit(given, client_of[where]())
    n_shards = len(plan_shards(read_inputs(*given)).shards)
    assert (reference[0].run["shards_streamed"], streamed[0].run["shards_streamed"]) == (0, n_shards)
    assert [bits(one) for one in streamed] == [bits(one) for one in reference]


def test_rows_whose_columns_are_not_sorted_stream(tmp_path):
    rows = sp.random_array((600, 60), density=0.2, rng=np.random.default_rng(1), format="csr")
    for first, last in pairwise(rows.indptr):
        rows.indices[first:last] = rows.indices[first:last][::-1].copy()
    rows.has_sorted_indices = False
    path = tmp_path / "x.h5ad"
    anndata.AnnData(rows).write_h5ad(path, compression="gzip")
    model = BCNMF(3, 0.0, max_iter=3, tol=0, loss="frobenius")
    reference = np.asarray(model.fit(path, client=False).components_)
    with dask.config.set(LITTLE):
        streamed = np.asarray(model.fit(path, client=False).components_)
    assert (streamed == reference).all()


def test_loading_ends_where_it_failed(tmp_path, monkeypatch):
    """Else the threads that did not fail would read all that is theirs, with nobody to wait for it."""
    np.save(tmp_path / "x.npy", np.ones((4000, 50), np.float32))
    inputs = read_inputs(tmp_path / "x.npy", None)
    plan = plan_shards(inputs)
    taken, both, failed = [], threading.Barrier(2, timeout=10), threading.Event()

    def take(order, source, shelf):
        taken.append(order.shard.index)
        if len(taken) <= 2:
            both.wait()
        if order.shard.index == 0:
            failed.set()
            raise InputError("damaged")
        failed.wait(10)
        time.sleep(0.05)  # for the error to be noted
        return from_path(order, source, shelf)

    monkeypatch.setattr("bcnmf_dask.engine.resident.from_path", take)
    engine = local.LocalEngine(RunSpec(inputs, plan, "float32", [3]), n_threads=2)
    with pytest.raises(InputError, match="damaged"):
        engine.load()
    engine.close()
    engine._residency._readers.shutdown(wait=True)
    assert len(taken) <= 3 < len(plan.shards)


@pytest.mark.parametrize("threads", [1, 3])
def test_some_rows_resident_and_some_streamed_give_the_same_bits(threads, tmp_path, monkeypatch):
    given = KINDS["zarr"](tmp_path)
    reference = fit(given)
    odd = Stays(frozenset(range(1, 1000, 2)))
    monkeypatch.setattr(local, "resident", lambda *_: odd)
    monkeypatch.setattr(local, "usable_cores", lambda: threads)
    mixed = fit(given)
    n_shards = len(plan_shards(read_inputs(*given)).shards)
    assert mixed[0].run["shards_streamed"] == -(-n_shards // 2)
    assert [bits(one) for one in mixed] == [bits(one) for one in reference]


@pytest.mark.parametrize("kind", ["zarr", "anndata-zarr-csr"])
def test_each_sweep_reads_each_stored_chunk_once(kind, tmp_path, monkeypatch):
    given = KINDS[kind](tmp_path)
    read = Counter()
    get = LocalStore.get

    async def counted(self, key, *arguments, **options):
        if "/c/" in f"/{key}":
            read[f"{self.root}/{key}"] += 1
        return await get(self, key, *arguments, **options)

    monkeypatch.setattr(LocalStore, "get", counted)
    sweeps = []
    with dask.config.set(LITTLE):
        BCNMF(3, max_iter=5, tol=0).fit(
            given[0],
            background=given[1],
            client=False,
            callbacks=[lambda _: sweeps.append(read.copy()) or read.clear()],
        )
    stored = [path for path in tmp_path.rglob("*") if path.is_file() and "c" in path.parts]
    values = {str(path) for path in stored if kind == "zarr" or path.relative_to(tmp_path).parts[1] == "X"}
    pointers = {path for path in values if "indptr" in path}
    assert all(sweep == dict.fromkeys(values - pointers, 1) for sweep in sweeps[1:])
    assert len(values) >= 6


def test_the_history_says_how_long_rows_were_waited_for(tmp_path):
    given = KINDS["zarr"](tmp_path)
    with dask.config.set(LITTLE):
        history = BCNMF(3, max_iter=3, tol=0).fit(given[0], background=given[1], client=False).history_
    assert (history.read_seconds > history.compute_seconds / 20).all()
    assert (history.read_seconds <= history.compute_seconds).all()


def at_sweep(number, act):
    """A callback that acts once, for whichever fit comes first."""
    due = [act]
    return lambda record: due.pop()() and None if due and record.iteration == number else None


@pytest.mark.parametrize("where", ["local", "cluster"])
def test_a_store_that_changes_during_the_fit_is_refused_by_name(where, tmp_path, client_of):
    given = KINDS["zarr"](tmp_path)

    def change():
        zarr.open_array(given[0], mode="r+")[130, 3] += 1

    with dask.config.set(LITTLE), pytest.raises(InputError, match=r"target: '.*x\.zarr' has changed since"):
        fit(given, client_of[where](), callbacks=[at_sweep(3, change)])


@pytest.mark.parametrize("form", ["lost", "cut"])
def test_a_corrupted_chunk_is_refused_by_name(form, tmp_path):
    given = KINDS["zarr"](tmp_path)
    chunk = given[1] / "c" / "1" / "0"

    def damage():
        chunk.unlink() if form == "lost" else chunk.write_bytes(chunk.read_bytes()[:20])

    with dask.config.set(LITTLE), pytest.raises(InputError, match=r"background: '.*y\.zarr'"):
        fit(given, callbacks=[at_sweep(3, damage)])


@pytest.mark.parametrize("kind", ["zarr", "anndata-h5ad-csr", "anndata-zarr-csr"])
@pytest.mark.parametrize("where", ["local", "cluster"])
def test_a_store_that_is_out_of_reach_for_a_while_is_waited_for(kind, where, tmp_path, client_of):
    given = KINDS[kind](tmp_path)
    reference = fit(given)
    hidden = tmp_path / "hidden"

    def hide():
        given[0].rename(hidden)
        threading.Timer(1.0, lambda: hidden.rename(given[0])).start()

    with dask.config.set(LITTLE):
        waited = fit(given, client_of[where](), callbacks=[at_sweep(3, hide)])
    assert not hidden.exists()
    assert [bits(one) for one in waited] == [bits(one) for one in reference]


def test_bytes_that_were_wrong_only_once_are_read_again(tmp_path, monkeypatch):
    """A blip of the storage may show as zeros; the store is there again before anybody could look."""
    given = KINDS["zarr"](tmp_path)
    reference = fit(given)
    get, blips = LocalStore.get, []

    async def blip(self, key, *arguments, **options):
        if blips and key.endswith("c/1/0"):
            return blips.pop()
        return await get(self, key, *arguments, **options)

    monkeypatch.setattr(LocalStore, "get", blip)
    with dask.config.set(LITTLE):
        read_again = fit(given, callbacks=[at_sweep(3, lambda: blips.append(None))])
    assert not blips
    assert [bits(one) for one in read_again] == [bits(one) for one in reference]


def test_an_error_does_not_wait_for_a_slow_read(tmp_path, monkeypatch):
    given = KINDS["zarr"](tmp_path)
    stuck, ended, chunks_left = threading.Event(), threading.Event(), []
    get = LocalStore.get

    async def get_two(self, key, *arguments, **options):
        if chunks_left and "/c/" in f"/{key}":
            chunks_left[0] -= 1
            if chunks_left[0] <= 0:
                stuck.set()
                await asyncio.to_thread(ended.wait, 60)
        return await get(self, key, *arguments, **options)

    def fail(*_):
        stuck.wait(20)
        raise ArithmeticError("stop here")

    def begin():
        monkeypatch.setattr("bcnmf_dask.engine.shard_state.sweep_block", fail)
        chunks_left.append(2)

    monkeypatch.setattr(LocalStore, "get", get_two)
    try:
        with dask.config.set(LITTLE), pytest.raises(ArithmeticError, match="stop here"):
            fit(given, callbacks=[at_sweep(3, begin)])
        assert stuck.is_set()
        assert not ended.is_set()
    finally:
        ended.set()


def test_a_store_that_stays_out_of_reach_is_given_up_by_name(tmp_path):
    given = KINDS["zarr"](tmp_path)
    with (
        dask.config.set(LITTLE | {"bcnmf-dask.read-patience": 1}),
        pytest.raises(InputError, match=r"target: '.*x\.zarr' has been out of reach for 1 s"),
    ):
        fit(given, callbacks=[at_sweep(3, lambda: given[0].rename(tmp_path / "gone"))])


def test_rows_in_memory_that_do_not_fit_are_refused(tmp_path):
    with (
        dask.config.set(LITTLE),
        pytest.raises(InputError, match=r"rows need .* of memory .*`bcnmf-dask ingest`"),
    ):
        BCNMF(3, max_iter=2).fit(counts()[0].astype(np.int16), background=counts()[1], client=False)


@pytest.mark.parametrize("limit", ["much", "0", "-1 GB"])
def test_a_limit_that_is_no_size_is_refused(limit):
    with (
        dask.config.set({"bcnmf-dask.memory-limit": limit}),
        pytest.raises(InputError, match=rf"memory limit: got '{limit}'"),
    ):
        BCNMF(3, max_iter=2).fit(*counts()[:1], background=counts()[1], client=False)


def test_what_stays_resident_depends_on_the_room(tmp_path):
    inputs = read_inputs(*KINDS["zarr"](tmp_path))
    plan = plan_shards(inputs)
    footprint = Footprint(RunSpec(inputs, plan, "float32", [3, 5]))
    rows = sum(footprint.rows(shard) for shard in plan.shards)
    assert rows == 4 * sum(x.size for x in counts())
    fixed = footprint.statistics(1) + footprint.decoding(1) + sum(footprint.usages(shard) for shard in plan.shards)
    everything = {shard.index for shard in plan.shards}
    assert resident(footprint, Room(fixed + rows, np.inf, 1), plan.shards).all == everything
    short = fixed + rows - 1
    assert resident(footprint, Room(short, np.inf, 1), plan.shards).all < everything, "and then blocks need buffers too"
    assert resident(footprint, Room(0, 0, 1), plan.shards) == Stays()
    assert resident(footprint, Room(0, 0, 1), plan.shards, Stays(frozenset({1}))).all == {1}


def test_rows_that_have_both_roles_take_twice_the_memory():
    rows = np.random.default_rng(0).poisson(1.0, (400, 30)).astype(np.float32)
    cells = anndata.AnnData(rows, obs={"group": ["a"] * 100 + ["b"] * 100 + ["c"] * 200})
    inputs = read_inputs(*split(cells, "group", target=["a", "b"], background=["b"]))
    plan = plan_shards(inputs)
    footprint = Footprint(RunSpec(inputs, plan, "float64", [3]))
    assert sum(footprint.rows(shard) for shard in plan.shards) == (200 + 100) * 30 * 8


@pytest.mark.parametrize(
    ("stored", "bytes_each"), [("uint8", 1), ("int16", 2), ("int64", 4), ("float64", 4), ("float32", 4)]
)
def test_whole_numbers_of_a_store_are_held_as_they_are_where_that_is_smaller(stored, bytes_each, tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=counts()[0].astype(stored), chunks=(50, 40))
    inputs = read_inputs(tmp_path / "x.zarr", None)
    plan = plan_shards(inputs)
    rows = sum(Footprint(RunSpec(inputs, plan, "float32", [3])).rows(shard) for shard in plan.shards)
    assert rows == bytes_each * counts()[0].size
    zarr.create_array(tmp_path / "reference.zarr", data=counts()[0].astype(np.float32), chunks=(50, 40))
    fits = [
        BCNMF(3, 0.0, max_iter=5, tol=0).fit(tmp_path / name, client=False) for name in ("x.zarr", "reference.zarr")
    ]
    assert fits[0].components_.tobytes() == fits[1].components_.tobytes()


def test_chunks_that_are_decoded_whole_take_memory_too(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=np.ones((6000, 40), np.float32), chunks=(4000, 40))
    inputs = read_inputs(tmp_path / "x.zarr", None)
    footprint = Footprint(RunSpec(inputs, plan_shards(inputs), "float32", [3]))
    assert footprint.decoding(threads=2) == 3 * 4000 * 40 * 4


@pytest.mark.chaos
def test_a_lost_shard_that_has_changed_is_refused(tmp_path, start_client):
    """The rows stayed in memory of a worker that is lost; what is read instead must be the same."""
    given = KINDS["zarr"](tmp_path)
    client = start_client(3)

    def lose():
        zarr.open_array(given[0], mode="r+")[:, :] = 1
        client.restart()

    with pytest.raises(InputError, match=r"target: '.*x\.zarr': rows \d+ to \d+ have changed since the fit began"):
        fit(given, client, callbacks=[at_sweep(3, lose)])


def test_the_rooms_of_workers_are_known_before_a_fit(start_client, monkeypatch):
    client = start_client(3)
    address = client.scheduler.address
    busy = [client.submit(time.sleep, 5, workers=[one], pure=False) for one in client.scheduler_info()["workers"]]
    rooms = rooms_of(address)
    assert not any(one.done() for one in busy), "what workers do is not waited for"
    client.cancel(busy, force=True)
    assert [room.threads for room in rooms] == [1, 1, 1]
    assert all(0 < room.planned <= room.most for room in rooms)
    with dask.config.set({"bcnmf-dask.memory-limit": "40 GB"}):
        assert {room.planned for room in rooms_of(address)} == {0.55 * 40e9}
    assert len(rooms_of("local")) == usable_cores()
    (here,) = rooms_of(False)
    assert here.threads == usable_cores()
