"""What a fit takes of the memory of a device: as planned, within its limit, and what happens when it is full."""

import sys
import types

import dask
import emulator
import numpy as np
import pytest
import scipy.sparse as sp
from cases import KINDS, K, counts
from device_fits import EVERYWHERE, NO_ROOM, close, fitted

from bcnmf_dask import backend
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine import moving
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.memory import Footprint
from bcnmf_dask.engine.rooms import rooms_of
from bcnmf_dask.errors import InputError
from bcnmf_dask.planning import plan_fit

pytestmark = pytest.mark.parametrize("device", ["emulated"], indirect=True)


class Full:
    """A device that is full for the first blocks of rows that are moved to it in a sweep."""

    def __init__(self, monkeypatch, times):
        self.left, self._move = times, moving.block_to_device
        monkeypatch.setattr(moving, "block_to_device", self)

    def __call__(self, block):
        if self.left:
            self.left -= 1
            raise emulator.OutOfMemoryError("out of memory")
        return self._move(block)


def on_a_full_device(monkeypatch, times):
    x, y = map(sp.csr_array, counts())
    found = []

    def fill(self, orders, sweep=LocalEngine.sweep):
        if not found:
            found.append(Full(monkeypatch, times))
        return sweep(self, orders)

    with dask.config.set(EVERYWHERE["some of both"]), monkeypatch.context() as patched:
        patched.setattr(LocalEngine, "sweep", fill)
        return fitted(x, y, "cuda")


def test_a_full_device_keeps_fewer_rows(device, monkeypatch, caplog):
    found = on_a_full_device(monkeypatch, times=2)
    assert caplog.text.count("now move there") == 2
    close(found, fitted(*map(sp.csr_array, counts()), "cpu"))


def test_a_host_without_pinned_memory_left(device, monkeypatch):
    def refuse(size):
        raise emulator.Cupy.cuda.runtime.CUDARuntimeError("out of memory")

    monkeypatch.setattr(emulator.Cupy.cuda, "PinnedMemory", refuse)
    x, y = map(sp.csr_array, counts())
    with dask.config.set(NO_ROOM):
        close(fitted(x, y, device), fitted(x, y, "cpu"))


class Tracked:
    get_allocated_bytes = staticmethod(lambda: 30)
    get_upstream = staticmethod(lambda: types.SimpleNamespace(pool_size=lambda: 100))


@pytest.mark.parametrize(("resource", "more"), [(Tracked, 70), (Tracked.get_upstream(), 0), (object(), 0)])
def test_what_is_free_in_the_pool_of_rmm_counts_where_it_is_known(resource, more, device, monkeypatch):
    alone = backend.free_device_memory()
    rmm = types.SimpleNamespace(mr=types.SimpleNamespace(get_current_device_resource=lambda: resource))
    monkeypatch.setitem(sys.modules, "rmm", rmm)
    assert backend.free_device_memory() == alone + more


def test_the_plan_of_a_fit_knows_the_device(device, tmp_path):
    np.save(tmp_path / "x.npy", counts()[0])
    said = {}
    for where, limits in EVERYWHERE.items():
        with dask.config.set(limits):
            (room,) = rooms_of(False)
        assert room.device is not None
        said[where] = plan_fit(read_inputs(tmp_path / "x.npy", None), "float64", K, "frobenius", [room], here=True)
    assert said["on the device"].device_bytes == said["on the device"].row_bytes
    assert said["in host memory"].device_bytes == said["in host memory"].streamed_bytes == 0
    assert said["some of both"].device_bytes in range(1, 60_000)
    assert rooms_of(False, "cpu")[0].device is None


def placed_in(engine):
    """Bytes on the device, and of the host on the way there, of rows as they are."""
    engine.load()
    held = [one.blocks for one in engine._residency._held()]
    there = [one for blocks in held if isinstance(blocks, moving.PlacedBlocks) for one in blocks.on_host()]
    here = [one for blocks in held if isinstance(blocks, moving.PinnedBlocks) for one in blocks.on_host()]
    return sum(map(moving.bytes_on_device, there)), sum(map(moving.bytes_on_device, here))


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("form", [sp.csr_array, np.asarray])
def test_as_much_is_placed_as_was_planned(form, kind, device):
    x, y = (form(part.astype(kind)) for part in counts())
    inputs = read_inputs(x, y)
    spec = RunSpec(inputs, plan_shards(inputs), "float32", [K], device=device)
    planned = sum(map(Footprint(spec).on_device, spec.plan.shards))
    there, _ = placed_in(LocalEngine(spec, n_threads=1))
    with dask.config.set(NO_ROOM):
        _, moving_there = placed_in(LocalEngine(spec, n_threads=1))
    assert there == pytest.approx(planned, rel=0.05)
    assert moving_there == pytest.approx(planned, rel=0.05)


def test_chunks_of_unknown_size_keep_the_limit_of_the_device(device, tmp_path):
    inputs = read_inputs(*KINDS["dask-csr"](tmp_path))
    spec = RunSpec(inputs, plan_shards(inputs), "float32", [K], device=device)
    with dask.config.set(EVERYWHERE["some of both"]):
        there, moving_there = placed_in(LocalEngine(spec, n_threads=1))
    assert 30_000 < there <= 60_000 < there + moving_there


def test_a_device_that_stays_full_is_left_by_twice_as_many_each_time(device, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.data.shards.COMMON_SHARD", 300)
    monkeypatch.setattr("bcnmf_dask.data.shards.SMALLEST_BLOCK", 100)
    inputs = read_inputs(*map(sp.csr_array, counts()))
    spec = RunSpec(inputs, plan_shards(inputs), "float32", [K], device=device)
    engine = LocalEngine(spec, n_threads=1)
    engine.load()
    held, full = engine._residency._held(), emulator.OutOfMemoryError("out of memory")
    left = []
    while not left or left[-1]:
        assert engine._residency.place.make_room(full, held)
        left.append(sum(isinstance(one.blocks, moving.PlacedBlocks) for one in held))
    n = len(held)
    assert n > 8
    assert left[:4] == [n - 1, n - 2, n - 4, n - 8]
    with pytest.raises(InputError, match="too small even for one shard"):
        engine._residency.place.make_room(full, held)


def test_no_memory_for_the_step_of_the_basis_is_told_in_words(device, monkeypatch):
    def full(*_):
        raise emulator.OutOfMemoryError("out of memory")

    monkeypatch.setattr("bcnmf_dask.fitting.loop.normalise", full)
    with pytest.raises(InputError, match=r"device: its memory ran out beside the rows.*device='cpu'"):
        fitted(*counts(), device)


def test_a_device_too_small_for_one_shard_is_refused_in_words(device, monkeypatch):
    with pytest.raises(InputError, match=r"too small even for one shard of rows.*device='cpu'"):
        on_a_full_device(monkeypatch, times=1000)
