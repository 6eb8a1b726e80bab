"""What both losses make of dense rows and of quotients of their shape, wherever these are."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import cupy, is_on_device
from bcnmf_dask.kernels import dense, numbers
from bcnmf_dask.kernels.lanes import padded, width_of
from bcnmf_dask.updates.basis import Basis


def times_basis(values: NDArray[Any], basis: Basis) -> NDArray[Any]:
    """``values @ basis`` (n, n_components)."""
    if is_on_device(values):
        on_device: NDArray[Any] = values @ basis.values
        return on_device
    products = np.empty((values.shape[0], basis.lanes.shape[1]), basis.dtype)
    dense.multiply(values, basis.lanes, products, basis.width)
    return products[:, : basis.values.shape[1]]


def no_cross(rows: NDArray[Any], usages: NDArray[Any]) -> NDArray[Any]:
    """Room for a cross (n_features, n_components or, on a CPU, more)."""
    if is_on_device(rows):
        return np.zeros_like(usages, shape=(rows.shape[1], usages.shape[1]))
    return padded(np.zeros((rows.shape[1], usages.shape[1]), usages.dtype))


def add_cross(values: NDArray[Any], usages: NDArray[Any], cross: NDArray[Any]) -> None:
    """Add ``values.T @ usages``."""
    if is_on_device(values):
        cross += values.T @ usages
    else:
        lanes = padded(usages)
        dense.add_cross(values, lanes, cross, width_of(lanes))


def sum_of_squares(values: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """The float64 sum of squares of values, taken in ``dtype``; of an array on a device it stays there."""
    if is_on_device(values):
        return _squares()(values)
    return float(numbers.sum_of_squares(values.reshape(-1), dtype.type(1)))


def sum_of_logarithms(values: NDArray[Any], quotients: NDArray[Any]) -> Any:
    """The float64 sum of ``value * (log(quotient) - 1)``, where a value of zero adds nothing; likewise."""
    if is_on_device(values):
        return _logarithms()(values, quotients, axis=1).sum()  # CuPy gives one block of threads to each sum
    return float(numbers.sum_of_logarithms(values.reshape(-1), quotients.reshape(-1)))


@cache
def _squares() -> Any:
    """Of CuPy, in one pass without arrays in float64."""
    term = "double(value) * double(value)"
    return cupy().ReductionKernel("T value", "float64 total", term, "a + b", "total = a", "0", "bcnmf_squares")


@cache
def _logarithms() -> Any:
    given, term = "T value, U quotient", "value > 0 ? double(value) * (log(double(quotient)) - 1.0) : 0.0"
    return cupy().ReductionKernel(given, "float64 total", term, "a + b", "total = a", "0", "bcnmf_logarithms")
