"""From what a user gives as ``client`` to the engine that will run the fit."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, NamedTuple

from distributed import Client, KilledWorker, default_client

from bcnmf_dask.data.patience import configured_seconds
from bcnmf_dask.data.sources import DaskSource
from bcnmf_dask.engine.base import Engine, RunSpec
from bcnmf_dask.engine.cluster import ClusterEngine
from bcnmf_dask.engine.clusters import local_cluster, local_cuda_cluster
from bcnmf_dask.engine.crew import no_scheduler, no_worker, patience
from bcnmf_dask.engine.environment import PACKAGES, refuse_unlike, surveyor
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.schedulers import CONNECT_TIMEOUT, address_of, refuse_unanswered
from bcnmf_dask.engine.seceding import seceded
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.errors import ClusterError, InputError

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 1.0
"""Seconds that the end of a client which never started may take."""


class Scheduler(NamedTuple):
    """Where tasks are computed.

    Attributes
    ----------
    get : callable or str
        As ``scheduler`` of `dask.compute`.
    n_threads : int
        How many tasks it computes at once.
    """

    get: Any
    n_threads: int


@contextmanager
def open_engine(client: Any, spec: RunSpec) -> Iterator[Engine]:
    """The engine for a fit, freed at the end.

    Parameters
    ----------
    client : Client, str, False or None
        None: the current Dask client if an input is a Dask collection and one is active, else this
        process. False: this process. A client, an address (``"tcp://..."``) or the path of a scheduler file: there.
        ``"local"``: a loopback cluster for the length of the fit, ``"local-cuda"``: one on the CUDA devices of this
        machine.
    spec : RunSpec

    Raises
    ------
    InputError
        If ``client`` is none of these, or the rows need more memory than there is.
    ClusterError
        If the scheduler does not answer.
    """
    with _open_client(client, [store.source for store in spec.inputs.stores]) as connected:
        if connected is not None:
            logger.info("Dashboard of the cluster: %s", _dashboard(connected))
        engine: Engine = LocalEngine(spec) if connected is None else ClusterEngine(connected, spec)
        try:
            yield engine
        finally:
            engine.close()


@contextmanager
def open_scheduler(client: Any, sources: Sequence[Any]) -> Iterator[Scheduler]:
    """What computes tasks that need no engine: independent, and each done for good when it ends.

    Parameters
    ----------
    client : Client, str, False or None
        As for `open_engine`.
    sources : sequence
        What the tasks read; a `DaskSource` among them makes None mean the current client.

    Raises
    ------
    InputError
        If ``client`` is none of these.
    ClusterError
        If the scheduler does not answer, versions differ, or a task lost too many workers.
    """
    with _open_client(client, sources) as connected:
        if connected is None:
            yield Scheduler("threads", usable_cores())
            return
        logger.info("Dashboard of the cluster: %s", _dashboard(connected))
        refuse_unlike(_survey(connected))
        try:
            yield Scheduler(connected.get, sum(connected.nthreads().values()))
        except (KilledWorker, CancelledError) as error:
            raise ClusterError(
                f"The cluster lost what it was working on ({error}). See the logs of its workers: they may have been "
                "killed for the memory that they used."
            ) from error


def _survey(client: Client) -> dict[str, dict[str, str]]:
    """What is installed on each worker."""
    try:
        client.wait_for_workers(1, timeout=patience())
        found: dict[str, dict[str, str]] = client.run(surveyor(), PACKAGES)
    except TimeoutError as error:
        raise no_worker() from error
    except (OSError, RuntimeError) as error:
        raise no_scheduler(error) from error
    return found


@contextmanager
def _open_client(client: Any, sources: Sequence[Any]) -> Iterator[Client | None]:
    """The client that is meant, if any; a task that runs on its cluster makes way for those it will wait for."""
    with _client_meant(client, sources) as connected, nullcontext() if connected is None else seceded():
        yield connected


@contextmanager
def _client_meant(client: Any, sources: Sequence[Any]) -> Iterator[Client | None]:
    match client:
        case False:
            yield None
        case None:
            yield (_current_client() if any(isinstance(source, DaskSource) for source in sources) else None)
        case Client(asynchronous=True):
            raise InputError("client: an asynchronous client was given. Expected an ordinary one: Client(address).")
        case Client():
            yield client
        case "local":
            with local_cluster() as started, _client_of(started) as connected:
                yield connected
        case "local-cuda":
            with local_cuda_cluster() as started, _client_of(started) as connected:
                yield connected
        case str() | os.PathLike():
            with connect(client) as connected:
                yield connected
        case _:
            raise InputError(
                f"client: got {type(client).__name__}. Expected a distributed.Client, the address of a scheduler, "
                'the path of a scheduler file, "local" for a cluster on this machine, "local-cuda" for one '
                "process on each of its CUDA devices, False for this process, or None."
            )


def _dashboard(client: Client) -> str:
    try:
        return client.dashboard_link or "none"
    except LookupError:  # a scheduler may run without one
        return "none"
    except (OSError, RuntimeError, AttributeError) as error:  # the last of a client that is closed
        raise no_scheduler(error) from error


def _current_client() -> Client | None:
    try:
        current: Client = default_client()
    except ValueError:
        return None
    return current


def connect(where: str | os.PathLike[str]) -> Client:
    """A client of the scheduler at an address, or of a scheduler file.

    Raises
    ------
    ClusterError
        If no scheduler answers.
    """
    address = address_of(where)
    refuse_unanswered(address, os.fspath(where))
    return _client_of(address)


class _Client(Client):
    """A client that is closed at once where it cannot start: else the process would wait for that at its end."""

    def start(self, **kwargs: Any) -> None:
        """See `Client.start`."""
        try:
            super().start(**kwargs)
        except BaseException:
            with suppress(Exception):  # what is half open may not close; the reason is the error above
                self.close(timeout=CLOSE_TIMEOUT)
            self.status = "closed"
            raise


def _client_of(cluster: Any) -> Client:
    try:
        return _Client(cluster, timeout=configured_seconds("connect-timeout", CONNECT_TIMEOUT), set_as_default=False)
    except Exception as error:  # of whatever the protocol raises
        raise ClusterError(
            f"client: the scheduler answers, but no client can be connected to it ({str(error) or repr(error)}). "
            "Expected one that lasts as long as the fit: look at its log."
        ) from error
