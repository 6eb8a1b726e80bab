"""The memory of the workers that a fit would run on, before it does."""

from distributed.system import MEMORY_LIMIT

from bcnmf_dask.backend import n_devices
from bcnmf_dask.engine.clients import connect
from bcnmf_dask.engine.memory import Room, configured_limit, room_here, room_of_worker, room_within
from bcnmf_dask.engine.threads import usable_cores


def rooms_of(client: str | bool) -> list[Room]:
    """One room per worker; none if the scheduler has no worker yet.

    Parameters
    ----------
    client : str or False
        False for this process, ``"local"``, ``"local-cuda"``, or where a scheduler is; see `open_engine`.

    Raises
    ------
    ClusterError
        If the scheduler does not answer.
    """
    if client is False:
        return [room_here(usable_cores())]
    limit = configured_limit()
    if client in ("local", "local-cuda"):
        n_workers = usable_cores() if client == "local" else n_devices()
        return [room_within(limit or MEMORY_LIMIT / n_workers, 1)] * n_workers
    with connect(str(client)) as connected:
        workers = connected.scheduler_info(n_workers=-1)["workers"].values()
        return [room_of_worker(limit or worker["memory_limit"], worker["nthreads"]) for worker in workers]
