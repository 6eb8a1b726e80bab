"""What the processes of a run may compute on, and with how much memory."""

from dataclasses import dataclass
from typing import Self

from bcnmf_dask.backend import cupy, no_device
from bcnmf_dask.engine.device import Device
from bcnmf_dask.engine.memory import configured_limit
from bcnmf_dask.engine.places import Host, Place


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

    def place(self) -> Place:
        """Where the blocks of this process are computed.

        Raises
        ------
        InputError
            If a CUDA device was asked for and there is none.
        """
        if self.device == "cpu" or (self.device == "auto" and no_device() is not None):
            return Host()
        cupy()
        return Device(self.device_memory_limit)
