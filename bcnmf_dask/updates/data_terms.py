"""What the divergence of dense rows needs of the rows themselves, wherever they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import is_on_device
from bcnmf_dask.kernels import numbers


def sum_of_squares(values: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """The float64 sum of squares of values, taken in ``dtype``; of an array on a device it stays there."""
    if is_on_device(values):
        return np.square(values.astype(np.float64)).sum()
    return float(numbers.sum_of_squares(values.reshape(-1), dtype.type(1)))


def sum_of_logarithms(values: NDArray[Any], quotients: NDArray[Any]) -> Any:
    """The float64 sum of ``value * (log(quotient) - 1)``, where a value of zero adds nothing; likewise."""
    if is_on_device(values):
        terms = values * (np.log(quotients).astype(np.float64) - 1.0)
        return np.where(values > 0, terms, 0.0).sum()
    return float(numbers.sum_of_logarithms(values.reshape(-1), quotients.reshape(-1)))
