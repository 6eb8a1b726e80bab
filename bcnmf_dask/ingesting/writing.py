"""The steps of an ingest, in their order. Each can be repeated, and none is done twice."""

from collections.abc import Callable, Sequence
from typing import Any

import anndata.io
import numpy as np
import pandas as pd
import zarr

from bcnmf_dask.data.annotations import Annotation, as_names
from bcnmf_dask.data.sources import DaskSource
from bcnmf_dask.errors import InputError
from bcnmf_dask.ingesting.aside import Aside, Record
from bcnmf_dask.ingesting.chunks import PIECE_VALUES, dense_unit_rows, dense_units
from bcnmf_dask.ingesting.crew import Arguments, Crew, no_arguments
from bcnmf_dask.ingesting.opening import BESIDES, Opened
from bcnmf_dask.ingesting.pieces import PIECES, CsrPieces, DensePieces, Verify, blocks_over, proof_of_all
from bcnmf_dask.ingesting.report import IngestReport, Tally
from bcnmf_dask.ingesting.runs import RUNS, FromBlocks, FromRows, Runs, equal_runs, settle, settled
from bcnmf_dask.ingesting.transpose import SPREAD, Collect, Spread
from bcnmf_dask.results.layout import consolidate

REPEATED = "repeated"
"""A note that a CSR source has duplicates: its pointers do not say where the sums belong."""


def write_store(opened: Opened, crew: Crew, out: str) -> IngestReport:
    """Write the whole store aside; ``out`` is only what the report calls it."""
    twice = _write_annotations(opened, crew.aside)
    pieces, records, summed = _write_csr(opened, crew) if opened.sparse else _write_dense(opened, crew)
    tally = Tally.none(opened.shape[1])
    for record in records:
        tally = tally.merge(Tally.from_json(record["tally"], opened.shape[1]))
    checksums = tuple(checksum for record in records for checksum in record["checksums"])
    report = IngestReport(
        source=opened.name,
        out=out,
        matrix="csr" if opened.sparse else "dense",
        dtype=str(opened.dtype),
        n_cells=opened.shape[0],
        n_features=opened.shape[1],
        stored_values=tally.stored,
        density=(tally.stored - tally.zeros) / (opened.shape[0] * opened.shape[1]),
        negative=tally.negative,
        nan=tally.nan,
        infinite=tally.infinite,
        integers=not tally.fractional,
        largest=max(tally.largest, 0.0) if tally.stored == 0 else tally.largest,
        explicit_zeros=tally.zeros if opened.sparse else 0,
        duplicate_entries=summed,
        duplicate_cell_names=twice["obs"],
        duplicate_feature_names=twice["var"],
        empty_cells=tally.empty_rows,
        empty_features=int(np.count_nonzero(~tally.seen)),
        left_out=opened.left_out,
        checksum=proof_of_all(pieces.outline(), checksums),
        piece_checksums=checksums,
    )
    root = zarr.open_group(crew.aside.store, mode="r+")
    _write_element(root, "uns", {"ingest": report.plain()})
    consolidate(crew.aside.store)
    return report


def _write_annotations(opened: Opened, aside: Aside) -> dict[str, int]:
    """Begin the store with all but its values, which fails early if it fails; returns how many names come again."""
    root = zarr.open_group(aside.store, mode="a", zarr_format=3)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    for part in BESIDES:
        _write_element(root, part, {})
    again = {}
    for part, annotation, length in (("obs", opened.obs, opened.shape[0]), ("var", opened.var, opened.shape[1])):
        frame = _frame(annotation, length, part)
        again[part] = int(frame.index.duplicated().sum())
        try:
            _write_element(root, part, frame)
        except OSError:
            raise  # of the disk, not of the frame
        except Exception as error:  # AnnData says in many ways what it cannot write
            raise InputError(
                f"source: AnnData cannot write {part} ({error}). Drop the column that it names, or convert it to "
                "numbers, text or a category."
            ) from error
    return again


