"""A basis, and what every block of a visit needs of it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, column_sums, is_on_device, to_device, to_host
from bcnmf_dask.kernels.lanes import padded, width_of

PUBLISHED_FLOOR = 1e-16
"""The guard of the paper's Kullback-Leibler updates, the same for every feature (arXiv 2602.22387)."""

WIDE = 8
"""Components: what the kernels that solve rows are padded to, with at most seven of zeros."""


@dataclass(frozen=True, eq=False)
class Basis:
    """A basis with the floor of its reconstructions, and what is made of both once, on demand.

    Attributes
    ----------
    values : ndarray (n_features, n_components)
    fixed : ndarray (n_features,) or None
        Added to the reconstruction of every row under the Kullback-Leibler loss, in the dtype of the values; the
        Frobenius loss needs none. None is `PUBLISHED_FLOOR`.
    """

    values: NDArray[Any]
    fixed: NDArray[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values, and of all that is made of them."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    @cached_property
    def floor(self) -> NDArray[Any]:
        """What is added to the reconstruction at each feature."""
        if self.fixed is not None:
            return self.fixed
        return np.full_like(self.values, PUBLISHED_FLOOR, shape=self.values.shape[:1])

    @cached_property
    def floor_sum(self) -> float:
        """Over the features: what every row's reconstruction holds of it."""
        return float(self.floor.sum(dtype=np.float64))

    @cached_property
    def sums(self) -> NDArray[Any]:
        """Of the columns."""
        sums: NDArray[Any] = column_sums(self.values)
        return sums

    @cached_property
    def gram(self) -> NDArray[Any]:
        """Products of the columns with each other (n_components, n_components)."""
        gram: NDArray[Any] = self.values.T @ self.values
        return gram

    @cached_property
    def lanes(self) -> NDArray[Any]:
        """The values, padded as the kernels for CSR rows want them."""
        return padded(self.values)

    @cached_property
    def gram_lanes(self) -> NDArray[Any]:
        """The Gram matrix, padded likewise."""
        return padded(self.gram)

    @cached_property
    def on_device(self) -> "Basis":
        """The same on the device of this process."""
        return Basis(to_device(self.values), None if self.fixed is None else to_device(self.fixed))

    def beside(self, rows: Rows) -> "Basis":
        """The same where some dense rows are."""
        return self.on_device if is_on_device(rows) else self

    @cached_property
    def exact(self) -> "Basis":
        """The same in float64 on the host, where problems of rows are solved."""
        if self.dtype == np.float64 and not is_on_device(self.values):
            return self
        return Basis(to_host(self.values).astype(np.float64), to_host(self.floor).astype(np.float64))

    @cached_property
    def wide_lanes(self) -> NDArray[Any]:
        """As `lanes`, padded to multiples of `WIDE`: kernels that take seconds to compile exist for fewer widths."""
        zeros = np.zeros((len(self.values), -self.values.shape[1] % WIDE), self.dtype)
        return padded(self.values, zeros)

    @cached_property
    def wide_gram_lanes(self) -> NDArray[Any]:
        """The Gram matrix, padded likewise."""
        return padded(self.gram, np.zeros((len(self.gram), -len(self.gram) % WIDE), self.dtype))

    @cached_property
    def highest(self) -> NDArray[Any]:
        """The largest value at each feature (n_features,)."""
        highest: NDArray[Any] = self.values.max(axis=1)
        return highest

    @property
    def width(self) -> tuple[int, ...]:
        """Of the padded rows; see `bcnmf_dask.kernels.lanes.width_of`."""
        return width_of(self.lanes)
