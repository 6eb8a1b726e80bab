"""The one form that every published update has."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Steps(NamedTuple):
    """What the usages of a row go through in one visit.

    Attributes
    ----------
    times : int
        Multiplicative steps at the same basis; 1 is the published rule.
    exponent : float
        Of each step. Below 1 it is damped, up to 2 over-relaxed.
    """

    times: int
    exponent: float


def multiply(
    factor: NDArray[Any], numerator: NDArray[Any], denominator: NDArray[Any], eps: float, exponent: float
) -> NDArray[Any]:
    """``factor * (numerator / (denominator + eps)) ** exponent``, elementwise, in the dtype of ``factor``.

    ``eps`` keeps 0 / 0 at 0: a zero row, column or component stays zero.
    """
    shifted = denominator + factor.dtype.type(eps)
    # In place: of large bases, fresh memory costs more than what is computed.
    ratio: NDArray[Any] = np.divide(numerator, shifted, out=shifted if shifted.shape == numerator.shape else None)
    _raise(ratio, exponent)
    ratio *= factor
    return ratio


def _raise(ratio: NDArray[Any], exponent: float) -> None:
    """To a power, in place; by square roots where that is possible: general powers cost ten times as much."""
    if exponent == 0.5:
        np.sqrt(ratio, out=ratio)
    elif exponent in (1.25, 1.75):
        root = np.sqrt(ratio)
        ratio *= np.sqrt(root) if exponent == 1.25 else root * np.sqrt(root)
    elif exponent != 1.0:
        ratio **= exponent
