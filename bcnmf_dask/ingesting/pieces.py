"""Writing the values of a store in pieces: runs of whole files, so that no two writers share one."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bcnmf_dask.backend import slice_rows
from bcnmf_dask.data.sources import DaskSource, Source
from bcnmf_dask.ingesting.aside import Aside, Record
from bcnmf_dask.ingesting.canonical import INDEX, canonical
from bcnmf_dask.ingesting.chunks import create_dense, create_values, open_values, write_all
from bcnmf_dask.ingesting.compressed import Compressed
from bcnmf_dask.ingesting.report import Tally
from bcnmf_dask.ingesting.runs import declared

PIECES = "pieces"


@dataclass(frozen=True)
class CsrPieces:
    """Writes a CSR matrix, cut by stored values: a piece may begin and end in the middle of a row.

    Attributes
    ----------
    aside : Aside
    source : Compressed
        By row.
    piece_values : int
        Stored values of each piece, in whole files.
    """

    aside: Aside
    source: Compressed
    piece_values: int

    @property
    def n_pieces(self) -> int:
        """How many pieces there are; one even of no values, which looks at the rows."""
        return max(1, -(-int(self.source.pointers()[-1]) // self.piece_values))

    def create(self) -> None:
        """Make room for all values, and write the row pointers."""
        pointers = self.source.pointers()
        n_values = int(pointers[-1])
        group = zarr.open_group(self.aside.store, mode="r+").create_group("X", overwrite=True)
        group.attrs.update(
            {
                "encoding-type": "csr_matrix",
                "encoding-version": "0.1.0",
                "shape": [self.source.n_rows, self.source.n_features],
            }
        )
        create_values(group, "data", n_values, self.source.dtype)
        create_values(group, "indices", n_values, INDEX)
        create_values(group, "indptr", len(pointers), np.dtype(np.int64))
        write_all(open_values(self.aside.store, "X/indptr", "r+"), pointers)

    def __call__(self, number: int) -> Record:
        """Write one piece and look at the rows that begin in it.

        A piece that comes upon duplicates writes nothing: in a source that has them, values are not where its
        pointers say. It reports how many it summed.
        """
        pointers = self.source.pointers()
        first, last = self._span(number, int(pointers[-1]))
        begin = int(np.searchsorted(pointers[:-1], first))
        stop = int(np.searchsorted(pointers[:-1], last)) if last < pointers[-1] else len(pointers) - 1
        start = min(begin, max(int(np.searchsorted(pointers, first, side="right")) - 1, 0))
        offset = int(pointers[start])
        data, indices = self.source.values(offset, int(pointers[stop]))
        rows, summed = canonical(data, indices, pointers[start : stop + 1] - offset, self.source.n_features)
        if summed:
            return {"summed": summed}
        part = slice(first - offset, last - offset)
        open_values(self.aside.store, "X/data", "r+")[first:last] = rows.data[part]
        open_values(self.aside.store, "X/indices", "r+")[first:last] = rows.indices[part]
        tally = Tally.of(slice_rows(rows, begin - start, stop - start))
        record = {"summed": 0, "checksums": [proof(rows.data[part], rows.indices[part])], "tally": tally.to_json()}
        return self.aside.note(PIECES, number, record)

    def read_again(self, number: int) -> list[str]:
        """The checksum of one piece, as it is stored."""
        data = open_values(self.aside.store, "X/data")
        first, last = self._span(number, data.shape[0])
        indices = open_values(self.aside.store, "X/indices")
        return [proof(np.asarray(data[first:last]), np.asarray(indices[first:last]))]

    def outline(self) -> str:
        """The checksum of the rest: shape, type, and how many values each row has."""
        return proof(np.array([self.source.n_rows, self.source.n_features]), self.source.pointers())

    def _span(self, number: int, n_values: int) -> tuple[int, int]:
        first = number * self.piece_values
        return first, min(first + self.piece_values, n_values)


@dataclass(frozen=True)
class DensePieces:
    """Writes a dense matrix, cut by rows.

    Attributes
    ----------
    aside : Aside
    source : Source or None
        Of dense rows; None if they come as blocks of a Dask array.
    shape : (int, int)
    dtype : dtype
    unit_rows : int
        Rows that share a checksum, in whole chunks.
    n_units : int
        Units of each piece.
    """

    aside: Aside
    source: Source | None
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    unit_rows: int
    n_units: int

    @property
    def n_pieces(self) -> int:
        """How many pieces there are."""
        return -(-self.shape[0] // (self.unit_rows * self.n_units))

    def create(self) -> None:
        """Make room for all values."""
        array = create_dense(zarr.open_group(self.aside.store, mode="r+"), "X", self.shape, self.dtype)
        array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})

    def span(self, number: int) -> tuple[int, int]:
        """The rows of a piece."""
        first = number * self.unit_rows * self.n_units
        return first, min(first + self.unit_rows * self.n_units, self.shape[0])

    def __call__(self, number: int, first_row: int = 0, *blocks: Any) -> Record:
        """Write one piece and look at it; ``blocks`` of a Dask array begin with the row ``first_row``."""
        first, last = self.span(number)
        if self.source is None:
            n_rows = sum(block.shape[0] for block in blocks)
            rows = declared(blocks, (n_rows, self.shape[1]), self.dtype)[first - first_row : last - first_row]
        else:
            rows = np.asarray(self.source.read(first, last))
        open_values(self.aside.store, "X", "r+")[first:last] = rows
        record = {"summed": 0, "checksums": self._proofs(rows), "tally": Tally.of(rows).to_json()}
        return self.aside.note(PIECES, number, record)

    def read_again(self, number: int) -> list[str]:
        """The checksums of one piece, as it is stored."""
        first, last = self.span(number)
        return self._proofs(np.asarray(open_values(self.aside.store, "X")[first:last]))

    def _proofs(self, rows: NDArray[Any]) -> list[str]:
        return [proof(rows[start : start + self.unit_rows]) for start in range(0, len(rows), self.unit_rows)]

    def outline(self) -> str:
        """The checksum of the rest: the shape."""
        return proof(np.array(self.shape))


@dataclass(frozen=True)
class Verify:
    """Reads a piece that was written before, to prove that it is whole.

    Attributes
    ----------
    pieces : CsrPieces or DensePieces
    """

    pieces: CsrPieces | DensePieces

    def __call__(self, number: int) -> Record:
        """Whether the piece is as it was noted."""
        record = self.pieces.aside.record(PIECES, number)
        try:
            whole = record is not None and self.pieces.read_again(number) == record["checksums"]
        except Exception:  # every codec says in its own way that a chunk is damaged
            whole = False
        return {"whole": whole}


def proof(*arrays: NDArray[Any]) -> str:
    """A digest of the values of some arrays, and of their types."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(str(array.dtype).encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def proof_of_all(outline: str, pieces: Iterable[str]) -> str:
    """One digest of those of all pieces, in order."""
    found = hashlib.blake2b(outline.encode(), digest_size=16)
    for one in pieces:
        found.update(one.encode())
    return found.hexdigest()


def blocks_over(source: DaskSource, first: int, last: int) -> tuple[int, list[Any]]:
    """The row at which the blocks that cover rows ``first:last`` begin, and these blocks."""
    cuts, _ = source.cuts()
    start = int(cuts[np.searchsorted(cuts, first, side="right") - 1])
    return start, source.blocks(start, int(cuts[np.searchsorted(cuts, last)]))
