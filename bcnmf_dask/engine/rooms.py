"""The memory of the workers that a fit would run on, before it does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from distributed.system import MEMORY_LIMIT

from bcnmf_dask.backend import n_devices
from bcnmf_dask.engine.clients import connect
from bcnmf_dask.engine.clusters import refuse_without_device
from bcnmf_dask.engine.hardware import Hardware
from bcnmf_dask.engine.limits import DeviceRoom, Room, room_here, room_of_worker, room_within
from bcnmf_dask.engine.threads import usable_cores


def rooms_of(client: str | bool, device: str = "auto") -> list[Room]:
    """One room per worker; none if the scheduler has no worker yet.

    Parameters
    ----------
    client : str or False
        False for this process, ``"local"``, ``"local-cuda"``, or where a scheduler is; see `open_engine`.
    device : {"auto", "cpu", "cuda"}

    Raises
    ------
    ClusterError
        If the scheduler does not answer.
    InputError
        If this machine has not the device that was asked for.
    """
    hardware = Hardware.configured(device)
    if client is False:
        return [replace(room_here(usable_cores()), device=hardware.device_room())]
    if client == "local":  # its processes share what this machine has
        return _alike([_shared(hardware.device_room(), usable_cores())] * usable_cores(), hardware)
    if client == "local-cuda":
        refuse_without_device()
        return _alike([hardware.device_room(number) for number in range(n_devices())], hardware)
    with connect(str(client)) as connected:
        workers = connected.scheduler_info(n_workers=-1)["workers"].values()
        return [_of_worker(worker, hardware) for worker in workers]


def _alike(devices: list[DeviceRoom | None], hardware: Hardware) -> list[Room]:
    """Of processes that are to be started here, each with its share of the memory."""
    room = room_within(hardware.memory_limit or MEMORY_LIMIT / len(devices), 1)
    return [replace(room, device=device) for device in devices]


def _shared(device: DeviceRoom | None, n_processes: int) -> DeviceRoom | None:
    return None if device is None else replace(device, bytes=device.bytes / n_processes)


def _of_worker(worker: Mapping[str, Any], hardware: Hardware) -> Room:
    """As the scheduler knows it: to ask a worker could wait for what it does, or for one that no longer answers.

    It knows of devices where nvidia-ml-py is installed, as dask-cuda wants it.
    """
    room = room_of_worker(hardware.memory_limit or worker["memory_limit"], worker["nthreads"])
    total = worker.get("gpu", {}).get("memory-total")
    if hardware.device == "cpu" or not total:
        return room
    used = worker.get("metrics", {}).get("gpu", {}).get("memory-used") or 0
    return replace(room, device=hardware.share_of(max(total - used, 0)))
