"""Where the blocks of a process are computed: on the CPUs of its host."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from bcnmf_dask.engine.blocks import Blocks
from bcnmf_dask.engine.shard_state import HeldShard
from bcnmf_dask.updates.statistics import Role


class Place(Protocol):
    """Where blocks are computed.

    Attributes
    ----------
    name : str
        For the record of a run.
    alone : bool
        Whether one thread of the process is to launch all work.
    """

    name: str
    alone: ClassVar[bool]

    def settle(self, held: HeldShard, on_device: bool) -> HeldShard:
        """The shard with its blocks here, if they are planned to stay, or on their way."""
        ...

    def usages(self, usages: Mapping[Role, NDArray[Any]]) -> dict[Role, Any]:
        """Usages of the host, here."""
        ...

    def computed(self, blocks: Blocks) -> None:
        """Called after each block: work on one that does not stay here must be over when this returns."""
        ...

    def enter(self) -> None:
        """Called first by each thread that computes."""
        ...

    def finish(self) -> None:
        """Called by the threads that compute: all they have launched must be over when this returns."""
        ...

    def close(self) -> None:
        """Let others have the memory that the run has left."""
        ...

    def make_room(self, error: Exception, held: Iterable[HeldShard]) -> bool:
        """Whether an error was for want of memory, and some was freed: what failed is then worth another try."""
        ...


class Host:
    """The place where everything is already; see `Place`."""

    name = "cpu"
    alone: ClassVar[bool] = False

    def settle(self, held: HeldShard, on_device: bool) -> HeldShard:  # noqa: ARG002
        """See `Place`."""
        return held

    def usages(self, usages: Mapping[Role, NDArray[Any]]) -> dict[Role, Any]:
        """See `Place`."""
        return dict(usages)

    def computed(self, blocks: Blocks) -> None:
        """See `Place`."""

    def enter(self) -> None:
        """See `Place`."""

    def finish(self) -> None:
        """See `Place`."""

    def close(self) -> None:
        """See `Place`."""

    def make_room(self, error: Exception, held: Iterable[HeldShard]) -> bool:  # noqa: ARG002
        """See `Place`."""
        return False
