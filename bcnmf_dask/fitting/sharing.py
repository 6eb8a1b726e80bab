"""Temporary stores that some workers do not see: then lazy usages come to this process, if it has room for them."""

import logging
from collections.abc import Sequence

import numpy as np
from dask.utils import format_bytes

from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.engine.base import Engine
from bcnmf_dask.engine.limits import is_small_here
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.results.output import Output

logger = logging.getLogger(__name__)

NAME_BYTES = 100
"""Of the name of a row in memory, about."""


def refuse_unreachable(
    engine: Engine, inputs: Inputs, settings: Sequence[Settings], dtype: str, outputs: Sequence[Output | None]
) -> None:
    """See before the first sweep that all usages have a place at its end.

    Parameters
    ----------
    engine : Engine
        That has loaded its rows.
    inputs : Inputs
    settings : sequence of Settings
    dtype : str
        Of the usages.
    outputs : sequence of Output or None
        Of each fit.

    Raises
    ------
    InputError
        A worker cannot write where the user wants a result; or in a temporary folder, and this process has not the
        memory for the usages.
    """
    nbytes = 0
    for output, one in zip(outputs, settings, strict=True):
        if output is not None and (kept_out := _kept_out(engine, output)):
            nbytes += bytes_held(inputs, one.n_components, dtype)
            _refuse_large(nbytes, kept_out)


def is_shared(engine: Engine, output: Output, nbytes: int) -> bool:
    """Whether all workers write usages themselves: who they are may have changed since the first sweep.

    Parameters
    ----------
    engine : Engine
    output : Output
    nbytes : int
        Of this process if they do not.

    Raises
    ------
    InputError
        As `refuse_unreachable`.
    """
    if output.folder is None:
        return True  # which was seen before the first sweep
    kept_out = _kept_out(engine, output)
    if kept_out is not None:
        _refuse_large(nbytes, kept_out)
        logger.info("Usages are gathered in this process: %s", kept_out)
    return kept_out is None


def bytes_held(inputs: Inputs, n_components: int, dtype: str) -> int:
    """Memory that the usages of a fit take, with the names of rows."""
    return sum(inputs.n_rows.values()) * (n_components * np.dtype(dtype).itemsize + NAME_BYTES)


def _kept_out(engine: Engine, output: Output) -> InputError | None:
    """What keeps a worker from writing in a temporary folder."""
    try:
        engine.check_writable(output.location)
    except InputError as error:
        if output.folder is None:
            raise
        return error
    return None


def _refuse_large(nbytes: int, kept_out: InputError) -> None:
    if not is_small_here(nbytes):
        raise InputError(
            f"out: none was given, so that usages go to a temporary folder, but {kept_out} They are too large "
            f"({format_bytes(nbytes)}) to be gathered in this process. Where out= is not taken, set "
            "temporary-directory of the Dask configuration to a folder that every worker shares."
        ) from kept_out
