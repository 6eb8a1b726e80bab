"""One shard and the state of every fit on it, and what is computed on one block."""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, column_sums, is_on_device, to_host
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.loading import Block
from bcnmf_dask.data.shards import Shard
from bcnmf_dask.engine.base import FitSpec, Recipe
from bcnmf_dask.engine.blocks import Blocks
from bcnmf_dask.engine.orders import Closing, Order, Runs, Sample
from bcnmf_dask.engine.tree import Record, on_host
from bcnmf_dask.errors import ClusterError
from bcnmf_dask.updates.coverage import cover
from bcnmf_dask.updates.initialise import even_usages
from bcnmf_dask.updates.losses import LOSSES, Loss, SweepTogether
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.optimal import Optimum
from bcnmf_dask.updates.rows import pick_rows
from bcnmf_dask.updates.statistics import CARRIED, Evaluation, Role
from bcnmf_dask.updates.together import Group, SharedRows

Usages = Mapping[Role, NDArray[Any]]


@dataclass
class FitState:
    """Usages of one fit on one shard, and the sweeps they have seen. Both change together."""

    spec: FitSpec
    stamp: int
    usages: dict[Role, NDArray[Any]]

    def put(self, role: Role, place: slice, fresh: NDArray[Any]) -> None:
        """Take the usages of a block; those of a whole shard as they are."""
        if fresh.shape == self.usages[role].shape:
            self.usages[role] = fresh
        else:
            self.usages[role][place] = fresh


@dataclass
class HeldShard:
    """Blocks of a shard, what was seen in its rows, and the state of every fit on it.

    Attributes
    ----------
    places : sequence of mapping of role to slice
        Of each block; see `bcnmf_dask.data.loading.Block`.
    checksum : int
        Of its rows, the same wherever they are read from the same kind of source.
    """

    shard: Shard
    blocks: Blocks
    places: Sequence[Mapping[Role, slice]]
    findings: Findings
    checksum: int
    fits: dict[str, FitState] = field(default_factory=dict)

    @property
    def numbers(self) -> range:
        """Of all its blocks: leaves of the reduction."""
        return range(self.shard.first_block, self.shard.first_block + len(self.places))

    def rows_of(self, number: int, role: Role) -> tuple[int, int]:
        """Rows, counted within a role, of a block, counted within the shard."""
        first, place = self.shard.role_rows[role][0], self.places[number][role]
        return first + place.start, first + place.stop

    def having(self, wanted: Iterable[Runs]) -> list[int]:
        """Blocks, counted within the shard, with any of the wanted rows."""
        rows_of = self.shard.role_rows
        here = [(role, runs) for role, runs in wanted if role in rows_of and _overlap(runs, *rows_of[role])]
        return [
            number
            for number, places in enumerate(self.places)
            if any(role in places and _overlap(runs, *self.rows_of(number, role)) for role, runs in here)
        ]

    def only(self, chosen: Sequence[int], keep: Collection[int] = ()) -> "HeldShard":
        """The same with some blocks, rising, and no others; some to be kept where they are read."""
        return replace(self, blocks=self.blocks.only(chosen, keep))

    def state(self, order: Order, *stamps: int) -> FitState:
        """The state of the fit of ``order``, which must be at one of ``stamps``.

        Raises
        ------
        ClusterError
            If it is not: sums over usages of different sweeps would be silently wrong.
        """
        state = self.fits.get(order.key)
        if state is None or state.stamp not in stamps:
            found = "no usages" if state is None else f"usages of sweep {state.stamp}"
            raise ClusterError(f"shard {self.shard.index} has {found}, sweep {order.stamp} was expected.")
        return state


def _overlap(runs: NDArray[np.int64], start: int, stop: int) -> bool:
    following = np.searchsorted(runs[:, 1], start, "right")
    return bool(following < len(runs) and runs[following, 0] < stop)


class Step:
    """One sweep of one fit on one shard: its new usages and stamp are committed together, with the last block.

    A shard that is already one sweep ahead keeps its usages and gives the same sums again.
    """

    def __init__(self, held: HeldShard, order: Order) -> None:
        self.order = order
        self.old = held.state(order, order.stamp, order.stamp + 1)
        self._held = held
        self._new: FitState | None = None
        self._left = len(held.blocks.numbers)
        self._lock = threading.Lock()

    def ahead(self) -> FitState:
        """The state after this sweep, usages yet to be filled in: made late, as those of all shards would be many."""
        with self._lock:
            if self._new is None:
                self._new = self.old if self.old.stamp > self.order.stamp else self._stepped()
            return self._new

    def done(self) -> None:
        """The usages of one more block are filled in."""
        with self._lock:
            self._left -= 1
            if not self._left and self._new is not None:
                self._held.fits[self.order.key] = self.old = self._new

    def _stepped(self) -> FitState:
        usages = {role: np.empty_like(part) for role, part in self.old.usages.items()}
        return FitState(self.old.spec, self.order.stamp + 1, usages)


