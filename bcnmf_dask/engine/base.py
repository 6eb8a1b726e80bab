"""What the fitting loop asks of an engine, and the messages that pass between them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.engine.orders import Closing, Order, Sample
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.updates.statistics import Role

Starts = Mapping[Role, NDArray[Any]]
"""Start usages given by the caller, (rows of the role, n_components) each."""

Checksums = Mapping[str, int]
"""CRC-32 of usages by ``"role:first row"``, one for each piece that a shard holds."""


@dataclass(frozen=True)
class RunSpec:
    """What stays the same during a run, whoever computes it.

    Attributes
    ----------
    inputs : Inputs
    plan : ShardPlan
    dtype : {"float32", "float64"}
        Of rows, usages and bases.
    components : sequence of int
        Of each fit: memory is planned for all of them.
    pieces_kept : int
        Of rows that fits draw from again: memory is planned for these, too.
    device : {"cpu", "cuda", "auto"}
        See `bcnmf_dask.engine.hardware.Hardware`.
    """

    inputs: Inputs
    plan: ShardPlan
    dtype: str
    components: Sequence[int]
    pieces_kept: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class FitSpec:
    """What stays the same during a fit, as far as rows and usages are concerned.

    Attributes
    ----------
    key : str
        Names the fit among those of a run.
    loss : str
        A key of `bcnmf_dask.updates.losses.LOSSES`.
    n_components : int
    seed : int
        Start usages not given are drawn from it.
    """

    key: str
    loss: str
    n_components: int
    seed: int


@dataclass(frozen=True)
class Saved:
    """Unscaled usages of one fit in a store.

    Attributes
    ----------
    location : str
        The Zarr group that `Engine.write_usages` wrote into.
    stamp : int
        Sweeps they have seen.
    checksums : Checksums
    """

    location: str
    stamp: int
    checksums: Checksums


@dataclass(frozen=True)
class Recipe:
    """How the usages of a fit on any shard come about: a start, and the sweeps since.

    They depend on nothing else, so a shard that was lost is made again, to the bit, from its rows and this.

    Attributes
    ----------
    spec : FitSpec
    given : mapping of shard index to Starts
        Start usages the caller gave; those missing are drawn.
    saved : Saved or None
        Usages to start from instead.
    orders : tuple of Order
        The sweeps since, in their order.
    """

    spec: FitSpec
    given: Mapping[int, Starts] = field(default_factory=dict)
    saved: Saved | None = None
    orders: tuple[Order, ...] = ()

    @property
    def stamp(self) -> int:
        """Sweeps that usages made by it have seen."""
        return (self.saved.stamp if self.saved else 0) + len(self.orders)

    @property
    def nbytes(self) -> int:
        """Bytes of the bases it keeps."""
        return sum(order.nbytes for order in self.orders)

    def owned(self) -> "Recipe":
        """The same with aligned bases of its own, as needed after a journey."""
        return replace(self, orders=tuple(order.owned() for order in self.orders))

    def of(self, shards: Iterable[int]) -> "Recipe":
        """All that these shards need of it."""
        return replace(self, given={index: self.given[index] for index in shards if index in self.given})

    def after(self, order: Order) -> "Recipe":
        """The recipe one sweep later; the same if that sweep is in it already."""
        if order.stamp < self.stamp:
            return self
        return replace(self, orders=(*self.orders, order))

    def since(self, saved: Saved) -> "Recipe":
        """The recipe that starts from saved usages."""
        skip = saved.stamp - (self.stamp - len(self.orders))
        return Recipe(self.spec, saved=saved, orders=self.orders[skip:])


class Times(NamedTuple):
    """Where the wall time of a sweep went, in seconds.

    Attributes
    ----------
    compute : float
        On the slowest worker: visiting its blocks.
    read : float
        Of that, waiting for rows to be read (on the worker that waited longest); 0 where rows are resident.
    merge : float
        Summing the statistics of workers, on workers.
    scheduler : float
        What is left: messages, waiting, and the repair of losses.
    """

    compute: float
    read: float
    merge: float
    scheduler: float


class Engine(Protocol):
    """Where rows live and sweeps run. Rows are visited for a list of fits; a single fit is a list of one."""

    def load(self) -> Findings:
        """Bring every shard where it will be computed, and look at every value."""
        ...

    def fingerprint(self) -> str:
        """A digest of roles and values of all rows, the same for any engine and number of workers."""
        ...

    def check_writable(self, location: str) -> None:
        """See that whoever will write usages can do so in the folder ``location``.

        Raises
        ------
        InputError
            With host and path, if one cannot.
        """
        ...

    def start(self, spec: FitSpec, starts: Starts, saved: Saved | None = None) -> None:
        """Give a fit its usages: those saved, or at stamp 0 those in ``starts`` and the others drawn.

        Raises
        ------
        CheckpointError
            If saved usages cannot be read or do not match their checksums.
        """
        ...

    def sweep(self, orders: Sequence[Order]) -> tuple[list[Record], Times]:
        """Step the usages of every fit from ``order.stamp`` to the next, and return its summed `Statistics`.

        Sums of a device of this process stay on it, so that the basis can follow them there.
        """
        ...

    def sample(self, samples: Sequence[Sample]) -> tuple[list[Record], Times]:
        """The summed `Statistics` of drawn rows, of every sample, at usages fitted anew. Changes nothing.

        A role of which no row was drawn is missing from its record.
        """
        ...

    def evaluate(self, closings: Sequence[Closing]) -> list[Record]:
        """The summed `Evaluation` of every fit at its usages and the basis given. Changes nothing."""
        ...

    def usages(self, order: Order, role: Role) -> NDArray[Any]:
        """The scaled usages of a role, (rows of the role, n_components), in this process."""
        ...

    def write_usages(self, order: Order, location: str) -> Checksums:
        """Write the scaled usages of all roles into the Zarr group at ``location``, and return their checksums."""
        ...

    def rely_on(self, key: str, saved: Saved) -> None:
        """Saved usages of a fit that will stay: what is lost later may be made again from them."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for the record of the run: engine, shards per worker, what was replayed."""
        ...

    def close(self) -> None:
        """Free everything the run holds. Safe to call twice."""
        ...
