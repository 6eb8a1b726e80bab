"""CSR rows on a CUDA device, and what the kernels there make of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, csr_of, cupy, parts_of, to_device, to_host
from bcnmf_dask.kernels.cuda.launch import launch
from bcnmf_dask.kernels.cuda.specialise import LARGEST_TEAM, LONG, Special, team_for
from bcnmf_dask.updates.basis import Basis

DeviceArray: TypeAlias = Any
"""Of CuPy, which has no static types."""
Crowd = tuple[int, int, DeviceArray | None]
"""Warps of a team, and the lines that such teams take: how many, and their numbers; None is all."""
Step = tuple[Any, float, int]
"""The published eps, in the type of the usages, and the two of `bcnmf_dask.updates.multiplicative.Steps`."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Stored values, one line (a row or a column) after the other.

    Attributes
    ----------
    pointers : DeviceArray (lines + 1,)
        Where each line begins.
    places : DeviceArray (values,)
        The column, or the row, of each value.
    values : DeviceArray (values,)
    """

    pointers: DeviceArray
    places: DeviceArray
    values: DeviceArray

    @cached_property
    def teams(self) -> list[Crowd]:
        """All lines with the team that suits them on average, but for those that are much longer."""
        xp, n_lines = cupy(), self.pointers.size - 1
        usual = team_for(n_lines, self.values.size)
        much_longer = xp.diff(self.pointers) > LONG * usual
        few = xp.flatnonzero(much_longer).astype(np.int32)
        if usual == LARGEST_TEAM or not few.size:
            return [(usual, n_lines, None)]
        others = xp.flatnonzero(~much_longer).astype(np.int32)
        return [(LARGEST_TEAM, few.size, few), (usual, others.size, others)]

    def launch(self, kernel: str, factor: DeviceArray, *given: Any) -> None:
        """Run a kernel over all lines; ``factor`` is gathered by the places of their values."""
        for team, n_lines, chosen in self.teams:
            special = Special(
                real=factor.dtype.name,
                value=self.values.dtype.name,
                index=self.places.dtype.name,
                pointer=self.pointers.dtype.name,
                components=factor.shape[1],
                team=team,
            )
            launch(special, kernel, n_lines, chosen, self.pointers, self.places, self.values, *given)


@dataclass(frozen=True, eq=False)
class DeviceCSR:
    """Sparse rows on the device of this process.

    Attributes
    ----------
    shape : (int, int)
    rows : Lines
    """

    shape: tuple[int, int]
    rows: Lines

    @cached_property
    def columns(self) -> Lines:
        """The same sorted by columns, so that sums over rows need no atomics. It doubles the memory of the rows."""
        xp, rows = cupy(), self.rows
        order = xp.argsort(rows.places, kind="stable")
        pointers = xp.searchsorted(rows.places[order], xp.arange(self.shape[1] + 1)).astype(rows.pointers.dtype)
        places = xp.searchsorted(rows.pointers[1:], order, side="right")
        return Lines(pointers, places.astype(rows.places.dtype), rows.values[order])

    def pick(self, ranges: NDArray[np.int64]) -> "DeviceCSR":
        """The rows of ``ranges``, pairs of start and stop, in this order."""
        xp, rows = cupy(), self.rows
        edges = to_host(rows.pointers[to_device(ranges)])
        lengths = xp.concatenate([xp.diff(rows.pointers[start : stop + 1]) for start, stop in ranges])
        places, values = (
            xp.concatenate([part[first:last] for first, last in edges]) for part in (rows.places, rows.values)
        )
        return DeviceCSR((lengths.size, self.shape[1]), Lines(_ends(lengths, rows.pointers.dtype), places, values))

    def sums(self, dtype: Any) -> DeviceArray:
        """Of each row (n,)."""
        # One step from ones, at ones: the numerator is the sum. Running sums of CuPy differ from run to run.
        ones = [cupy().ones(shape, dtype) for shape in ((self.shape[0], 1), (self.shape[1], 1), (1, 1))]
        sums, zero = cupy().empty_like(ones[0]), np.dtype(dtype).type(0)
        self.rows.launch("step_frobenius", ones[0], *ones, *_typed((zero, 1.0, 1)), sums)
        return sums[:, 0]

    def host(self) -> Rows:
        """As SciPy has them."""
        pointers, places, values = (to_host(part) for part in (self.rows.pointers, self.rows.places, self.rows.values))
        return csr_of(values, places, pointers, self.shape[1])


def csr_to_device(rows: Rows) -> DeviceCSR:
    """CSR rows of SciPy, as they are."""
    return DeviceCSR(rows.shape, Lines(*(to_device(part) for part in parts_of(rows))))


def step_kullback_leibler(rows: DeviceCSR, usages: DeviceArray, basis: Basis, step: Step) -> DeviceArray:
    """Usages after the steps; see `bcnmf_dask.kernels.csr`."""
    new = cupy().empty_like(usages)
    rows.rows.launch("step_kullback_leibler", usages, usages, basis.values, basis.sums, basis.floor, *_typed(step), new)
    return new


def step_frobenius(rows: DeviceCSR, usages: DeviceArray, basis: Basis, step: Step) -> DeviceArray:
    """Usages after the steps; see `bcnmf_dask.kernels.csr`."""
    new = cupy().empty_like(usages)
    rows.rows.launch("step_frobenius", usages, usages, basis.values, basis.gram, *_typed(step), new)
    return new


def sum_kullback_leibler(rows: DeviceCSR, usages: DeviceArray, basis: Basis) -> tuple[DeviceArray, DeviceArray]:
    """The cross (n_features, n_components) and the data term, float64."""
    cross, data_terms = _room(rows, usages)
    rows.columns.launch("sum_kullback_leibler", usages, usages, basis.values, basis.floor, cross, data_terms)
    return cross, data_terms.sum()


def sum_frobenius(rows: DeviceCSR, usages: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """The cross (n_features, n_components) and the sum of squares, float64."""
    cross, data_terms = _room(rows, usages)
    rows.columns.launch("sum_frobenius", usages, usages, cross, data_terms)
    return cross, data_terms.sum()


def _room(rows: DeviceCSR, usages: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    n_features, n_components = rows.shape[1], usages.shape[1]
    return cupy().empty((n_features, n_components), np.float64), cupy().empty(n_features, np.float64)


def _typed(step: Step) -> tuple[Any, Any, np.int32]:
    eps, exponent, times = step
    return eps, eps.dtype.type(exponent), np.int32(times)


def _ends(lengths: DeviceArray, dtype: Any) -> DeviceArray:
    """Pointers of lines of these lengths."""
    return cupy().concatenate([cupy().zeros(1, dtype), cupy().cumsum(lengths).astype(dtype)])
