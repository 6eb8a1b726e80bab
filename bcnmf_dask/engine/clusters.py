"""Clusters on this machine, for the length of a fit."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import dask
from distributed import LocalCluster

from bcnmf_dask.backend import no_device
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.engine.unstarted import hearing_children, refuse_guardless_script, refuse_unreadable_script, why
from bcnmf_dask.errors import InputError

QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
"""What workers do besides takes 2.6 % of a core each as Dask has it (``benchmarks/idle.py``), for a dashboard."""

RMM_POOL = {
    "rmm_pool_size": 0.5,
    "rmm_track_allocations": True,
    "rmm_allocator_external_lib_list": "cupy",
}
"""Device memory from one pool for all libraries of a worker; it grows. Tracked, as a plan asks what of it is free."""


def local_cluster(n_workers: int | None = None) -> Any:
    """A cluster on this machine, comms and dashboard bound to loopback, one thread per worker process.

    Raises
    ------
    ClusterError
        If the workers cannot start; see `bcnmf_dask.engine.unstarted.why`.
    """
    return _started(LocalCluster, n_workers=n_workers or usable_cores(), threads_per_worker=1)


def local_cuda_cluster() -> Any:
    """As `local_cluster`, a worker process on each CUDA device of this machine, by dask-cuda; with RMM's pool if there.

    Raises
    ------
    InputError
        If there is no device, or dask-cuda is not installed.
    ClusterError
        If the workers cannot start.
    """
    refuse_without_device()
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise InputError(
            f"client='local-cuda': dask-cuda is not installed whole ({error}). Expected it beside CuPy: "
            "pip install 'bcnmf-dask[gpu-cu13]' (or gpu-cu12)."
        ) from error
    pool = RMM_POOL if find_spec("rmm") else {}
    return _started(LocalCUDACluster, threads_per_worker=1, **pool)


def refuse_without_device() -> None:
    """InputError, in words, where no worker on a CUDA device can be started."""
    if (missing := no_device()) is not None:
        raise InputError(f"client='local-cuda': {missing}. Expected CUDA devices; client='local' needs none.")


def _started(cluster: Callable[..., Any], **shape: Any) -> Any:
    refuse_guardless_script()
    refuse_unreadable_script()
    with hearing_children() as guard_missing:
        try:
            with _no_interrupts(), dask.config.set(QUIET):
                return cluster(
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,  # errors reach the user as exceptions; the rest is noise
                    **shape,
                )
        except Exception as error:
            raise why(error, guard_missing()) from error


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let processes started meanwhile ignore Ctrl-C: the driver alone answers it, and then stops them in order."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
