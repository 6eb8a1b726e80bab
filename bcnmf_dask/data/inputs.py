"""Anything a user holds -> stores of rows that can be sliced, a role for each row, one set of features."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bcnmf_dask.data.annotations import Names, RowNames
from bcnmf_dask.data.features import (
    Columns,
    Features,
    Matching,
    check_matching,
    features_of,
    fitted_columns,
    left_out_by_case,
    or_none,
    selected,
    shared,
)
from bcnmf_dask.data.orientation import oriented, oriented_like
from bcnmf_dask.data.origins import open_with_origin
from bcnmf_dask.data.sources import Source
from bcnmf_dask.data.stored import PathSource
from bcnmf_dask.data.tables import FeatureMask, Labelled, Mask, Wrap, named
from bcnmf_dask.data.wording import about
from bcnmf_dask.errors import InputError
from bcnmf_dask.results.provenance import FeatureMatch
from bcnmf_dask.updates.statistics import Role


@dataclass(frozen=True, eq=False)
class Store:
    """Rows that are read together, and what each serves as.

    Attributes
    ----------
    name : {"target", "background", "store", "rows"}
        What messages call it.
    source : Source
    masks : mapping of role to bool array (rows,) or None
        For each role that it holds, the rows that have it; None is every row. A row may have both
        roles or none.
    columns : int64 array or None
        Columns of the source to take, in this order; None is all as they are.
    """

    name: str
    source: Source
    masks: Mapping[Role, Mask | None]
    columns: Columns | None


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything a fit is given, in its canonical form.

    Attributes
    ----------
    stores : tuple of Store
        One or two.
    features : object array of str (n_features,) or None
        Names of the features used; None if the inputs have none.
    n_features : int
    n_rows : mapping of role to int
    row_names : mapping of role to RowNames or None
    wraps : mapping of role to callable
        Puts usages back in the kind that went in.
    lazy : bool
        Whether the workers write the usages to a store (path or Dask in).
    layer_note : str
        A sentence: where the raw counts of this input may be.
    called : mapping of role to str
        What messages call each role.
    sides : mapping of role to Labelled
        Each role as it was given, with all that is known about its rows.
    matching : FeatureMatch or None
        How features were brought together; None where there is only one side.
    notes : tuple of str
        Sentences about features that a fit warns with.
    """

    stores: tuple[Store, ...]
    features: Names | None
    n_features: int
    n_rows: Mapping[Role, int]
    row_names: Mapping[Role, RowNames | None]
    wraps: Mapping[Role, Wrap]
    lazy: bool
    layer_note: str
    called: Mapping[Role, str]
    sides: Mapping[Role, Labelled]
    matching: FeatureMatch | None = None
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[PathSource | None, ...]:
        """Per store, its source if that is a path, which any process can read, any number of times; else None."""
        return tuple(one.source if isinstance(one.source, PathSource) else None for one in self.stores)

    def close(self) -> None:
        """Let go the files that this process has opened to read them, so that they can be written again."""
        for source in filter(None, self.paths):
            source.close()


def read_inputs(
    target: Any,
    background: Any,
    *,
    features: Matching = "strict",
    layer: str | None = None,
    mask_var: FeatureMask | None = None,
) -> Inputs:
    """Read the outline of the inputs of a fit, align their features, and refuse what cannot be factorized.

    Values are not looked at; those of paths and Dask arrays are not read.

    Parameters
    ----------
    target : array, AnnData, DataArray, DataFrame, path, or Labelled
        See :data:`~bcnmf_dask.data.kinds.KINDS`, and :func:`bcnmf_dask.split` for Labelled.
    background : the same, or None
        None is a fit without background.
    features : {"strict", "intersection"}
        Whether both must have the same features (in any order), or those they share are used.
    layer : str, optional
        The layer of every AnnData among the inputs to use instead of ``X``.
    mask_var : str, or sequence of bool, optional
        The features of the target to use: a boolean column of its ``var``, or one value per feature. The
        background follows by name.

    Raises
    ------
    InputError
        Naming the argument that is wrong.
    """
    check_matching(features)
    parts: dict[Role, Labelled] = {"target": _part("target", target, layer, mask_var)}
    if background is not None:
        parts["background"] = _part("background", background, layer, None)
    _refuse_needless(layer, parts)
    sides = {role: _features(role, part) for role, part in parts.items()}
    pair = (sides["target"], sides.get("background", sides["target"]))
    with oriented(parts["target"].table, parts.get("background", parts["target"]).table):
        both = shared(*pair, features)
        columns = selected(*pair, *both)
    names = [side.names[taken] for side, taken in zip(sides.values(), columns, strict=False) if side.names is not None]
    taken = dict(zip(parts, columns, strict=False))
    inputs = _assemble(parts, taken, names[0] if names else None, {role: role for role in parts})
    if len(sides) == 1:
        return inputs
    match = FeatureMatch(features, _means(side.names for side in pair), len(both[0]))
    return replace(inputs, matching=match, notes=tuple(left_out_by_case(*pair)))


