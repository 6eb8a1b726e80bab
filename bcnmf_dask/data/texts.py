"""Tables of text (CSV and TSV), read whole: what is in them is told by line and column where it is not as expected."""

import csv
import gzip
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from bcnmf_dask.data.handles import reading
from bcnmf_dask.data.locations import Location, absolute
from bcnmf_dask.errors import InputError
from bcnmf_dask.failures.signatures import kind_of

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ""}
"""Between columns, by the end of the name; of ``.txt`` it is a tab if the header has one, else a comma."""
NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", " ": "spaces"}
GZIP = ".gz"
MISSING = ["NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"]
"""Words for a value that is not there: NaN, which a fit refuses and an ingest reports, as of any input."""
INDEX_NAMES = {
    *("", "index", "_index", "unnamed: 0", "level_0", "id", "ids", "name", "names", "cell", "cells", "cell_id"),
    *("cellid", "cell_ids", "cell_name", "cell_names", "barcode", "barcodes", "obs", "obs_names", "row", "rows"),
    *("row_names", "rownames", "rowname", "sample", "samples", "sample_id", "sample_ids"),
}
"""Headers, in small letters, of a first column that names rows even if the names are numbers."""


@dataclass(frozen=True)
class Head:
    """The beginning of a table.

    Attributes
    ----------
    separator : str
    header : list of str
        A name for each column; that of row names may be blank.
    lines : int
        Of the file, up to the end of the header.
    """

    separator: str
    header: list[str]
    lines: int


def separator_of(path: Location) -> str | None:
    """What separates columns by the end of the name; ``""`` if that is open, None if it is no table of text."""
    name = os.fspath(path).lower().removesuffix(GZIP)
    return SEPARATORS.get(Path(name).suffix)


def read_text(path: Location) -> pd.DataFrame:
    """The numbers in a table of text, features named by its header and rows by its first column.

    The first column holds names if its header is blank or says so (`INDEX_NAMES`), or if it holds text. Names that only
    count (0, 1, 2, ...) are none.

    Raises
    ------
    InputError
        With line and column, for whatever is no number, and for headers that name nothing.
    """
    location = os.fspath(path)
    with reading(location):
        try:
            head = _head(location)
            frame = _body(location, head)
        except UnicodeDecodeError as error:
            raise _not_utf8(location) from error
    names = _row_names(location, head, frame[0])
    skipped = 0 if names is None else 1
    if frame.shape[1] == skipped:
        raise InputError(f"{location!r} has row names, but no column of numbers. Expected one for each feature (gene).")
    for column in range(skipped, frame.shape[1]):
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = _numbers(location, head, column, frame[column])
    values = frame.iloc[:, skipped:]
    values.columns = _feature_names(location, head, skipped)
    values.index = pd.RangeIndex(len(values)) if names is None else names
    return values


def _open(location: str) -> IO[str]:
    path = absolute(location)
    opened: Any = gzip.open if path.lower().endswith(GZIP) else open
    file: IO[str] = opened(path, "rt", encoding="utf-8-sig", newline="")
    return file


def _head(location: str) -> Head:
    with Path(absolute(location)).open("rb") as file:
        kind = kind_of(file.read(512))
    if kind and not location.lower().endswith(GZIP):
        raise InputError(f"{location!r} is not a table of text, but {kind}.")
    with _open(location) as file:
        lines = [(number, line) for number, line in islice(enumerate(file, 1), 1000) if line.strip()][:2]
    if len(lines) < 2:
        raise InputError(
            f"{location!r} holds {'no row after its header' if lines else 'nothing'}. Expected a header that names the "
            "features (genes), and a row for each cell."
        )
    separator = _separator(location, lines[0][1])
    header, first = (next(csv.reader([line], delimiter=separator)) for _, line in lines)
    if len(first) == len(header) + 1:  # as R writes tables with row names
        header = ["", *header]
    if len(first) != len(header):
        raise _ragged(location, header, lines[1][0], len(first))
    return Head(separator, header, lines[0][0])


def _separator(location: str, line: str) -> str:
    expected = separator_of(location) or ("\t" if "\t" in line else ",")
    if expected not in line:
        others = [other for other in NAMES if other in line.strip()]
        if others:
            raise InputError(
                f"{location!r} has a header without {NAMES[expected]}, but with {NAMES[others[0]]}. Expected "
                f"{NAMES[expected]} between columns (tabs in a .tsv, commas in a .csv): write it again with them, and "
                "numbers with a point."
            )
    return expected


def _body(location: str, head: Head) -> pd.DataFrame:
    """All columns, the first as text; what is no number makes its column one of text."""
    options: dict[str, Any] = {
        "sep": head.separator,
        "header": None,
        "names": list(range(len(head.header))),
        "skiprows": head.lines,
        "dtype": {0: str},
        "na_values": dict.fromkeys(range(1, len(head.header)), MISSING),
        "keep_default_na": False,  # a blank is a mistake rather than a missing value
        "float_precision": "round_trip",
        "low_memory": False,
        "encoding": "utf-8-sig",
        "compression": "gzip" if location.lower().endswith(GZIP) else None,
    }
    try:
        frame: pd.DataFrame = pd.read_csv(absolute(location), **options)
    except pd.errors.ParserError as error:
        if found := re.search(r"in line (\d+), saw (\d+)", str(error)):
            raise _ragged(location, head.header, int(found[1]), int(found[2])) from error
        raise InputError(
            f"{location!r} is no table of text ({str(error).strip()}). See whether a quote in it is never closed."
        ) from error
    return frame


