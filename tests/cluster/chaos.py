"""Fits that are disturbed while they run, and what they are compared with: the same fit left in peace."""

import os
import signal
import threading
import time
from contextlib import suppress
from functools import cache

import dask.array as da
import numpy as np
import pandas as pd
import zarr
from anndata import AnnData

from bcnmf_dask import BCNMF, split
from bcnmf_dask.engine.cluster import ClusterEngine

SWEEPS = 8


@cache
def rows(n_target=24_000):
    """Enough values for many shards on each worker."""
    draw = np.random.default_rng(7)
    target = draw.poisson(0.5, (n_target, 300)).astype(np.float32)
    background = draw.poisson(0.4, (n_target // 2, 300)).astype(np.float32)
    target[3], target[:, 5], background[:, 5] = 0, 0, 0
    return target, background


def stored(folder):
    """The same rows as Zarr arrays."""
    paths = [folder / "target.zarr", folder / "background.zarr"]
    for path, values in zip(paths, rows(), strict=True):
        zarr.create_array(path, data=values, chunks=(1024, 300))
    return paths


def lazy(folder):
    """The same rows as Dask arrays, which Dask can compute again."""
    return [da.from_zarr(str(path)) for path in stored(folder)]


SOURCES = {"memory": lambda _: rows(), "path": stored, "dask": lazy}


def model(**changes):
    parameters = {"n_components": 8, "max_iter": SWEEPS, "tol": 0, "random_state": 1}
    return BCNMF(**parameters | changes)


@cache
def labelled():
    """The same rows in one store, in no order: shards end within chunks of usages."""
    values = np.concatenate(rows())
    label = np.repeat(["stim", "ctrl"], [len(part) for part in rows()])
    order = np.random.default_rng(1).permutation(len(values))
    atlas = AnnData(values[order], obs=pd.DataFrame({"condition": label[order]}, index=[f"c{i}" for i in order]))
    return split(atlas, "condition", ["stim"], "ctrl")


@cache
def left_in_peace(data=rows):
    """Bits of the standard fit in this process."""
    target, background = data()
    return bits(model().fit(target, background=background, client=False))


def bits(fitted):
    parts = (fitted.components_, fitted.target_usages_, fitted.background_usages_)
    return [np.asarray(part).tobytes() for part in parts if part is not None]


def pids(client):
    """Process of every worker, by address."""
    return client.run(os.getpid)


def held(client):
    """Runs that the workers of a client hold."""
    found = client.run(lambda dask_worker: list(vars(dask_worker).get("_bcnmf_runs", {})), on_error="ignore")
    return [run for runs in found.values() for run in runs]


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def workers_of(client):
    """Addresses that the scheduler knows now; ``client.scheduler_info`` is a copy, at times an old one."""
    return list(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.workers)))


def owners(engine):
    """Workers that own shards."""
    return [address for address, count in engine.describe()["shards_per_worker"].items() if count]


class Signals:
    """Sends a signal to workers that own shards, and remembers which."""

    def __init__(self, client, number=signal.SIGKILL, count=1):
        self._pids = pids(client)
        self._number = number
        self._count = count
        self.choose = owners
        self.victims = []

    def __call__(self, engine):
        chosen = [one for one in self.choose(engine) if one in self._pids and one not in self.victims]
        for address in chosen[: self._count]:
            self.victims.append(address)
            os.kill(self._pids[address], self._number)

    def thaw(self):
        """Let frozen victims go on."""
        for address in self.victims:
            with suppress(ProcessLookupError):  # a nanny may have ended it
                os.kill(self._pids[address], signal.SIGCONT)


TASKS = {
    "sweep": ["sweep"],
    "sample": ["sample"],
    "evaluate": ["evaluate"],
    "_restore": ["restore"],
    "deliver": ["read", "adopt"],
}
"""What workers do, as methods of `Residency`, for methods of the driver."""


def stalling(task, seconds=1.0):
    """A function for workers: the next call of this method of `Residency` takes longer; nested, to travel by value."""

    def stall():
        from bcnmf_dask.engine.resident import Residency

        original = getattr(Residency, task)

        def slow(*arguments):
            setattr(Residency, task, original)
            time.sleep(seconds)
            return original(*arguments)

        setattr(Residency, task, slow)

    return stall


class Stage:
    """Runs acts while an engine of this process is in the middle of something."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self.engines = []
        self.hits = []
        original = ClusterEngine.load

        def load(engine):
            self.engines.append(engine)
            return original(engine)

        monkeypatch.setattr(ClusterEngine, "load", load)

    def replace(self, owner, method, new):
        """Put another function in the place of a method."""
        self._monkeypatch.setattr(owner, method, new)

    def on(self, owner, method, nth, act, midway=False):
        """Act at the start of the nth call of a method, or while workers are at it; `hits` says if it was in time.

        Workers wait in the middle of their task for the act: no machine is too fast for it.
        """
        original, calls = getattr(owner, method), []

        def disturbed(one, *arguments):
            calls.append(method)
            if len(calls) != nth:
                return original(one, *arguments)
            acted = threading.Event()

            def run():
                act(self.engines[-1])
                acted.set()

            if midway:
                for task in TASKS[method]:
                    self.engines[-1]._client.run(stalling(task), on_error="ignore")
                threading.Timer(0.1, run).start()
            else:
                run()
            try:
                return original(one, *arguments)
            finally:
                if acted.is_set():
                    self.hits.append(method)

        self.replace(owner, method, disturbed)


def at_sweep(number, act):
    """A callback that acts once, between two sweeps."""

    def callback(record):
        if record.iteration == number:
            act()

    return callback