def read_rows(rows: Any, *, features: Names | None, n_features: int, layer: str | None = None) -> Inputs:
    """Read the outline of new rows for the components of a fit: its features, in its order, in the role of target.

    Parameters
    ----------
    rows : as ``target`` of `read_inputs`
    features : object array of str (n_features,) or None
        Names of the fitted features, if they have any.
    n_features : int
        How many were fitted.
    layer : str, optional
        The layer of an AnnData to use instead of ``X``.

    Raises
    ------
    InputError
        If the rows cannot be used, or lack a fitted feature.
    """
    part = _part("rows", rows, layer, None)
    _refuse_needless(layer, {"target": part})
    side = _features("rows", part)
    with about("rows"), oriented_like(features, part.table):
        columns = fitted_columns(side, features, n_features)
    names = None if side.names is None else side.names[columns]
    inputs = _assemble({"target": part}, {"target": columns}, names, {"target": "rows"})
    return replace(inputs, matching=FeatureMatch("fitted", _means((side.names, features)), n_features))


def _means(names: Iterable[Names | None]) -> str:
    """What tells which features are the same."""
    return "position" if any(one is None for one in names) else "name"


def _refuse_needless(layer: str | None, parts: Mapping[Role, Labelled]) -> None:
    if layer is not None and all(part.table.layers is None for part in parts.values()):
        raise InputError(
            f"layer={layer!r} was given, but no input is an AnnData and nothing else has layers. Leave it out."
        )


def _part(argument: str, value: Any, layer: str | None, mask_var: FeatureMask | None) -> Labelled:
    with about(argument):
        if not isinstance(value, Labelled):
            table = open_with_origin(value, layer)
            return Labelled(table, None, table.feature_mask(mask_var), mask_var=named(mask_var))
        if layer is not None or mask_var is not None:
            raise InputError("layer and mask_var were given with rows chosen by split; give them to split instead.")
        value.refuse_other_labels()
        return value


def _assemble(
    parts: Mapping[Role, Labelled], columns: Mapping[Role, Columns], names: Names | None, called: Mapping[Role, str]
) -> Inputs:
    target = parts["target"].table
    taken = {role: or_none(columns[role], part.table.source.shape[1]) for role, part in parts.items()}
    return Inputs(
        stores=_stores(parts, taken, called),
        features=names,
        n_features=len(columns["target"]),
        n_rows={role: part.n_rows for role, part in parts.items()},
        row_names={role: part.row_names() for role, part in parts.items()},
        wraps={role: part.table.wrap(part.rows) for role, part in parts.items()},
        lazy=any(part.table.lazy for part in parts.values()),
        layer_note=target.layer_note,
        called=called,
        sides=parts,
    )


def _features(argument: str, part: Labelled) -> Features:
    with about(argument):
        return features_of(part.table, part.features)


def _stores(
    parts: Mapping[Role, Labelled], columns: Mapping[Role, Columns | None], called: Mapping[Role, str]
) -> tuple[Store, ...]:
    """One store where both roles are rows of the same table, else one for each role."""
    tables = {id(part.table) for part in parts.values()}
    if len(parts) == 2 and len(tables) == 1:
        masks = {role: part.rows for role, part in parts.items()}
        return (Store("store", parts["target"].table.source, masks, columns["target"]),)
    return tuple(
        Store(called[role], part.table.source, {role: part.rows}, columns[role]) for role, part in parts.items()
    )