def _write_element(root: "zarr.Group", name: str, element: Any) -> None:
    # Annotations are one chunk each: shards, AnnData's coming default, would change nothing but its warning.
    anndata.io.write_elem(root, name, element, dataset_kwargs={"shards": None})


def _frame(annotation: Annotation, length: int, part: str) -> pd.DataFrame:
    frame = annotation.whole()
    if len(frame) != length:
        raise InputError(f"source: {part} has {len(frame)} names for {length} rows or features of the matrix.")
    return frame.set_axis(pd.Index(as_names(frame.index), name=frame.index.name), axis=0)


def _write_dense(opened: Opened, crew: Crew) -> tuple[DensePieces, list[Record], int]:
    values: Any = opened.values
    cuts, _ = values.cuts()
    in_blocks = isinstance(values, DaskSource)
    pieces = DensePieces(
        crew.aside,
        None if in_blocks else values,
        opened.shape,
        opened.dtype,
        dense_unit_rows(opened.shape, opened.dtype),
        dense_units(opened.shape, opened.dtype, step=int(np.diff(cuts).max())),
    )

    def blocks(number: int) -> Sequence[Any]:
        start, found = blocks_over(values, *pieces.span(number))
        return [start, *found]

    return pieces, _write_pieces(crew, pieces, blocks if in_blocks else no_arguments), 0


def _write_csr(opened: Opened, crew: Crew) -> tuple[CsrPieces, list[Record], int]:
    """Write a sparse source: directly where its values are in their places, else from runs."""
    values: Any = opened.values
    if not isinstance(values, DaskSource) and values.by_row and crew.aside.record(REPEATED, 0) is None:
        pieces = CsrPieces(crew.aside, values, PIECE_VALUES)
        records = _write_pieces(crew, pieces)
        if not any(record["summed"] for record in records):
            return pieces, records, 0
        crew.aside.note(REPEATED, 0, {})
        crew.aside.forget(PIECES)
    settling = settled(crew.aside) or _make_runs(opened, crew)
    pieces = CsrPieces(crew.aside, Runs(crew.aside, *opened.shape, opened.dtype), PIECE_VALUES)
    return pieces, _write_pieces(crew, pieces), settling["summed"]


def _make_runs(opened: Opened, crew: Crew) -> Record:
    """Bring all rows into canonical form, aside."""
    values: Any = opened.values
    make, n_runs, arguments = _runs_of(values, opened, crew)
    record = settle(crew.aside, crew.do(RUNS, make, n_runs, arguments), opened.shape[0])
    crew.aside.forget(SPREAD)
    return record


def _runs_of(values: Any, opened: Opened, crew: Crew) -> tuple[Callable[..., Record], int, Arguments]:
    """What makes the runs of a source, how many there are, and what each needs."""
    if isinstance(values, DaskSource):
        blocks, rows = values.blocks(0, opened.shape[0]), values.array.chunks[0]
        from_blocks = FromBlocks(crew.aside, opened.shape[1], opened.dtype)
        return from_blocks, len(blocks), lambda number: [int(rows[number]), blocks[number]]
    if values.by_row:
        bounds = equal_runs(values.pointers(), PIECE_VALUES).tolist()
        return FromRows(crew.aside, values), len(bounds) - 1, lambda number: bounds[number : number + 2]
    spread = Spread(crew.aside, values, PIECE_VALUES)
    crew.do(SPREAD, spread, spread.n_pieces)
    ranges = spread.bounds().tolist()
    return Collect(spread), len(ranges) - 1, lambda number: ranges[number : number + 2]


def _write_pieces(crew: Crew, pieces: CsrPieces | DensePieces, arguments: Arguments = no_arguments) -> list[Record]:
    """Write all pieces but those that are already there, whole."""
    noted = [number for number in range(pieces.n_pieces) if crew.aside.record(PIECES, number) is not None]
    if not noted:
        pieces.create()
    for number, found in zip(noted, crew.reports(Verify(pieces), noted), strict=True):
        if not found["whole"]:
            crew.aside.forget_one(PIECES, number)
    return crew.do(PIECES, pieces, pieces.n_pieces, arguments)
