"""The places of results, made before the first sweep, so that what the end of a fit needs is known to be there."""

import os
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.wording import about
from bcnmf_dask.engine.lending import clusters_read
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.results.layout import PIECE_ROWS
from bcnmf_dask.results.output import Output
from bcnmf_dask.results.temporaries import TemporaryFolder

Out = str | os.PathLike[str] | None


def outputs_of(
    inputs: Inputs, settings: Sequence[Settings], dtype: str, outs: Sequence[Out], cleanup: ExitStack
) -> list[Output | None]:
    """A place for each result that is written, with the names of the rows in it and room for their usages.

    Parameters
    ----------
    inputs : Inputs
    settings : sequence of Settings
    dtype : str
        Of the usages.
    outs : sequence of path or None
        As the caller gave them. None: a result is written only if its usages are lazy, to a temporary folder.
    cleanup : ExitStack
        Removes what is left there of a run that fails.

    Raises
    ------
    InputError
        A place cannot be made or is too small, or a name cannot be read.
    OutputError
        Names cannot be written.
    """
    places = [_output(inputs, out, cleanup) for out in outs]
    if not any(places):
        _read_names(inputs)
    for place, one in zip(places, settings, strict=True):
        if place is not None:
            _keep_names(place, inputs)
            place.refuse_lack_of_room(sum(inputs.n_rows.values()) * one.n_components * np.dtype(dtype).itemsize)
    return places


def _output(inputs: Inputs, out: Out, cleanup: ExitStack) -> Output | None:
    if not inputs.lazy and out is None:
        return None
    output = Output.within(TemporaryFolder.made(clusters_read)) if out is None else Output.at(out)
    cleanup.callback(output.discard)
    return output


def _keep_names(place: Output, inputs: Inputs) -> None:
    for role, n_rows in inputs.n_rows.items():
        with about(inputs.called[role]):
            place.keep_names(role, n_rows, inputs.row_names[role])


def _read_names(inputs: Inputs) -> None:
    """See that names in memory can be decoded, as they will be when the result is saved."""
    for role, names in inputs.row_names.items():
        if names is not None:
            with about(inputs.called[role]):
                for start in range(0, len(names), PIECE_ROWS):
                    names.read(start, start + PIECE_ROWS)
