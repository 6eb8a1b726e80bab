"""Where a scheduler is, and whether one answers there: asked before a client is made, which would wait without end."""

import asyncio
import json
import os
import re
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.core import connect as open_comm
from distributed.comm.registry import get_backend
from distributed.core import send_recv
from distributed.security import Security

from bcnmf_dask.data.patience import configured_seconds
from bcnmf_dask.errors import ClusterError

CONNECT_TIMEOUT = 30.0
"""Seconds a scheduler has to answer; ``bcnmf-dask.connect-timeout`` of the Dask configuration."""
GRACE = 5.0
"""Seconds more after which a look-up that does not end by itself is left behind."""
LARGEST_FILE = 2**26
"""Characters; what has more is no scheduler file, and need not be read."""
ADDRESS = "Expected the address of a running `dask scheduler` (tcp://host:8786) or its scheduler file"
HOST_AND_PORT = re.compile(r"[^\s/\\]+:\d+")


def address_of(where: str | os.PathLike[str]) -> str:
    """The address that is meant by an address, or that a scheduler file tells.

    Parameters
    ----------
    where : str or path
        A path, and a str without ``://`` that is the name of something there, is a scheduler file, whatever it ends in.

    Raises
    ------
    ClusterError
        If it is neither.
    """
    if isinstance(where, str) and "://" in where:
        return where
    path = os.path.expanduser(where)  # noqa: PTH111 - Path raises for users that are not there
    if isinstance(where, os.PathLike) or os.path.exists(path):  # noqa: PTH110 - Path raises for names that are too long
        return _address_in(Path(path))
    if HOST_AND_PORT.fullmatch(where):
        return where
    raise ClusterError(
        f"client: {where!r} is no address, and no file of that name is seen from {str(Path.cwd())!r}. {ADDRESS}."
    )


def _address_in(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            address = json.loads(file.read(LARGEST_FILE))["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        words = f"it names no {error}" if isinstance(error, KeyError) else error
        raise ClusterError(
            f"client: {str(path)!r} is no scheduler file that can be read ({words}). Expected the file that "
            "`dask scheduler --scheduler-file FILE` writes, JSON with an address; it is there while the scheduler runs."
        ) from error
    if not isinstance(address, str):
        raise ClusterError(f"client: the address in {str(path)!r} is {address!r}. {ADDRESS}.")
    return address


def refuse_unanswered(address: str, where: str) -> None:
    """ClusterError, in words and in time, unless a scheduler answers at an address.

    Parameters
    ----------
    address : str
    where : str
        What the user gave for it.
    """
    timeout = configured_seconds("connect-timeout", CONNECT_TIMEOUT)
    arguments = _arguments(address, where)
    try:
        protocol, place = parse_address(address)
        if protocol in ("tcp", "tls"):  # at once where nothing listens, for which others would wait
            socket.create_connection(parse_host_port(place), timeout).close()
        kind = _within(timeout, address, arguments)
    except Exception as error:  # each protocol has errors of its own
        words = str(error) or type(error).__name__
        late = isinstance(error, TimeoutError) or "Timed out" in words
        told = f"nothing that a scheduler says came within {timeout:g} s" if late else words
        raise ClusterError(
            f"client: no scheduler answered at {where!r} ({told}). {ADDRESS}: check that it runs and can be reached, "
            "that this is not the port of its dashboard, and that both sides do, or do not, use TLS (tls://)."
        ) from error
    if kind != "Scheduler":
        raise ClusterError(
            f"client: no scheduler answered at {where!r}, but a {kind.lower()}. {ADDRESS}: the address that "
            "`dask scheduler` prints, not one that `dask worker` does."
        )


def _arguments(address: str, where: str) -> dict[str, Any]:
    """What connecting needs besides the address."""
    protocol, _ = parse_address(address)
    try:
        get_backend(protocol).get_connector()
    except Exception as error:  # a protocol that is not installed fails in ways of its own
        raise ClusterError(
            f"client: the protocol of {where!r} is not to be had here ({error}). {ADDRESS}, or install what "
            f"{protocol}:// needs."
        ) from error
    try:
        arguments: dict[str, Any] = Security().get_connection_args("client")
    except Exception as error:  # files that are none, of the ssl library's many kinds
        raise ClusterError(f"client: the TLS settings of Dask cannot be used ({error}). {CERTIFICATES}") from error
    if protocol == "tls" and arguments.get("ssl_context") is None:
        raise ClusterError(f"client: {where!r} needs certificates for TLS, and there are none. {CERTIFICATES}")
    return arguments


CERTIFICATES = (
    "In Python give a Client(address, security=Security(...)) as client; or set distributed.comm.tls.ca-file and "
    "distributed.comm.tls.client.cert and .key of the Dask configuration."
)


def _within(timeout: float, address: str, arguments: dict[str, Any]) -> str:
    """What answers there, asked in a thread of its own: this one may run an event loop, and a look-up may never end."""
    found: Future[str] = Future()

    def ask() -> None:
        try:
            found.set_result(asyncio.run(asyncio.wait_for(_kind(address, timeout, arguments), timeout)))
        except BaseException as error:  # raised again where it is waited for
            found.set_exception(error)

    threading.Thread(target=ask, name="bcnmf-asks-scheduler", daemon=True).start()
    return found.result(timeout + GRACE)


async def _kind(address: str, timeout: float, arguments: dict[str, Any]) -> str:
    comm = await open_comm(address, timeout, **arguments)
    try:
        return str((await send_recv(comm, op="identity"))["type"])
    finally:
        comm.abort()
