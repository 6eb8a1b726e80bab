"""Running the kernels on the device of this process."""

from functools import cache
from typing import Any

import numpy as np

from bcnmf_dask.backend import cupy
from bcnmf_dask.kernels.cuda.specialise import Special, source

NONE = np.uint64(0)
"""In the place of a pointer."""


def launch(special: Special, name: str, n_lines: int, chosen: Any, *given: Any) -> None:
    """Run a kernel of ``csr.cu``, a team of warps for each line; it may still be at work when this returns.

    Parameters
    ----------
    special : Special
    name : str
    n_lines : int
        Rows, or columns.
    chosen : int32 array of the device (n_lines,) or None
        Their numbers; None is all of them.
    given : arrays of the device, NumPy scalars
        What the kernel takes besides.
    """
    if n_lines:
        lines = (np.int64(n_lines), NONE if chosen is None else chosen)
        _kernel(special, name)((special.grid(n_lines),), (special.threads,), (*lines, *given))


@cache
def _kernel(special: Special, name: str) -> Any:
    return _module(special).get_function(name)


@cache
def _module(special: Special) -> Any:
    return cupy().RawModule(code=source(), options=special.options)