def _ragged(location: str, header: Sequence[str], line: int, found: int) -> InputError:
    return InputError(
        f"{location!r} has {found} columns in line {line}, but {len(header)} in its header. Expected the same number "
        "in every line: see whether one has a separator too many or too few."
    )


def _not_utf8(location: str) -> InputError:
    opened: Any = gzip.open if location.lower().endswith(GZIP) else open
    with opened(absolute(location), "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where = f"line {number} (byte 0x{line[error.start]:02x} after {line[: error.start][-20:]!r})"
                return InputError(
                    f"{location!r} is not UTF-8 in {where}. Save it as UTF-8, for example with `iconv -f latin1 -t "
                    "utf-8`, from the encoding that it has."
                )
    return InputError(f"{location!r} is not UTF-8. Save it as UTF-8, for example with `iconv -t utf-8`.")


def _row_names(location: str, head: Head, first: "pd.Series[str]") -> "pd.Index[Any] | None":
    """The names that the first column holds; None if it is a feature like the others, which it then becomes."""
    called = head.header[0].strip()
    if called.lower() in INDEX_NAMES:
        return _names_in(location, head, first)
    missing = first.isin(MISSING)
    numbers = pd.to_numeric(first.where(~missing), errors="coerce")
    text = numbers.isna() & ~missing
    if text.sum() > len(first) / 2:
        return _names_in(location, head, first)
    if text.any():
        line = _line_of(location, head, int(np.argmax(text)))
        what = f"holds numbers and, in line {line}, {first.iloc[int(np.argmax(text))]!r}"
    elif _counts(numbers.to_numpy()):
        what = "counts the rows"
    else:
        return None
    raise InputError(
        f"{location!r} has a first column, {called!r}, that {what}: it may name the rows or be a feature. Leave its "
        "header blank (or write index) if it holds names; if it is a feature, let it hold numbers alone, and not come "
        "first."
    )


def _names_in(location: str, head: Head, first: "pd.Series[str]") -> "pd.Index[Any]":
    blank = first.str.strip() == ""
    if blank.any():
        raise InputError(
            f"{location!r} has no row name in line {_line_of(location, head, int(np.argmax(blank)))}. Expected one in "
            "each line, in the first column."
        )
    counted = len(first) > 1 and (first.to_numpy() == np.arange(len(first)).astype(str)).all()
    return pd.RangeIndex(len(first)) if counted else pd.Index(first.to_numpy(dtype=object))


def _counts(numbers: Any, start: tuple[int, ...] = (0, 1)) -> bool:
    """Whether numbers are 0, 1, 2, ... or from 1 on."""
    return len(numbers) > 1 and any(np.array_equal(numbers, np.arange(len(numbers)) + first) for first in start)


def _feature_names(location: str, head: Head, skipped: int) -> "pd.Index[Any]":
    names = head.header[skipped:]
    numbers = pd.to_numeric(pd.Series(names), errors="coerce").to_numpy()
    place = {name: column for column, name in reversed(list(enumerate(names, skipped + 1)))}
    for column, name in enumerate(names, skipped + 1):
        if not name.strip():
            raise InputError(
                f"{location!r} has no name in column {column} of its header (line {head.lines}). Expected a name for "
                "each feature (gene): see whether the line ends with a separator."
            )
        if place[name] != column:
            raise InputError(
                f"{location!r} names two features {name!r} in its header, in the columns {place[name]} and {column}. "
                "Expected each name once: drop or rename one."
            )
    if _counts(numbers, start=(0,)):
        return pd.RangeIndex(len(names))
    certain = skipped and head.header[0].strip().lower() in INDEX_NAMES
    if not certain and not np.isnan(numbers).any() and not _counts(numbers):
        raise InputError(
            f"{location!r} has numbers in its header (line {head.lines}: {', '.join(names[:3])}, ...). Expected the "
            "names of the features (genes): write them as its first line."
        )
    return pd.Index(names, dtype=object)


def _numbers(location: str, head: Head, column: int, cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """The numbers in a column that pandas took for text."""
    numbers = pd.to_numeric(cells, errors="coerce")
    missing = cells.isna() | cells.isin(MISSING)
    text = (numbers.isna() & ~missing).to_numpy()
    if text.any():
        row = int(np.argmax(text))
        place = f"line {_line_of(location, head, row)}, column {column + 1} ({head.header[column]!r})"
        raise InputError(f"{location!r} has in {place} {_no_number(str(cells.iloc[row]))}")
    if pd.api.types.is_integer_dtype(numbers):
        return numbers
    return cells.where(~missing, "nan").astype(np.float64)  # to the last digit, which to_numeric is not


def _no_number(cell: str) -> str:
    if not cell.strip():
        return (
            "no value: it is blank, or the line ends before. Expected a number in each column: 0 where there is none."
        )
    if re.fullmatch(r"\s*-?\d+,\d+\s*", cell):
        return f"{cell!r}, a number with a comma. Expected a point before decimals, and nothing between thousands."
    return (
        f"{cell!r}, which is no number. Expected numbers alone, but for names in the first column: leave out columns "
        "of labels, or make an AnnData of the table, whose obs holds them."
    )


def _line_of(location: str, head: Head, row: int) -> int:
    """The line of the file in which a row is; blank lines are none."""
    with _open(location) as file:
        rows = (number for number, line in enumerate(file, 1) if number > head.lines and line.strip())
        return next(islice(rows, row, None))
