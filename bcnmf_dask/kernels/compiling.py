"""Kernels are compiled once and kept on disk for the next process, where there is a place for them.

numba keeps them beside the source, or in the home of the user, and lets no module be imported whose functions it can
keep nowhere. In containers and on shared machines both are often read-only: then they are kept in the temporary
directory, or not at all.
"""

import hashlib
import logging
import os
import pickle
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import caching

logger = logging.getLogger(__name__)

Function = Callable[..., Any]
Kernel = TypeVar("Kernel", bound=Function)
CONFIG: Any = numba.config
BESIDE_OR_HOME = ""
"""Where numba itself finds a place, or is told one by ``NUMBA_CACHE_DIR``."""


def compiler(**options: Any) -> Callable[[Kernel], Kernel]:
    """A decorator that compiles functions without the lock of the interpreter, and keeps what was compiled if it can.

    Parameters
    ----------
    **options
        Of `numba.njit`.
    """
    njit = numba.njit(nogil=True, cache=PLACE is not None, **options)

    def compiled(function: Kernel) -> Kernel:
        """The kernel of a function."""
        with _kept_in(PLACE or BESIDE_OR_HOME):
            kernel: Any = njit(function)
        if hasattr(kernel, "_cache"):  # not with NUMBA_DISABLE_JIT
            _forgive(kernel._cache)
        return cast(Kernel, kernel)

    return compiled


def _place() -> str | None:
    """Where all kernels can be kept; they lie in one folder, so that what numba says of one function holds for all."""
    if _has_home():
        with suppress(RuntimeError):
            caching.FunctionCache(_place)
            return BESIDE_OR_HOME
    try:
        return str(_own_folder())
    except OSError as error:
        logger.warning(
            "Compiled kernels cannot be kept (%s), so that each process compiles them anew. Set NUMBA_CACHE_DIR to a "
            "folder that can be written.",
            error,
        )
        return None


def _has_home() -> bool:
    """False for a user that the system does not know, as in some containers: numba would make a folder named ``~``."""
    return bool(CONFIG.CACHE_DIR) or Path(os.path.expanduser("~")).is_absolute()  # noqa: PTH111 - Path raises


def _own_folder() -> Path:
    """A folder in the temporary directory that nobody else can write: what is in it will be run.

    It is named by the sources, as numba looks only at the file that a kernel is in.
    """
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"bcnmf-dask-kernels-{os.getuid()}-{sources.hexdigest()[:12]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"others can write {str(folder)!r}")
    with tempfile.TemporaryFile(dir=folder):
        return folder


@contextmanager
def _kept_in(place: str) -> Iterator[None]:
    """Have numba keep what is decorated meanwhile in a place, but nothing else that the process compiles."""
    told = CONFIG.CACHE_DIR
    CONFIG.CACHE_DIR = place or told
    try:
        yield
    finally:
        CONFIG.CACHE_DIR = told


def _forgive(cache: Any) -> None:
    """Go on where the place cannot be used after all: a quota is used up, or a file is another user's or cut off."""

    def forgiving(method: Function) -> Function:
        def tried(*arguments: Any) -> Any:
            try:
                return method(*arguments)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                logger.info("A compiled kernel was not read or kept: %s", error)
                return None

        return tried

    cache.load_overload, cache.save_overload = forgiving(cache.load_overload), forgiving(cache.save_overload)


PLACE = _place()
"""Folder, or None if there is no place."""
