"""Which worker owns which shard. Where a shard lies changes no bit of a result."""

from collections.abc import Mapping, Sequence

from bcnmf_dask.data.shards import Shard

Owners = dict[str, list[Shard]]


def assign(shards: Sequence[Shard], workers: Sequence[str], holders: Mapping[int, Sequence[str]]) -> Owners:
    """Spread shards over workers by stored values.

    Parameters
    ----------
    shards : sequence of Shard
    workers : sequence of str
        Addresses.
    holders : mapping of shard index to addresses
        Workers that already hold rows of a shard; they are preferred until they have their fair share.

    Returns
    -------
    dict of address to list of Shard
        Neighbouring shards together where nothing else speaks; workers without shards are listed too.
    """
    fair = sum(shard.stored_values for shard in shards) / len(workers)
    load = dict.fromkeys(workers, 0.0)
    owners: Owners = {worker: [] for worker in workers}
    for shard in shards:
        here = [worker for worker in holders.get(shard.index, ()) if load.get(worker, fair) < fair]
        room = here or [worker for worker in workers if load[worker] + shard.stored_values / 2 <= fair]
        owner = room[0] if room else min(workers, key=lambda worker: load[worker])
        owners[owner].append(shard)
        load[owner] += shard.stored_values
    return owners
