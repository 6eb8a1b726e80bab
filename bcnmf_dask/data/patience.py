"""Waiting for storage that is out of reach, for a while, instead of losing what a long fit has done."""

import errno
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import dask
from dask.utils import parse_timedelta

from bcnmf_dask.data.locations import exists, is_url, shown
from bcnmf_dask.errors import InputError

logger = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds that a store may be out of reach; ``bcnmf-dask.read-patience`` of the Dask configuration."""
LONGEST_PAUSE = 5.0
AWAY = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.ECONNREFUSED, errno.ECONNRESET}
"""What systems say of storage that may come back."""

DECODERS = ("zarr", "numcodecs", "anndata", "numpy", "scipy", "bcnmf_dask")
"""Whose errors tell of what was read, not of the way there."""

T = TypeVar("T")


class Patience:
    """Waits while a store is out of reach.

    Parameters
    ----------
    location, path : str
        What messages call the store, and where it is.
    """

    def __init__(self, location: str, path: str) -> None:
        self._location = location
        self._path = path
        self._away_since: float | None = None

    def store_is_there(self) -> bool:
        """Whether anything lies at the path."""
        try:
            return exists(self._path)
        except Exception:  # each kind of URL fails in its own way
            return False

    def succeeded(self) -> None:
        """Begin anew: what was read last is as it should be."""
        self._away_since = None

    def wait(self, error: InputError) -> None:
        """Pause before another trial.

        Raises
        ------
        InputError
            ``error`` itself if the store is there, or one that says how long it has not been.
        """
        cause = error.__cause__
        if self.store_is_there() and not _may_come_back(cause, is_url(self._path)):
            raise error
        self._away_since = self._away_since or time.monotonic()
        gone_for = time.monotonic() - self._away_since
        patience = configured_seconds("read-patience", PATIENCE)
        if gone_for >= patience:
            raise InputError(
                f"{self._location!r} has been out of reach for {patience:g} s ({cause or error}). Expected a "
                "store that can be read for as long as the fit lasts: see that its disk or server is there."
            ) from error
        pause = min(LONGEST_PAUSE, max(0.2, gone_for), patience - gone_for)
        logger.warning("%r is out of reach (%s): tried again in %.1f s.", self._location, cause or error, pause)
        time.sleep(pause)


def configured_seconds(name: str, default: float) -> float:
    """A time that the Dask configuration may set.

    Parameters
    ----------
    name : str
        Of the setting, without ``bcnmf-dask.``
    default : float
        Seconds.

    Raises
    ------
    InputError
        If it says something else than a positive time.
    """
    wanted = dask.config.get(f"bcnmf-dask.{name}", default)
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        if (seconds := float(parse_timedelta(wanted, default="s"))) > 0:
            return seconds
    raise InputError(
        f"{name.replace('-', ' ')}: got {wanted!r}. Expected seconds, as a number or like '30 s' (bcnmf-dask.{name} of "
        "the Dask configuration)."
    )


def patiently(path: str, read: Callable[[], T]) -> T:
    """What ``read`` returns, once the store at ``path`` can be read; raises as `Patience.wait`."""
    patience = Patience(shown(path), path)
    while True:
        try:
            return read()
        except InputError as error:
            patience.wait(error)


def _may_come_back(cause: BaseException | None, remote: bool) -> bool:
    """Whether storage failed in a way that passes; servers say so in the words of many libraries."""
    if remote and not isinstance(cause, FileNotFoundError | PermissionError):
        library = type(cause).__module__.partition(".")[0]
        return isinstance(cause, OSError) or library not in (*DECODERS, "builtins")
    return isinstance(cause, ConnectionError | TimeoutError) or (isinstance(cause, OSError) and cause.errno in AWAY)
