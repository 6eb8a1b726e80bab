"""Which worker holds which shard of a run, and making good what is missing."""

from collections.abc import Iterable, Mapping
from typing import Any

from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.engine import tasks
from bcnmf_dask.engine.base import Recipe
from bcnmf_dask.engine.crew import Crew
from bcnmf_dask.engine.delivery import Delivery
from bcnmf_dask.engine.memory import Footprint, Stays, resident
from bcnmf_dask.engine.placement import Owners, assign, by_owner, to_move
from bcnmf_dask.errors import InputError

Stamps = Mapping[str, Mapping[int, Mapping[str, int]]]
"""Per worker and shard, the sweeps that the usages of each fit have seen."""


class Holdings:
    """The shards of a run on its workers.

    Attributes
    ----------
    replayed : int
        Shards that were read again once a fit had begun, and whose sweeps until then were made again.
    """

    def __init__(self, crew: Crew, delivery: Delivery, plan: ShardPlan, footprint: Footprint) -> None:
        self._crew = crew
        self._plan = plan
        self._delivery = delivery
        self._footprint = footprint
        self._owners: Owners = {}
        self._stays = Stays()
        self._checksums: dict[int, int] = {}
        self._doubted = True
        self.replayed = 0

    def doubt(self) -> None:
        """Look at what the workers really hold before the next step."""
        self._doubted = True

    def owners(self) -> list[str]:
        """Workers that own shards, in the order of their first shard."""
        return list(by_owner(dict(sorted(self._owners.items()))))

    def counts(self) -> dict[str, int]:
        """Number of shards of every worker."""
        held = by_owner(self._owners)
        return {address: len(held.get(address, ())) for address in self._crew.members}

    def streamed(self) -> int:
        """Number of shards whose rows are read in each visit."""
        return len(self._owners.keys() - self._stays.all)

    def settle(self, recipes: Mapping[str, Recipe]) -> None:
        """See to it that every shard is on a worker that is there, with the usages of every fit at its sweep.

        Raises
        ------
        Loss
            If workers are lost meanwhile.
        """
        if not self._doubted and not self._crew.joined():
            return
        self._crew.muster()
        stamps: Stamps = self._crew.everywhere(tasks.stamps)
        self._owners = {index: owner for index, owner in self._owners.items() if index in stamps.get(owner, ())}
        for index in to_move(self._plan.shards, self._crew.members, self._owners):
            del self._owners[index]
        self._drop_strays(stamps)
        missing = [shard.index for shard in self._plan.shards if shard.index not in self._owners]
        stale = {key: [*missing, *self._stale(recipe, stamps)] for key, recipe in recipes.items()}
        self._bring(missing)
        for key, recipe in recipes.items():
            self._restore(recipe, stale[key])
        self.replayed += len(missing) if recipes else 0  # before, it is loading
        self._doubted = False

    def _stale(self, recipe: Recipe, stamps: Stamps) -> list[int]:
        """Shards whose usages of a fit are neither at its sweep nor, as after a repeated call, one ahead."""
        good = (recipe.stamp, recipe.stamp + 1)
        return [index for index, owner in self._owners.items() if stamps[owner][index].get(recipe.spec.key) not in good]

    def _drop_strays(self, stamps: Stamps) -> None:
        """Free shards on workers that do not own them (any more): they would be counted twice."""
        strays = {
            worker: [index for index in held if self._owners.get(index) != worker] for worker, held in stamps.items()
        }
        strays = {worker: indices for worker, indices in strays.items() if indices}
        self._crew.call(strays, tasks.drop, lambda worker: (strays[worker],))

    def _bring(self, indices: list[int]) -> None:
        if not indices:
            return
        # Neighbouring shards on one worker make sums over whole subtrees: fewer to send in every sweep.
        chunks = self._delivery.chunks(assign(self._plan.shards, self._crew.members, self._owners, {}))
        found = assign(self._plan.shards, self._crew.members, self._owners, self._delivery.holders(chunks))
        self._owners |= found  # before it is true: those that take theirs although another is lost keep it
        self._stays = self._staying(found)
        self._refuse_changed(self._delivery.deliver(found, chunks, self._stays))

    def _staying(self, found: Owners) -> Stays:
        """Shards whose rows stay in memory, now that those ``found`` have new owners."""
        staying = self._stays.of(index for index in self._owners if index not in found)
        rooms = self._crew.call(set(found.values()), tasks.room, lambda _: ())
        for owner, indices in by_owner(self._owners).items():
            if owner in rooms:
                shards = [self._plan.shards[index] for index in indices]
                staying = staying.with_more(resident(self._footprint, rooms[owner], shards, staying.of(indices)))
        return staying

    def _refuse_changed(self, checksums: Mapping[int, int]) -> None:
        """A shard that is loaded again must be the one that was lost: all sums before and after are over its rows."""
        for index, checksum in checksums.items():
            if self._checksums.setdefault(index, checksum) != checksum:
                shard = self._plan.shards[index]
                raise InputError(
                    f"{self._delivery.name(shard)}: rows {shard.start} to {shard.stop} have changed since the fit "
                    "began. Leave data alone while they are in use (a Dask array must compute the same values again), "
                    "and fit again."
                )

    def _restore(self, recipe: Recipe, indices: Iterable[int]) -> None:
        """Make the usages of a fit on these shards; each worker makes those of its own."""
        wanted = by_owner(self._owners, indices)

        def arguments(worker: str) -> tuple[Any, ...]:
            return recipe.of(wanted[worker]), wanted[worker]

        self._crew.call(wanted, tasks.restore, arguments)
