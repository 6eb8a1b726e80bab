"""The provenance of a fit, from its inputs and from what only its caller knows."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.tables import Labelled
from bcnmf_dask.results.provenance import CITATION, Origin, Provenance, Selection

_command: ContextVar[str | None] = ContextVar("bcnmf_dask_command", default=None)


@contextmanager
def by_command(line: str) -> Iterator[None]:
    """Let the fits made inside know the command line that makes them."""
    token = _command.set(line)
    try:
        yield
    finally:
        _command.reset(token)


@dataclass(frozen=True)
class Request:
    """What the caller of a fit knows of it, and the fit does not.

    Attributes
    ----------
    given : mapping
        See `Provenance`.
    derived_from : mapping or None
        See `Provenance`.
    started : datetime
        When it was made.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    derived_from: Mapping[str, Any] | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def provenance(self, inputs: Inputs) -> Provenance:
        """Of a fit of these inputs that is over now."""
        origins = {id(part.table): _origin(part) for part in inputs.sides.values()}
        numbers = {table: number for number, table in enumerate(origins)}
        return Provenance(
            citation=CITATION,
            started=_in_words(self.started),
            ended=_in_words(datetime.now(UTC)),
            command=_command.get(),
            system=f"{platform.system()} {platform.machine()}",
            given=dict(self.given),
            sources=tuple(origins.values()),
            sides={role: _selection(part, numbers[id(part.table)]) for role, part in inputs.sides.items()},
            matching=inputs.matching,
            derived_from=None if self.derived_from is None else dict(self.derived_from),
        )


def _in_words(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _origin(part: Labelled) -> Origin:
    if part.table.origin is None:
        raise ValueError("a table of inputs was opened without its origin")
    return part.table.origin


def _selection(part: Labelled, source: int) -> Selection:
    n_features = part.table.source.shape[1]
    n_selected = n_features if part.features is None else int(part.features.sum())
    return Selection(source, part.key, part.labels, part.mask_var, n_selected)
