"""The memory of the workers that a fit would run on, before it does."""

from dataclasses import replace

from distributed import Client
from distributed.system import MEMORY_LIMIT

from bcnmf_dask.backend import n_devices
from bcnmf_dask.engine.clients import connect
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
        If a worker has not the device that was asked for.
    """
    hardware = Hardware.configured(device)
    if client is False:
        return [replace(room_here(usable_cores()), device=hardware.device_room())]
    if client == "local":
        return _alike([hardware.device_room()] * usable_cores(), hardware)
    if client == "local-cuda":
        return _alike([hardware.device_room(number) for number in range(n_devices())], hardware)
    with connect(str(client)) as connected:
        return _of_workers(connected, hardware)


def _alike(devices: list[DeviceRoom | None], hardware: Hardware) -> list[Room]:
    """Of processes that are to be started here, each with its share of the memory."""
    room = room_within(hardware.memory_limit or MEMORY_LIMIT / len(devices), 1)
    return [replace(room, device=device) for device in devices]


def _of_workers(client: Client, hardware: Hardware) -> list[Room]:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    # As tasks: on its event loop, a slow import would keep a worker from its heartbeats.
    asked = [client.submit(hardware.device_room, workers=[address], pure=False) for address in workers]
    return [
        replace(room_of_worker(hardware.memory_limit or worker["memory_limit"], worker["nthreads"]), device=device)
        for worker, device in zip(workers.values(), client.gather(asked), strict=True)
    ]
