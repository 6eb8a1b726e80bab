"""How rows reach the workers that own them: read there, adopted where they lie, or sent once."""

from collections.abc import Sequence
from typing import Any

from distributed import Client, Future

from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.loading import order_shard
from bcnmf_dask.data.shards import Shard, ShardPlan
from bcnmf_dask.data.sources import DaskSource, MemorySource, Source
from bcnmf_dask.engine import tasks
from bcnmf_dask.engine.placement import Owners, assign
from bcnmf_dask.engine.waiting import live_workers, results, settling


def own_sources(inputs: Inputs) -> tuple[Source | None, ...]:
    """Per store, the source if workers read it themselves (a path), else None."""
    return tuple(
        None if isinstance(store.source, DaskSource | MemorySource) else store.source for store in inputs.stores
    )


class Delivery:
    """Brings the shards of a plan to workers.

    Attributes
    ----------
    owners : dict of address to list of Shard
        Filled by `deliver`.
    """

    def __init__(self, client: Client, inputs: Inputs, plan: ShardPlan, dtype: str) -> None:
        self._client = client
        self._inputs = inputs
        self._plan = plan
        self._dtype = dtype
        self.owners: Owners = {}

    def deliver(self, run: str, workers: Sequence[str]) -> None:
        """Give every shard to a worker, and wait until all have taken theirs."""
        chunks = self._compute_chunks()
        self.owners = assign(self._plan.shards, workers, self._holders(chunks))
        futures = [
            (address, self._take(run, shard, address, chunks.get(shard.index, [])))
            for address, shards in self.owners.items()
            for shard in shards
        ]
        for address, future in futures:
            results(self._client, {address: future}, "loading")

    def _compute_chunks(self) -> dict[int, list[Future[Any]]]:
        """The chunks of every shard of a Dask array, computed on the cluster."""
        blocks = {
            shard.index: source.blocks(shard.start, shard.stop)
            for shard in self._plan.shards
            if isinstance(source := self._inputs.stores[shard.store].source, DaskSource)
        }
        futures = iter(self._client.compute([block for pieces in blocks.values() for block in pieces]))
        return {index: [next(futures) for _ in pieces] for index, pieces in blocks.items()}

    def _holders(self, chunks: dict[int, list[Future[Any]]]) -> dict[int, list[str]]:
        everything = [future for futures in chunks.values() for future in futures]
        if not everything:
            return {}
        for _ in settling(everything):
            live_workers(self._client)
        where = self._client.who_has(everything)
        return {
            index: [address for future in futures for address in where[future.key]] for index, futures in chunks.items()
        }

    def _take(self, run: str, shard: Shard, address: str, chunks: Sequence[Future[Any]]) -> Future[Any]:
        store = self._inputs.stores[shard.store]
        order = order_shard(store, shard, self._dtype)
        if isinstance(store.source, MemorySource):
            rows = store.source.read(shard.start, shard.stop)
            chunks = self._client.scatter([rows], workers=[address], hash=False)
        task = tasks.adopt if chunks else tasks.read
        key = f"bcnmf-{task.__name__}-{run}-{shard.index}"
        return self._client.submit(task, run, order, *chunks, key=key, workers=[address], pure=False)
