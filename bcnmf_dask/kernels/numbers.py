"""Numbers one by one: conversion to a type, their bits, a logarithm that the compiler can do on vectors, and sums."""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numpy.typing import NDArray

from bcnmf_dask.kernels.compiling import compiler
from bcnmf_dask.kernels.lanes import Typed, intrinsic

compile_sums = compiler(error_model="numpy", fastmath={"reassoc", "contract"})
"""For loops whose sums may be made in any order: the compiler turns them into vectors."""

LN_2 = math.log(2.0)
TERMS = 11
"""Of the series in `log`; the first that is left out is below the precision of float64."""


@intrinsic
def like(typing: Any, value: Any, other: Any) -> Typed:  # noqa: ARG001
    """``value`` in the type of ``other``: numba makes float64 of float32 and any integer."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return context.cast(builder, given[0], signature.args[0], other)

    return other(value, other), write


@intrinsic
def exponent_and_mantissa(typing: Any, number: Any) -> Typed:  # noqa: ARG001
    """Of a positive float, ``mantissa * 2**exponent`` with a mantissa between the roots of 1/2 and 2, both floats."""
    size, fraction, root = (32, 23, np.float32) if number == types.float32 else (64, 52, np.float64)

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = ir.IntType(size)
        least = int(root(0.5**0.5).view(f"int{size}"))
        bits = builder.bitcast(given[0], kind)
        exponent = builder.ashr(builder.sub(bits, ir.Constant(kind, least)), ir.Constant(kind, fraction))
        mantissa = builder.sub(bits, builder.shl(exponent, ir.Constant(kind, fraction)))
        parts = builder.sitofp(exponent, given[0].type), builder.bitcast(mantissa, given[0].type)
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(number, 2)(number), write


@intrinsic
def bits_of(typing: Any, number: Any) -> Typed:  # noqa: ARG001
    """The bits of a float64 as uint64."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        return builder.bitcast(given[0], ir.IntType(64))

    return types.uint64(types.float64), write


@compile_sums
def log(number: Any) -> Any:
    """The natural logarithm of a positive float that is not subnormal, to the precision of its type.

    Of anything else it is some finite number.

    ``log(m 2**e) = e log(2) + 2 artanh((m - 1) / (m + 1))``, the latter by its series.
    """
    exponent, mantissa = exponent_and_mantissa(number)
    one = like(1.0, number)
    ratio = (mantissa - one) / (mantissa + one)
    series = like(0.0, number)
    for term in range(TERMS - 1, 0, -1):
        series = (series + like(1.0 / (2 * term + 1), number)) * ratio * ratio
    return exponent * like(LN_2, number) + (ratio + ratio) * (one + series)


@compile_sums
def sum_of_logarithms(values: NDArray[Any], quotients: NDArray[Any]) -> float:
    """The float64 sum of ``value * (log(quotient) - 1)``, where a value of zero adds nothing.

    Values are taken in the type of the quotients, which large whole numbers are rounded to.
    """
    total = 0.0
    for place in range(values.size):
        total += np.float64(like(values[place], quotients[place])) * (np.float64(log(quotients[place])) - 1.0)
    return total


@compile_sums
def sum_of_squares(values: NDArray[Any], one: Any) -> float:
    """The float64 sum of squares of a flat array of any real type, its values taken in the type of ``one``."""
    total = 0.0
    for place in range(values.size):
        value = np.float64(like(values[place], one))
        total += value * value
    return total
