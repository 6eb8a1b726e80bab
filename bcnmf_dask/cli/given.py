"""The data that a command is given: two files, or one store with its labels."""

from dataclasses import dataclass
from typing import Any

import typer

from bcnmf_dask.data.split import split


@dataclass(frozen=True)
class Given:
    """The options that name the data, as they were given."""

    first: str
    second: str | None
    key: str | None
    target: list[str] | None
    background: list[str] | None
    layer: str | None
    mask_var: str | None
    features: Any

    def check(self, *, needs_background: bool) -> None:
        """Two files, or one store with its labels; never half of both.

        Raises
        ------
        typer.BadParameter
        """
        if self.key is None and (self.target or self.background):
            raise typer.BadParameter(
                "needs --key, the column of obs that holds these labels.", param_hint="--target, --background"
            )
        if self.key is not None and self.second is not None:
            raise typer.BadParameter(
                f"got a second file, {self.second!r}, but with --key both sides come from one STORE.",
                param_hint="BACKGROUND",
            )
        if self.key is not None and not self.target:
            raise typer.BadParameter(
                "needs --target LABEL, a label of the target rows in that column.", param_hint="--key"
            )
        if needs_background and not (self.second or self.background):
            raise typer.BadParameter(
                "no background was given to contrast with. Give BACKGROUND (or, with --key, --background LABEL), "
                "or --alpha 0 for plain NMF.",
                param_hint="BACKGROUND",
            )


@dataclass(frozen=True)
class Data:
    """What a fit reads, as `BCNMF.fit` takes it."""

    target: Any
    background: Any
    choices: dict[str, Any]


def data_of(given: Given) -> Data:
    """The data behind what was given.

    Raises
    ------
    InputError
        If it cannot be read, or has no such labels.
    """
    if given.key is None:
        choices = {"layer": given.layer, "mask_var": given.mask_var, "features": given.features}
        return Data(given.first, given.second, choices)
    labels = given.background or given.target
    rows, others = split(given.first, given.key, given.target, labels, given.layer, given.mask_var)
    return Data(rows, others if given.background else None, {"features": given.features})
