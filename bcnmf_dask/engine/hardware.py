"""What the processes of a run may compute on, and with how much memory."""

import math
from dataclasses import dataclass
from typing import Self

from bcnmf_dask.backend import free_device_memory, no_device
from bcnmf_dask.engine.device import Device
from bcnmf_dask.engine.limits import DeviceRoom, configured_limit
from bcnmf_dask.engine.places import Host, Place

DEVICE_SHARE = 0.85
"""Of the free memory of a device that a run plans to take: libraries take some, and what is freed lies scattered."""


@dataclass(frozen=True)
class Hardware:
    """The same for every process of a run.

    Attributes
    ----------
    device : {"auto", "cpu", "cuda"}
        ``"auto"`` is a CUDA device in each process that has one.
    memory_limit, device_memory_limit : float or None
        Bytes of each process, and of rows that stay on its device; None is what there is.
    """

    device: str
    memory_limit: float | None
    device_memory_limit: float | None

    @classmethod
    def configured(cls, device: str) -> Self:
        """With the limits of the Dask configuration.

        Raises
        ------
        InputError
            If one of them is no size.
        """
        return cls(device, configured_limit(), configured_limit("device-memory-limit"))

    def device_room(self, number: int | None = None) -> DeviceRoom | None:
        """Memory on the device of this process, or on that of a number; None where CPUs compute.

        Raises
        ------
        InputError
            If a CUDA device was asked for and there is none.
        """
        if self.device == "cpu" or (self.device == "auto" and no_device() is not None):
            return None
        return self.share_of(free_device_memory(number))

    def share_of(self, free: float) -> DeviceRoom:
        """The room on a device of which so many bytes are free."""
        limit = self.device_memory_limit
        return DeviceRoom(DEVICE_SHARE * free, math.inf if limit is None else limit)


def place_in(room: DeviceRoom | None) -> Place:
    """Where the blocks of a process are computed that has this room on a device; see `Hardware.device_room`."""
    return Host() if room is None else Device(room)
