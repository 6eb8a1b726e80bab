"""What a file is by its first bytes, where it is not what its name says."""

import re
from contextlib import suppress
from pathlib import Path

LOOKED_AT = 512
"""Bytes of the beginning of a file."""
HDF5 = b"\x89HDF\r\n\x1a\n"

EXPECTED: dict[str, tuple[bytes, str]] = {
    ".h5ad": (HDF5, "an HDF5 file"),
    ".npy": (b"\x93NUMPY", "an array of NumPy"),
    ".npz": (b"PK", "a zip archive of NumPy arrays"),
    ".gz": (b"\x1f\x8b", "packed by gzip"),
}
"""First bytes by the end of the name, and what such a file is."""

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"\x89HDF", "an HDF5 file; if it is an AnnData, give it the suffix .h5ad"),
    (rb"\x93NUMPY", "an array of NumPy; give it the suffix .npy"),
    (rb"PK\x03\x04", "a zip archive; give an .npz that suffix, and unpack any other"),
    (rb"\x1f\x8b", "packed by gzip; unpack it with gunzip"),
    (rb"BZh", "packed by bzip2; unpack it with bunzip2"),
    (rb"\xfd7zXZ\x00", "packed by xz; unpack it with unxz"),
    (rb"\x28\xb5\x2f\xfd", "packed by zstd; unpack it with unzstd"),
    (rb"version https://git-lfs", "a pointer of Git LFS to the file; fetch that with `git lfs pull`"),
    (rb"/?(\.git/)?annex/objects", "a pointer of git-annex to the file; fetch that with `git annex get`"),
    (rb"\s*(<!doctype html|<html)", "a web page; the download has failed, or wants a login: fetch it again"),
    (rb"\s*<\?xml", "an XML document, such as servers send for errors; fetch it again"),
    (rb"PAR1", "a Parquet file; read it with pandas.read_parquet, and give the DataFrame"),
    (rb"RD[AX]\d\n", "a file of R; write an .h5ad in R"),
    (rb"CDF[\x01\x02\x05]", "a NetCDF file; read it with xarray.open_dataarray, and give the DataArray"),
    (rb"%%MatrixMarket", "a Matrix Market file; read it with scipy.io.mmread, and give the matrix as CSR"),
    (rb"\x80[\x02-\x05]", "a Python pickle, which is not read, since that may run any code; write the values alone"),
    (rb"(\xff\xfe|\xfe\xff)", "text in UTF-16; save it as UTF-8"),
    (rb"\x00+$", "nothing but zeros at its beginning; its copy was broken off: copy it again"),
)
"""Patterns of first bytes, and what such a file is with the repair."""


def mistaken(location: str) -> str | None:
    """A sentence on a local file that is of another kind than its name says; None if it is not, or none is there.

    Parameters
    ----------
    location : str
        A path, or anything else, of which nothing is known.
    """
    path = Path(location)
    expected = EXPECTED.get(path.suffix.lower())
    with suppress(OSError, ValueError):
        if expected and path.is_file():
            signature, kind = expected
            return None if _begins(path, signature) else f"It is not {kind}, but {_found(_first_bytes(path))}."
    return None


def kind_of(content: bytes) -> str | None:
    """What a file with these first bytes is, and the repair; None if they are none we know."""
    return next((kind for pattern, kind in SIGNATURES if re.match(pattern, content, re.IGNORECASE)), None)


def _begins(path: Path, signature: bytes) -> bool:
    """Whether it starts as it should; HDF5 leaves room before, 512 bytes or twice that, again and again."""
    places, size = [0], path.stat().st_size
    if signature == HDF5:
        places += [LOOKED_AT * 2**power for power in range(size.bit_length()) if LOOKED_AT * 2**power < size]
    with path.open("rb") as file:
        for place in places:
            file.seek(place)
            if file.read(len(signature)) == signature:
                return True
    return False


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LOOKED_AT)


def _found(content: bytes) -> str:
    if not content:
        return "empty; its copy was broken off, or nothing was written: copy or write it again"
    if known := kind_of(content):
        return known
    with suppress(UnicodeDecodeError):
        text = content[:24].decode("ascii")
        if all(letter.isprintable() or letter.isspace() for letter in text):
            return f"text that begins with {text!r}; give the file that is meant"
    return f"something that begins with the bytes {content[:8].hex(' ')}; give the file that is meant"
