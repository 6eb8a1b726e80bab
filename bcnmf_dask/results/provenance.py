"""Where a fit comes from: what was read, which rows and features of it served as what, when, and by which command."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from bcnmf_dask.updates.statistics import Role

CITATION = "arXiv:2602.22387"
"""Of the paper that introduced the method."""


@dataclass(frozen=True)
class Origin:
    """A matrix that rows were read from.

    Attributes
    ----------
    kind : str
        What it was, in words: ``"AnnData .h5ad file"``, ``"NumPy array in memory"``, ...
    location : str or None
        Absolute path, or URL without credentials; None for what was in memory.
    matrix : str or None
        Of an AnnData: ``"X"`` or ``"layers/<name>"``. None where there is only one matrix.
    n_rows, n_features : int
        Of all of it.
    n_bytes : int or None
        Size of the file when it was opened; None where it is not one file.
    """

    kind: str
    location: str | None
    matrix: str | None
    n_rows: int
    n_features: int
    n_bytes: int | None


@dataclass(frozen=True)
class Selection:
    """The part of an origin that served in one role; how many rows that are says the `Side` of the result.

    Attributes
    ----------
    source : int
        Which of the `Provenance.sources`.
    key : str or None
        Column of labels that its rows were chosen by; None is every row.
    labels : tuple of str or None
        Labels that its rows have there.
    mask_var : str or None
        Column of ``var`` that its features were chosen by; None for every feature, and for a mask without a name.
    n_selected : int
        Features that were chosen.
    """

    source: int
    key: str | None
    labels: tuple[str, ...] | None
    mask_var: str | None
    n_selected: int

    @property
    def label(self) -> str | None:
        """All labels as one."""
        return None if self.labels is None else " + ".join(self.labels)


@dataclass(frozen=True)
class FeatureMatch:
    """How the features of two inputs were brought together.

    Attributes
    ----------
    how : {"strict", "intersection", "fitted"}
        Both had to have the same; what both have was used; new rows had to have those of a fit.
    by : {"name", "position"}
        What told which are the same.
    n_shared : int
        Features that both have. Of each source the others were not used; neither were those that a mask left out.
    """

    how: str
    by: str
    n_shared: int


@dataclass(frozen=True)
class Provenance:
    """What a fit was made from, and by what; its parameters, versions and course are elsewhere in the result.

    Attributes
    ----------
    citation : str
        Of the method.
    started, ended : str
        UTC, ISO 8601. Of a fit that was resumed, the last part.
    command : str or None
        The command line, quoted for a shell, its URLs without credentials; None for a fit from Python.
    system : str
        Operating system and kind of processor of the driver.
    given : dict
        Parameters that were given otherwise than the ``parameters`` of the result record them: a default left to the
        loss (``alpha`` None), another name of the loss, no seed.
    sources : tuple of Origin
        One where both roles are rows of the same matrix, else one for each role.
    sides : mapping of role to Selection
    matching : FeatureMatch or None
        None where there is only one side.
    derived_from : dict or None
        Of usages of new rows: the description of the fit whose components they are of, see `FitResult.described`.
    """

    citation: str
    started: str
    ended: str
    command: str | None
    system: str
    given: dict[str, Any]
    sources: tuple[Origin, ...]
    sides: Mapping[Role, Selection]
    matching: FeatureMatch | None
    derived_from: dict[str, Any] | None

    def origin(self, role: Role) -> Origin:
        """What the rows of a role were read from."""
        return self.sources[self.sides[role].source]

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        values: dict[str, Any] = as_json(asdict(self))
        return values

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """What `plain` made of one."""
        matching = plain["matching"]
        return cls(
            **{
                **plain,
                "sources": tuple(Origin(**source) for source in plain["sources"]),
                "sides": {role: _selection(side) for role, side in plain["sides"].items()},
                "matching": None if matching is None else FeatureMatch(**matching),
            }
        )


def _selection(plain: Mapping[str, Any]) -> Selection:
    labels = plain["labels"]
    return Selection(**{**plain, "labels": None if labels is None else tuple(labels)})


def as_json(value: Any) -> Any:
    """The same as every reader of JSON takes it: plain numbers, None for those that are not finite, lists."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
