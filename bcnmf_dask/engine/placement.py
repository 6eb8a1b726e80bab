"""Which worker owns which shard. Where a shard lies changes no bit of a result."""

from collections.abc import Iterable, Mapping, Sequence

from bcnmf_dask.data.shards import Shard

Owners = dict[int, str]
"""Addresses by shard index."""


def assign(
    shards: Sequence[Shard], workers: Sequence[str], owners: Mapping[int, str], holders: Mapping[int, Sequence[str]]
) -> Owners:
    """Give every shard without an owner to a worker, by stored values.

    Parameters
    ----------
    shards : sequence of Shard
        All of the run.
    workers : sequence of str
        Addresses of those that are there.
    owners : mapping of shard index to address
        Shards that stay where they are.
    holders : mapping of shard index to addresses
        Workers that already hold rows of a shard; they are preferred until they have their fair share.

    Returns
    -------
    dict of shard index to address
        Of the shards that had none. Neighbouring shards go together where nothing else speaks.
    """
    fair = sum(shard.stored_values for shard in shards) / len(workers)
    load = dict.fromkeys(workers, 0.0)
    for index, address in owners.items():
        load[address] += shards[index].stored_values
    found: Owners = {}
    for shard in shards:
        if shard.index in owners:
            continue
        here = [worker for worker in holders.get(shard.index, ()) if load.get(worker, fair) < fair]
        room = here or [worker for worker in workers if load[worker] + shard.stored_values / 2 <= fair]
        owner = room[0] if room else min(workers, key=lambda worker: load[worker])
        found[shard.index] = owner
        load[owner] += shard.stored_values
    return found


def to_move(shards: Sequence[Shard], workers: Sequence[str], owners: Mapping[int, str]) -> list[int]:
    """Shards that workers with more than their fair share give up for those that own none."""
    idle = len(set(workers) - set(owners.values()))
    fair = len(shards) // len(workers)
    moving: list[int] = []
    for held in sorted(by_owner(owners).values(), key=len, reverse=True):
        spare = min(len(held) - max(fair, 1), idle * fair - len(moving))
        moving += held[len(held) - spare :] if spare > 0 else []
    return moving


def by_owner(owners: Mapping[int, str], indices: Iterable[int] | None = None) -> dict[str, list[int]]:
    """Shard indices (all, or these) by the worker that owns them."""
    found: dict[str, list[int]] = {}
    for index in owners if indices is None else indices:
        found.setdefault(owners[index], []).append(index)
    return found
