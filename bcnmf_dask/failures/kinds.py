"""The ways in which reading fails, and what to do about each; only some of them are damage."""

import errno
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bcnmf_dask.failures.circumstances import filters_missing, owner_of, package_of, versions

WRITTEN_AGAIN = "on the machine where it was made, write it again as float32 or as whole numbers"
REFUSED = (
    "The server refuses to give it: give this process credentials that may read it, in the environment or the "
    "configuration of fsspec, and the workers the same."
)


@dataclass(frozen=True)
class Failure:
    """One way to fail.

    Attributes
    ----------
    sentence : str or callable
        What is wrong and the repair; or a function of the location and of what the words say is the matter.
    types : tuple of str
        Names of the classes of errors that mean it; those that inherit from them count.
    numbers : tuple of int
        Numbers of errors of the system that mean it.
    words : str
        A pattern in the message that means it; its group ``what`` is what is the matter.
    inside : bool
        Whether the fault is in the bytes themselves: some are not there, or not what they were.
    """

    sentence: str | Callable[[str, str], str]
    types: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    words: str = ""
    inside: bool = False

    def found_in(self, error: BaseException) -> str | None:
        """What is the matter, as far as the message says; None if the error does not mean this."""
        match = re.search(self.words, str(error), re.IGNORECASE) if self.words else None
        if match:
            return next((what for what in match.groupdict().values() if what), "")
        if any(base.__name__ in self.types for base in type(error).__mro__):
            return ""
        return "" if getattr(error, "errno", None) in self.numbers else None


