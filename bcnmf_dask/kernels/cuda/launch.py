"""Running the kernels on the device of this process."""

from functools import cache
from typing import Any

import numpy as np

from bcnmf_dask.backend import cupy
from bcnmf_dask.kernels.cuda.specialise import Special, source


def launch(special: Special, name: str, n_lines: int, *given: Any) -> None:
    """Run a kernel of ``csr.cu``, a team of warps for each line; it may still be at work when this returns.

    Parameters
    ----------
    special : Special
    name : str
    n_lines : int
        Rows, or columns.
    given : arrays of the device, NumPy scalars
        What the kernel takes after the number of lines.
    """
    if n_lines:
        _kernel(special, name)((special.grid(n_lines),), (special.threads,), (np.int64(n_lines), *given))


@cache
def _kernel(special: Special, name: str) -> Any:
    return _module(special).get_function(name)


@cache
def _module(special: Special) -> Any:
    return cupy().RawModule(code=source(), options=special.options)
