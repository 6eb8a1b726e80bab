"""Several fits that visit the same rows: what they have in common is made once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, parts_of
from bcnmf_dask.kernels.lanes import padded, width_of
from bcnmf_dask.kernels.numbers import sum_of_squares
from bcnmf_dask.kernels.products import transpose
from bcnmf_dask.updates.basis import Basis

FEWEST = 4
"""Neighbours of one loss that are swept together: for fewer it would not pay to transpose rows."""
WIDEST = 320
"""Bytes of a row of factors side by side, unless one fit has more: sums of as many stay in registers."""


@dataclass(frozen=True, eq=False)
class SharedRows:
    """Rows, and what is made of them once, on demand.

    Attributes
    ----------
    rows : ndarray or csr_array (n, n_features)
    dtype : dtype
        Of the factors.
    """

    rows: Rows
    dtype: np.dtype[Any]

    @cached_property
    def transposed(self) -> tuple[NDArray[Any], ...]:
        """Pointers, indices and values of the transpose of CSR rows."""
        n_stored = self.rows.data.size
        turned = (
            np.zeros(self.rows.shape[1] + 1, np.int64),
            np.empty(n_stored, np.int32),
            np.empty(n_stored, self.dtype),
        )
        transpose(parts_of(self.rows), turned)
        return turned

    @cached_property
    def squares(self) -> float:
        """The sum of squares of CSR rows."""
        return float(sum_of_squares(self.rows.data, self.dtype.type(1)))


@dataclass(frozen=True, eq=False)
class Group:
    """Fits of one loss, neighbours in a list, and what is made of their bases once, on demand.

    Attributes
    ----------
    numbers : range
        Of the fits in the list.
    bases : sequence of Basis
    """

    numbers: range
    bases: Sequence[Basis]

    @cached_property
    def columns(self) -> list[slice]:
        """Where each basis stands in `lanes`."""
        edges = np.cumsum([0, *(basis.values.shape[1] for basis in self.bases)])
        return [slice(int(first), int(last)) for first, last in pairwise(edges)]

    @cached_property
    def lanes(self) -> NDArray[Any]:
        """The bases side by side, padded as the kernels want them."""
        return padded(*(basis.values for basis in self.bases))

    @property
    def width(self) -> tuple[int, ...]:
        """Of the padded rows; see `bcnmf_dask.kernels.lanes.width_of`."""
        return width_of(self.lanes)


def make_groups(losses: Sequence[str], bases: Sequence[Basis]) -> Iterator[Group]:
    """Groups of a list of fits, in its order.

    Parameters
    ----------
    losses : sequence of str
        Of each fit.
    bases : sequence of Basis
        Likewise.
    """
    for _, equal in groupby(range(len(losses)), lambda number: losses[number]):
        numbers = list(equal)
        for first, last in pairwise(_edges([bases[number].values[:1].nbytes for number in numbers])):
            group = range(numbers[first], numbers[first] + last - first)
            yield Group(group, [bases[number] for number in group])


def _edges(sizes: Sequence[int]) -> list[int]:
    """Where to cut a list so that its parts do not exceed what is allowed."""
    if len(sizes) < FEWEST:
        return list(range(len(sizes) + 1))
    edges, total = [0], 0
    for number, size in enumerate(sizes):
        total += size
        if total > WIDEST and number > edges[-1]:
            edges.append(number)
            total = size
    return [*edges, len(sizes)]