FAILURES: tuple[Failure, ...] = (
    Failure(
        "It is open for writing in another process: close it there (for example in a notebook that has opened it with "
        "read_h5ad(path, backed='r+')). Where nothing is written to it any more, it is read all the same with the "
        "environment variable HDF5_USE_FILE_LOCKING=FALSE, here and on the workers.",
        types=("BlockingIOError",),
        numbers=(errno.EAGAIN,),
        words=r"unable to lock file, errno = (11|35)\b",
    ),
    Failure(
        "Its file system has no locks: set the environment variable HDF5_USE_FILE_LOCKING=FALSE, here and on the "
        "workers.",
        numbers=(errno.ENOLCK,),
        words="unable to lock file",
    ),
    Failure(
        "A program has it open for writing, or ended without closing it. Close it there; if no program has it open, "
        "clear the mark with `h5clear --status FILE`.",
        words=r"file is already open for|h5clear",
    ),
    Failure(
        lambda location, _: (
            f"It is compressed with {filters_missing(location)}, which the HDF5 library here does not have: "
            "pip install hdf5plugin, here and on the workers; nothing else needs to be set."
        ),
        words=r"can't open directory|required filter|filter .*not (registered|available)|(can't|unable to) find plugin",
    ),
    Failure(
        lambda _, what: (
            f"It is packed with the codec {what!r}, which the Zarr here does not have: install {package_of(what)}, "
            "here and on the workers; or write it again with a codec of Zarr's own, such as zstd."
        ),
        types=("UnknownCodecError",),
        words=r"(codec not available: |unknown codec: )['\"]*(?P<what>[^'\"]+)",
    ),
    Failure(
        f"It holds Python objects (a pickle), which are not read, since that may run any code: {WRITTEN_AGAIN}, for "
        "example with numpy.save(path, array.astype('float32')), and names as text, with .astype(str).",
        words=r"object arrays cannot be loaded|python objects in dtype|pickled \(object\) data|allow_pickle",
    ),
    Failure(
        f"It holds values of a type that cannot be read here: {WRITTEN_AGAIN}.",
        words=r"no numpy equivalent|data type .* not understood|insufficient precision|no zarr data type found|"
        r"unsupported (integer|float) size|no (appropriate function for )?conversion path",
    ),
    Failure(
        "It holds text that is not UTF-8: write its names and labels again as UTF-8 (an .h5ad with a current version "
        "of anndata; a text file with `iconv -t utf-8`).",
        types=("UnicodeDecodeError",),
        inside=True,
    ),
    Failure(
        lambda location, _: REFUSED if "://" in location else owner_of(location),
        types=("PermissionError",),
        numbers=(errno.EACCES, errno.EPERM),
    ),
    Failure(
        "This process has as many files open as it may: raise that with `ulimit -n 65536` before it starts (on the "
        "workers, before they start); a store of fewer, larger files is written by `bcnmf-dask ingest`.",
        numbers=(errno.EMFILE, errno.ENFILE),
        words="too many open files",
    ),
    Failure(
        "The memory of this machine was not enough to open or decode it: give the process more, or end others.",
        types=("MemoryError",),
        numbers=(errno.ENOMEM,),
        words="memory allocation failed|cannot allocate memory",
    ),
    Failure(
        "The storage failed, which says nothing about the file: see that its disk or server is there and mounted, and "
        "try again.",
        numbers=(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENODEV, errno.ENXIO),
        words=r"errno = (5|116)\b",
    ),
    Failure(
        REFUSED,
        types=("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ClientAuthenticationError"),
        words=r"^(401|403),|forbidden|unauthorized|access ?denied|(invalid|unable to locate) .*credential|"
        "invalidaccesskeyid|signaturedoesnotmatch",
    ),
    Failure(
        "The server does not answer: see that it can be reached from here (network, proxy, name), and try again.",
        types=(
            *("ConnectionError", "TimeoutError", "gaierror", "ClientConnectionError", "ServerTimeoutError"),
            *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "HttpError"),
        ),
        numbers=(errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH),
    ),
    Failure(
        "It is a folder where a file is expected: give the file in it.",
        types=("IsADirectoryError", "NotADirectoryError"),
    ),
    Failure(
        lambda *_: (
            f"It was written by a newer version of its format than {versions()} read here: update them, here and on "
            "the workers, or write it again with an older one. If nothing newer wrote it, it is damaged."
        ),
        types=("IORegistryError",),
        words=r"bad (superblock|object header) version|bad version number|invalid (value for )?'?zarr_format|"
        r"only support format version|unknown chunk grid|storage transformers|disallowed extra fields|must_understand",
    ),
    Failure(
        "There is no array or group of Zarr at that place: name the folder that holds zarr.json, .zarray or .zgroup. "
        "If this is the one, its copy is not complete: copy it again.",
        types=("GroupNotFoundError", "ArrayNotFoundError", "NodeNotFoundError"),
        inside=True,
    ),
    Failure(
        lambda _, what: (
            f"A part of it is not there{f' ({what})' if what else ''}: copy it again, whole, or write it again; if all "
            "of it is gone, check the path."
        ),
        types=("FileNotFoundError",),
        words=r"(object|component|attribute:?) '(?P<what>[^']+)'\)? (doesn't|does not) exist|can't locate attribute: "
        r"'(?P<attribute>[^']+)'|^'(?P<key>[\w./-]+)'$",
        inside=True,
    ),
    Failure(
        "It is truncated or damaged: copy or write it again, and try to open it with the library that wrote it.",
        types=("BadZipFile", "LZMAError", "EOFError", "JSONDecodeError"),
        words=r"(unable to|can't|cannot) (synchronously )?\w+ .*\(.*(truncated|signature|checksum|not aligned|corrupt|"
        r"overflow|wrong|bad|invalid|unknown symbol|ran off|filter returned failure|unable to (load|decode)|eof)|"
        r"decompress|inflate|data corruption|bad crc|(bad|error in|incorrect) .*(checksum|crc|data check|header)|"
        r"checksums? do(es)? not match|mmap length is greater|cannot reshape array of size|reading array data|"
        r"buffer is (too small|smaller)|do not fit its stored values|it ends within|blosc|end-of-stream|"
        r"(cannot parse|invalid) header|header is not a dictionary|magic string",
        inside=True,
    ),
)
"""In the order in which they are looked for."""


def failure_of(error: BaseException) -> tuple[Failure, str] | None:
    """What the error, or one that it came from, means, and what is the matter; None if nothing known."""
    for one in _chain(error):
        for failure in FAILURES:
            what = failure.found_in(one)
            if what is not None:
                return failure, what
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, the one it came from, and so on; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
