"""`ingest`: from anything to a store that appears when it is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bcnmf_dask.engine.clients import open_scheduler
from bcnmf_dask.errors import InputError, OutputError
from bcnmf_dask.ingesting.aside import Aside
from bcnmf_dask.ingesting.crew import Crew, Tell, nothing_told
from bcnmf_dask.ingesting.opening import open_source
from bcnmf_dask.ingesting.report import IngestReport
from bcnmf_dask.ingesting.writing import write_store

FORMAT = "1"
"""Of what lies aside; another version of this package that lays it out in another way cannot go on with it."""


def ingest(
    source: Any,
    out: str | os.PathLike[str],
    *,
    layer: str | None = None,
    client: Any = None,
    resume: bool = False,
    tell: Tell | None = None,
) -> IngestReport:
    """Write any data as the AnnData Zarr store that a fit reads fastest.

    The matrix is written in parallel, in chunks that carry checksums; ``obs`` and ``var`` are copied. Neither the
    driver nor a worker holds more than a few pieces of 4 million values per thread, and 8 bytes for each row. The
    values keep their type: a fit computes in float32 whatever is stored, so float64 and int64 only cost room.

    Parameters
    ----------
    source : array, AnnData, DataArray, DataFrame or path
        What `BCNMF.fit` accepts, and column-sparse (CSC) data, which is turned. Data in memory is written by threads
        of this process, whatever ``client`` is.
    out : path
        Of the store. It appears under this name when it is whole.
    layer : str, optional
        The layer of an AnnData to use instead of ``X``.
    client : Client, str, False or None
        Where to work, as in `BCNMF.fit`. All workers must see the folder of ``out``.
    resume : bool
        Go on with an ingest of the same to the same ``out`` that was killed, from the pieces it had finished, to the
        same checksums; from the beginning if there is none.
    tell : callable, optional
        Hears (step, tasks done, tasks in all) now and then.

    Returns
    -------
    IngestReport
        What was written and seen; also in ``uns["ingest"]`` of the store. Negative, infinite and NaN values are
        reported, not refused.

    Raises
    ------
    InputError
        If the source or ``out`` cannot be used, or ``resume`` would go on with something else. Nothing is left.
    ClusterError
        If the scheduler does not answer, has no worker, or lost too many.
    OutputError
        If the disk is full. What is written stays aside, to go on with.

    Notes
    -----
    ``.NAME.ingest`` next to ``out`` holds the work until it is done. For Dask arrays, CSC, and CSR with duplicates
    it needs room for all values uncompressed (8 bytes each for float32; for CSC 12 to 16 more, for a while).

    Examples
    --------
    >>> report = ingest("atlas.h5ad", "atlas.zarr", layer="counts")
    """
    opened = open_source(source, layer)
    plan = {"source": opened.name, "layer": str(layer), "values": opened.identity(), "format": FORMAT}
    where = client if opened.travels else False
    with open_scheduler(where, [opened.values]) as scheduler:  # first: a scheduler that is none leaves nothing aside
        aside = Aside.begin(out, plan, resume)
        with _kept_unless_wrong(aside):
            report = write_store(opened, Crew(aside, scheduler, tell or nothing_told), os.fspath(out))
            aside.finish(out)
    return report


@contextmanager
def _kept_unless_wrong(aside: Aside) -> Iterator[None]:
    """Leave what is aside for whoever goes on, except where going on would only fail again."""
    try:
        yield
    except OutputError:
        raise
    except InputError:
        aside.discard()
        raise
    except OSError as error:
        raise OutputError(
            f"out: the store cannot be written ({error.strerror or error}). Free space there, and go on with "
            f"resume=True (--resume); what is done is in {aside.path!r}."
        ) from error
