"""What a fit would take before it runs: memory of each worker, which rows stay in it, and time."""

from collections.abc import Sequence
from dataclasses import dataclass

from bcnmf_dask.benchmarking.machines import reference_machine
from bcnmf_dask.benchmarking.model import Machine, Prediction, Workload, predict
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan, plan_shards
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.limits import Room
from bcnmf_dask.engine.memory import Footprint, held_here, resident
from bcnmf_dask.engine.placement import assign, by_owner
from bcnmf_dask.solvers.online import first_draw


@dataclass(frozen=True)
class FitPlan:
    """What a fit would take.

    Attributes
    ----------
    shards : ShardPlan
    row_bytes : int
        Of all rows in memory; for CSR with chosen features, an upper bound.
    worker_bytes : int
        That a fit adds to the worker which takes most: rows that stay, usages, statistics, blocks being read. 0 where
        there is no worker yet.
    missing_bytes : int
        By which that is more than the worker can give; 0 where it fits.
    streamed_bytes : int
        Of rows that do not stay, read anew in every sweep, over all workers.
    device_bytes : int
        Of rows that stay on devices, over all workers.
    on_devices : bool
        Whether devices compute.
    prediction : Prediction or None
        Of a sweep; None where no machine at hand was measured for such a fit, as for none on devices.
    machine : Machine
        That the prediction rests on.
    """

    shards: ShardPlan
    row_bytes: int
    worker_bytes: int
    missing_bytes: int
    streamed_bytes: int
    device_bytes: int
    on_devices: bool
    prediction: Prediction | None
    machine: Machine


def plan_fit(
    inputs: Inputs,
    dtype: str,
    n_components: int,
    loss: str,
    rooms: Sequence[Room],
    *,
    here: bool = False,
    solver: str = "published",
    batch_size: int | None = None,
) -> FitPlan:
    """Plan a fit as the engine would.

    Parameters
    ----------
    inputs : Inputs
    dtype : {"float32", "float64"}
    n_components : int
    loss : str
    rooms : sequence of Room
        One per worker. None if there is no worker yet: what depends on them is then left open.
    here : bool
        Whether it would run in this process, which holds rows in memory already.
    solver : str
    batch_size : int or None
        Of the online solver, as given.

    Raises
    ------
    InputError
        If rows that must stay in memory do not fit, with how much is missing.
    """
    shards = plan_shards(inputs)
    in_memory = held_here(inputs, shards, dtype, rooms[0]) if here else ()
    kept = first_draw(inputs.n_rows, batch_size, 0, shards.block_rows).pieces_kept if solver == "online" else 0
    footprint = Footprint(RunSpec(inputs, shards, dtype, [n_components], kept), in_memory)
    rows = sum(footprint.rows(shard) for shard in shards.shards)
    machine = reference_machine()
    if not rooms:
        return FitPlan(shards, rows, 0, 0, 0, 0, False, None, machine)
    owned = by_owner(assign(shards.shards, [str(number) for number in range(len(rooms))], {}, {}))
    most, missing, streamed, there = 0, 0, 0, 0
    for number, room in enumerate(rooms):
        held = [shards.shards[index] for index in owned.get(str(number), [])]
        stay = resident(footprint, room, held)
        there += sum(footprint.rows(shard) for shard in held if shard.index in stay.device)
        read = [footprint.rows(shard) for shard in held if shard.index not in stay.all]
        streamed += sum(read)
        added = footprint.besides_rows(held, room)
        added += sum(footprint.rows(shard) for shard in held if shard.index in stay.host)
        added += footprint.buffers(held, room) if read else 0
        most, missing = max(most, added), max(missing, added - int(min(room.most, added)))
    workload = Workload(
        stored_values=shards.stored_values,
        n_rows=sum(inputs.n_rows.values()),
        n_features=inputs.n_features,
        n_components=n_components,
        loss=loss,
        sparse=any(store.source.sparse for store in inputs.stores),
        streamed_bytes=streamed,
    )
    devices = any(room.device for room in rooms)
    prediction = None if devices else _prediction(workload, rooms, machine)
    return FitPlan(shards, rows, most, missing, streamed, there, devices, prediction, machine)


def _prediction(workload: Workload, rooms: Sequence[Room], machine: Machine) -> Prediction | None:
    known = workload.kind in machine.by_kind and (not workload.streamed_bytes or "read" in machine.seconds)
    return predict(workload, len(rooms), rooms[0].threads, machine) if known else None
