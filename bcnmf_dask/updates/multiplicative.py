"""The one form that every published update has."""

from typing import Any

from numpy.typing import NDArray


def multiply(
    factor: NDArray[Any], numerator: NDArray[Any], denominator: NDArray[Any], eps: float, damping: float
) -> NDArray[Any]:
    """``factor * (numerator / (denominator + eps)) ** damping``, elementwise, in the dtype of ``factor``.

    ``eps`` keeps 0 / 0 at 0: a zero row, column or component stays zero.
    """
    ratio = numerator / (denominator + factor.dtype.type(eps))
    stepped: NDArray[Any] = factor * (ratio if damping == 1.0 else ratio**damping)
    return stepped