def sweep_fits(block: Block, steps: Sequence[Step], groups: Sequence[Group], dtype: np.dtype[Any]) -> Iterator[Record]:
    """Step the usages of a block for every fit, and take their statistics, one group after the other."""
    shared = {role: SharedRows(rows, dtype) for role, rows in block.parts.items()}
    for group in groups:
        members = [steps[number] for number in group.numbers]
        fresh = all(step.ahead() is not step.old and isinstance(step.order.steps, Steps) for step in members)
        sweep = LOSSES[members[0].old.spec.loss].sweep_together if len(members) > 1 and fresh else None
        if sweep is None:
            records = [sweep_block(block, step.old, step.ahead(), step.order) for step in members]
        else:
            records = _sweep_group(block, shared, members, group, sweep)
        for step in members:
            step.done()
        yield from records


def _sweep_group(
    block: Block, shared: Mapping[Role, SharedRows], members: Sequence[Step], group: Group, sweep: SweepTogether
) -> list[Record]:
    records: list[dict[Role, Any]] = [{} for _ in members]
    wanted = [cast(Steps, step.order.steps) for step in members]
    for role, rows in shared.items():
        place = block.places[role]
        old = [scaled(step.old.usages[role][place], step.order) for step in members]
        for step, record, swept in zip(members, records, sweep(rows, group, old, wanted), strict=True):
            fresh, record[role] = swept
            step.ahead().put(role, place, fresh)
    return [*records]


def sweep_block(block: Block, state: FitState, ahead: FitState, order: Order) -> Record:
    """Step the usages of a block into ``ahead``, unless that is done, and take its statistics."""
    loss = LOSSES[state.spec.loss]
    record: dict[Role, Any] = {}
    for role, rows in block.parts.items():
        place = block.places[role]
        if ahead is state and isinstance(order.steps, Optimum):
            record[role] = loss.minimise(rows, order.prepared, order.steps)[1]
        elif ahead is state:
            record[role] = loss.contribute(rows, ahead.usages[role][place], order.prepared)
        else:
            fresh, record[role] = _swept(loss, rows, state.usages[role][place], order)
            ahead.put(role, place, fresh)
    return record


def _swept(loss: Loss, rows: Rows, usages: NDArray[Any], order: Order) -> tuple[NDArray[Any], Any]:
    """New usages of some rows, and what is summed of them."""
    if isinstance(order.steps, Optimum):
        return loss.minimise(rows, order.prepared, order.steps)
    return loss.sweep(rows, scaled(usages, order), order.prepared, order.steps)


def sample_block(held: HeldShard, block: Block, sample: Sample) -> Record:
    """Take the statistics of what a sample draws of a block, at usages fitted anew."""
    loss, record = LOSSES[sample.loss], dict[Role, Any]()
    for role, rows in block.parts.items():
        first, place = held.shard.role_rows[role][0], block.places[role]
        runs = sample.draw.runs(role, first + place.start, first + place.stop) - (first + place.start)
        if len(runs):
            drawn = pick_rows(rows, runs)
            usages = even_usages(drawn, sample.basis)
            record[role] = loss.sweep(drawn, usages, sample.prepared, cast(Steps, sample.steps))[1]
    return record


def evaluate_block(block: Block, state: FitState, closing: Closing) -> Record:
    """Take the `Evaluation` of a block."""
    loss = LOSSES[state.spec.loss]
    record: dict[Role, Any] = {}
    for role, rows in block.parts.items():
        usages = scaled(state.usages[role][block.places[role]], closing)
        statistics = on_host({role: loss.contribute(rows, usages, closing.prepared)})[role]
        exact = usages.astype(np.float64)
        basis = to_host(closing.basis).astype(np.float64)
        divergence = loss.divergence(statistics, basis)
        amounts = to_host(loss.minimise(rows, closing.beside_profile, Optimum())[0]).astype(np.float64)
        sums = divergence, column_sums(exact), exact.T @ exact
        record[role] = Evaluation(*sums, *cover(rows, exact, basis), *_explained(amounts))
    return record


def _explained(amounts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the usages of some rows, and of how many of them have each component but the last."""
    totals = amounts.sum(axis=1, keepdims=True)
    has = (amounts[:, :-1] >= CARRIED * totals) & (amounts[:, :-1] > 0)
    return amounts.sum(axis=0), has.sum(axis=0, dtype=np.float64)


def scaled(usages: NDArray[Any], order: Order) -> NDArray[Any]:
    """Usages matched to the basis of an order."""
    scaled: NDArray[Any] = usages * (order.factors_on_device if is_on_device(usages) else order.factors)
    return scaled


def replay_block(block: Block, recipe: Recipe, usages: Usages) -> None:
    """Step the usages of a block through all sweeps of a recipe while its rows are at hand."""
    loss = LOSSES[recipe.spec.loss]
    for role, rows in block.parts.items():
        place = block.places[role]
        for order in recipe.orders:
            usages[role][place] = _stepped(loss, rows, usages[role][place], order)


def _stepped(loss: Loss, rows: Rows, usages: NDArray[Any], order: Order) -> NDArray[Any]:
    """New usages of some rows, to the bits of `_swept`."""
    if isinstance(order.steps, Optimum):
        return loss.minimise(rows, order.prepared, order.steps)[0]
    return loss.update_usages(rows, scaled(usages, order), order.prepared, order.steps)
