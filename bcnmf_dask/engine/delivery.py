"""How rows reach the workers that own them: read there, adopted where they lie, or sent."""

from collections.abc import Mapping
from typing import Any

from distributed import Client, Future

from bcnmf_dask.backend import Rows
from bcnmf_dask.data.contents import share_sampled
from bcnmf_dask.data.loading import ShardOrder, order_shard
from bcnmf_dask.data.shards import Shard
from bcnmf_dask.data.sources import DaskSource, MemorySource, Source
from bcnmf_dask.engine import tasks
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.crew import Crew
from bcnmf_dask.engine.memory import Stays
from bcnmf_dask.engine.placement import by_owner
from bcnmf_dask.engine.waiting import settling
from bcnmf_dask.errors import InputError

Chunks = Mapping[int, list[Future[Any]]]
"""The chunks of a Dask array that make up a shard, computed on the cluster."""


class Delivery:
    """Brings shards to workers, at the start of a run and after a loss."""

    def __init__(self, client: Client, crew: Crew, run: str, spec: RunSpec) -> None:
        self._client = client
        self._crew = crew
        self._run = run
        self._inputs, self._plan, self._dtype = spec.inputs, spec.plan, spec.dtype

    def chunks(self, wanted: Mapping[int, str]) -> Chunks:
        """Have the cluster compute the chunks of the shards that come from Dask arrays.

        Parameters
        ----------
        wanted : mapping of shard index to address
            Where chunks had best be. Those that are computed already lie where they lie.

        Raises
        ------
        InputError
            If a chunk cannot be computed again: it was scattered, and lost with its worker.
        """
        found: dict[int, list[Future[Any]]] = {}
        for address, indices in by_owner(wanted).items():
            blocks = {
                index: source.blocks(shard.start, shard.stop)
                for index in indices
                if isinstance(source := self._source(shard := self._plan.shards[index]), DaskSource)
            }
            pieces = [block for some in blocks.values() for block in some]
            futures = iter(self._client.compute(pieces, workers=[address], allow_other_workers=True))
            found |= {index: [next(futures) for _ in some] for index, some in blocks.items()}
        self._wait(_all(found))
        return found

    def holders(self, chunks: Chunks) -> dict[int, list[str]]:
        """Which workers hold chunks of a shard."""
        everything = _all(chunks)
        where = self._client.who_has(everything) if everything else {}
        return {
            index: [address for future in futures for address in where[future.key]] for index, futures in chunks.items()
        }

    def deliver(self, owners: Mapping[int, str], chunks: Chunks, stays: Stays) -> dict[int, int]:
        """Give each of these shards (index -> address) to its owner, and wait until all have taken theirs.

        Returns
        -------
        dict of shard index to int
            Checksums of their rows.
        """
        orders = {index: self._order(index, stays) for index in owners}
        from_paths = {index for index, order in orders.items() if self._inputs.paths[order.shard.store] is not None}
        taking = [
            (owner, self._crew.submit(tasks.read, owner, self._run, [orders[index] for index in indices]))
            for owner, indices in by_owner(owners, sorted(from_paths)).items()
        ]
        taking += [
            (owner, self._take(orders[index], owner, chunks.get(index, [])))
            for index, owner in owners.items()
            if index not in from_paths
        ]
        found = self._crew.collect(taking, "loading")
        return {index: checksum for seen in found for index, checksum in seen.items()}

    def name(self, shard: Shard) -> str:
        """What messages call the data of a shard."""
        store = self._inputs.stores[shard.store]
        return store.name + (f": {store.source.location!r}" if store.source.location else "")

    def _wait(self, futures: list[Future[Any]]) -> None:
        for _ in settling(futures):
            self._crew.refuse_loss("the chunks of a Dask array")
        for future in futures:
            if future.status in ("cancelled", "lost"):
                raise InputError(
                    "A chunk of a Dask array was lost with its worker and cannot be computed again: its data was "
                    "scattered to the cluster. Make the array from a store (da.from_zarr, da.from_array of a file)."
                )
            if future.status == "error":
                future.result()

    def _source(self, shard: Shard) -> Source:
        return self._inputs.stores[shard.store].source

    def _order(self, index: int, stays: Stays) -> ShardOrder:
        shard = self._plan.shards[index]
        where = (index in stays.all, index in stays.device)
        sampled = share_sampled(self._inputs)
        return order_shard(self._inputs.stores[shard.store], shard, self._dtype, *where, sampled=sampled)

    def _take(self, order: ShardOrder, address: str, chunks: list[Future[Any]]) -> Future[Any]:
        source = self._source(order.shard)
        if isinstance(source, MemorySource):
            rows = source.read(order.shard.start, order.shard.stop)
            chunks = self._crew.attend("sending", self._send, rows, address)
        return self._crew.submit(tasks.adopt, address, self._run, order, *chunks)

    def _send(self, rows: Rows, address: str) -> list[Future[Any]]:
        return list(self._client.scatter([rows], workers=[address], hash=False))


def _all(chunks: Chunks) -> list[Future[Any]]:
    return [future for futures in chunks.values() for future in futures]
