"""One input before roles: its rows, what is known about rows and features, and how usages go back to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bcnmf_dask.backend import to_device
from bcnmf_dask.data.annotations import Annotation, RowNames, StoredAnnotation, column_of
from bcnmf_dask.data.sources import Source
from bcnmf_dask.data.wording import shortened
from bcnmf_dask.errors import InputError
from bcnmf_dask.kernels.checksum import checksum_of
from bcnmf_dask.results.provenance import Origin

Mask = NDArray[np.bool_]
Wrap = Callable[[Any], Any]

FeatureMask = str | Sequence[bool] | Mask
"""Features to use, as a user gives them: the name of a boolean column, or one value per feature."""


def named(mask_var: FeatureMask | None) -> str | None:
    """The column that a mask of features is, if it is one."""
    return mask_var if isinstance(mask_var, str) else None


def as_it_is(usages: Any) -> Any:
    """Usages of an input that was no DataArray: unchanged."""
    return usages


@dataclass(frozen=True, eq=False)
class IntoDataArray:
    """Puts usages (rows x components, NumPy or Dask) into a DataArray with the row dimension of the input.

    Attributes
    ----------
    dim : str
        Name of the row dimension.
    coords : mapping of str to DataArray
        The coordinates along it.
    """

    dim: str
    coords: Mapping[str, xr.DataArray]

    def __call__(self, usages: Any) -> xr.DataArray:
        """The DataArray."""
        return xr.DataArray(usages, dims=(self.dim, "component"), coords=self.coords)

    def take(self, mask: Mask) -> "IntoDataArray":
        """The same for some of the rows."""
        return IntoDataArray(self.dim, {name: coord[mask] for name, coord in self.coords.items()})


@dataclass(frozen=True, eq=False)
class IntoDevice:
    """Puts usages on the device that the input was on."""

    def __call__(self, usages: Any) -> Any:
        """The array of CuPy."""
        return to_device(usages)

    def take(self, mask: Mask) -> "IntoDevice":  # noqa: ARG002
        """The same for some of the rows."""
        return self


@dataclass(frozen=True, eq=False)
class Table:
    """One matrix with its annotation.

    Attributes
    ----------
    source : Source
    obs, var : Annotation
        Of rows and of features.
    layers : tuple of str or None
        Names of the layers of an AnnData; None for a kind that has none.
    layer : str or None
        The layer that ``source`` reads; None for ``X``.
    lazy : bool
        Whether usages are written to a store by the workers (Dask or path in) rather than returned as NumPy.
    into : IntoDataArray or None
        How usages become what went in, where that is not NumPy or Dask.
    origin : Origin or None
        Where it came from, as `bcnmf_dask.data.origins.open_with_origin` notes it.
    """

    source: Source
    obs: Annotation = field(repr=False)
    var: Annotation = field(repr=False)
    layers: tuple[str, ...] | None = None
    layer: str | None = None
    lazy: bool = False
    into: IntoDataArray | IntoDevice | None = None
    origin: Origin | None = None

    @property
    def layer_note(self) -> str:
        """Where raw counts may be, a sentence for those who gave something else."""
        if self.layers is None:
            return "Give the matrix of raw counts instead."
        return f"Give layer= to choose the raw counts (layers here: {shortened(self.layers) or 'none'})."

    def wrap(self, mask: Mask | None) -> Wrap:
        """What puts the usages of the rows in ``mask`` (None: all) back in the kind that went in."""
        if self.into is None:
            return as_it_is
        return self.into if mask is None else self.into.take(mask)

    def feature_mask(self, mask_var: FeatureMask | None) -> Mask | None:
        """The features that ``mask_var``, a boolean column or array, selects; None for all of them.

        Raises
        ------
        InputError
            If it is not boolean, not one value per feature, or selects none.
        """
        if mask_var is None:
            return None
        if isinstance(mask_var, str):
            values = column_of(self.var, mask_var, "mask_var")
        else:
            values = pd.Series(np.ravel(mask_var))
        n_features = self.source.shape[1]
        if len(values) != n_features or not pd.api.types.is_bool_dtype(values) or values.isna().any():
            raise InputError(
                f"mask_var has {len(values)} values of type {values.dtype}; expected True or False for each "
                f"of the {n_features} features. Compare the column first, for example column == 'yes'."
            )
        if not values.any():
            raise InputError("mask_var selects no feature; expected at least one True.")
        return values.to_numpy(dtype=bool)


def label_proof(obs: Annotation, key: str) -> int | None:
    """A checksum of the labels of all rows, where a store holds them, which others may write; else None."""
    if not isinstance(obs, StoredAnnotation):
        return None
    labels = obs.column(key)
    return checksum_of(pd.util.hash_pandas_object(labels, index=False).to_numpy())


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows of one table that serve in one role, and the features to use; made by :func:`bcnmf_dask.split`.

    Attributes
    ----------
    table : Table
    rows : bool array (rows,) or None
        None is every row.
    features : bool array (features,) or None
        None is every feature.
    key : str or None
        The column of labels that the rows were chosen by.
    labels : tuple of str or None
        The labels that they have there.
    mask_var : str or None
        The column that the features were chosen by; None for every feature, and for a mask without a name.
    proof : int or None
        Of the labels of all rows of a stored table, as they were when the rows were chosen.
    """

    table: Table
    rows: Mask | None
    features: Mask | None
    key: str | None = None
    labels: tuple[str, ...] | None = None
    mask_var: str | None = None
    proof: int | None = None

    def refuse_other_labels(self) -> None:
        """Refuse a store in which rows have other labels by now than when they were chosen.

        Raises
        ------
        InputError
        """
        if self.key is None or self.proof is None:
            return
        if self.key not in self.table.obs.columns() or label_proof(self.table.obs, self.key) != self.proof:
            raise InputError(
                f"the labels in the column {self.key!r} of {self.table.source.location!r} have changed since the rows "
                "were chosen. Choose them again with bcnmf_dask.split."
            )

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return self.table.source.shape[0] if self.rows is None else int(self.rows.sum())

    def row_names(self) -> RowNames | None:
        """Their names, if they have any."""
        if not self.table.obs.named:
            return None
        rows = None if self.rows is None else np.flatnonzero(self.rows)
        return RowNames(self.table.obs.index(), rows, self.n_rows)

    def __repr__(self) -> str:
        where = self.table.source.location or "data in memory"
        n_features = self.table.source.shape[1] if self.features is None else int(self.features.sum())
        return f"Labelled({self.n_rows} of {self.table.source.shape[0]} rows of {where}, {n_features} features)"
