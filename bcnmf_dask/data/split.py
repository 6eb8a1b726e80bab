"""Two roles of one labelled store."""

from typing import Any

import pandas as pd

from bcnmf_dask.data.annotations import column_of
from bcnmf_dask.data.origins import open_with_origin
from bcnmf_dask.data.tables import FeatureMask, Labelled, Mask, label_proof, named
from bcnmf_dask.data.wording import about, shortened
from bcnmf_dask.errors import InputError


def split(
    store: Any,
    key: str,
    target: Any,
    background: Any,
    layer: str | None = None,
    mask_var: FeatureMask | None = None,
) -> tuple[Labelled, Labelled]:
    """Choose target and background rows of one store by a column of labels.

    Nothing is copied or loaded, and a fit reads a row once per sweep whatever it serves as. A row may serve
    as both; a row without a label (missing value) serves as neither.

    Parameters
    ----------
    store : AnnData, path to an AnnData (.zarr, .h5ad), or DataArray
        The columns of a DataArray are its one-dimensional coordinates along the first dimension (rows) and
        along the second (features).
    key : str
        The column of ``obs`` that holds the labels.
    target, background : label or sequence of labels
        As they are in the column, or as text.
    layer : str, optional
        The layer of the AnnData to use instead of ``X``.
    mask_var : str, or sequence of bool (n_features,), optional
        The features to use: a boolean column of ``var``, or one value per feature.

    Returns
    -------
    target, background : Labelled
        What ``fit`` and the other functions of this package accept in the place of data.

    Raises
    ------
    InputError
        If the store cannot be used, or has no such column, label, layer or feature.

    Examples
    --------
    >>> target, background = split("atlas.zarr", key="condition", target=["stim"], background="ctrl")
    """
    with about("store"):
        table = open_with_origin(store, layer)
        if layer is not None and table.layers is None:
            raise InputError(f"layer={layer!r} was given, but only an AnnData has layers. Leave it out.")
        if not table.obs.columns():
            raise InputError(
                f"key={key!r} is not a column of its annotation. The columns are: none. Only obs of an AnnData and the "
                "coordinates of a DataArray are labels: give target and background as two inputs, or make an AnnData."
            )
        labels = column_of(table.obs, key, "key")
        features = table.feature_mask(mask_var)
        proof = label_proof(table.obs, key)
    target_rows = _rows_with(labels, target, key, "target")
    background_rows = _rows_with(labels, background, key, "background")
    column = named(mask_var)
    return (
        Labelled(table, target_rows, features, key, _labels(target), column, proof),
        Labelled(table, background_rows, features, key, _labels(background), column, proof),
    )


def _labels(wanted: Any) -> tuple[str, ...]:
    return tuple(map(str, wanted if pd.api.types.is_list_like(wanted) else [wanted]))


def _rows_with(labels: "pd.Series[Any]", wanted: Any, key: str, role: str) -> Mask:
    counts = labels.value_counts()
    chosen: list[Any] = []
    for label in wanted if pd.api.types.is_list_like(wanted) else [wanted]:
        found = [there for there in counts.index if there == label or str(there) == str(label)]
        if not found:
            known = shortened([f"{there} ({count} rows)" for there, count in counts.items()], 20)
            raise InputError(f"{role}: {label!r} is not a label in column {key!r} of the store, which has: {known}.")
        chosen += found
    mask: Mask = labels.isin(chosen).to_numpy()
    if not mask.any():
        raise InputError(
            f"{role}: no row of the store has one of the labels {chosen} in column {key!r}; expected some."
        )
    return mask
