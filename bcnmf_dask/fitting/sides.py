"""Target and background compared before a fit, with what was seen in their rows as they were loaded."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bcnmf_dask.data.confounding import confounded_columns
from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.wording import shortened
from bcnmf_dask.updates.moments import Moments
from bcnmf_dask.updates.statistics import ROLES, Role

MOST_SHARED = 0.01
"""Of the rows of a side, that may also be on the other."""
MOST_DIFFERENT = 1.5
"""Times that the mean total of rows may be larger on one side; of few rows, by a standard error more."""
LONG_TAIL = 4.0
"""Of positive values, the mean square over the squared mean: 6 to 43 in counts of genes and proteins, 1.2 to 1.4 in the
grey values of images, which are whole numbers, too."""
MOST_COUNTED = 2**24
"""Above it every number of float32 is whole."""


class Amount(NamedTuple):
    """The mean total of rows that are not empty, and its relative standard error."""

    mean: float
    error: float


class Shared(NamedTuple):
    """Rows that are on both sides.

    Attributes
    ----------
    n_shared : int
        Different ones among those that were sampled.
    shares : mapping of role to float
        Of the sampled rows of each side.
    """

    n_shared: int
    shares: Mapping[Role, float]


def compare_sides(findings: Findings, inputs: Inputs, *, contrasts: bool) -> Iterator[str]:
    """Say in what the sides differ that a contrast should not be about, or in what they do not.

    Parameters
    ----------
    findings : Findings
        Of all rows.
    inputs : Inputs
    contrasts : bool
        Whether any fit has an alpha above 0.

    Yields
    ------
    str
        A sentence, with the side and the repair.
    """
    yield from inputs.notes
    if "background" not in inputs.n_rows:
        return
    target, background = (findings.moments[role] for role in ROLES)
    if _are_identical(findings):
        yield (
            "background: it holds the same rows as the target, so that nothing tells the two apart. Give the rows of "
            "the other condition."
        )
        return
    if background.total == 0:
        if contrasts:
            yield (
                "background: all its values are zero, so that there is nothing to contrast with. Check which rows, "
                "layer or file it comes from, or set alpha=0 for plain NMF."
            )
        return
    yield from _rows_on_both(findings)
    if target.total > 0:
        yield from _scales(target, background, inputs.layer_note)
    yield from _confounded(inputs)


def raw_counts(findings: Findings, inputs: Inputs) -> Iterator[str]:
    """Say which sides are counts that were not transformed, for a fit by the Frobenius loss."""
    tails = {role: _tail(moments) for role, moments in findings.moments.items()}
    whole = [role for role, moments in findings.moments.items() if not moments.fractional]
    counts = [role for role in whole if tails[role] > LONG_TAIL and findings.peaks[role] <= MOST_COUNTED]
    if counts:
        sides = " and ".join(inputs.called[role] for role in counts)
        largest = max(findings.peaks[role] for role in counts)
        yield (
            f"{sides}: all values are whole numbers with a long tail (the largest is {largest:.5g}), as raw counts "
            "are; loss='frobenius' would describe little else than the largest. Use loss='kullback-leibler', or "
            "normalise the rows and take logarithms first."
        )


def shared_rows(findings: Findings) -> Shared:
    """Rows of either side whose values are those of a row of the other."""
    target, background = (np.unique(findings.contents[role].sample) for role in ROLES)
    count = len(np.intersect1d(target, background, assume_unique=True))
    sizes = {"target": len(target), "background": len(background)}
    return Shared(count, {role: count / max(sizes[role], 1) for role in ROLES})


def _are_identical(findings: Findings) -> bool:
    """By content, in any order; all zeros are no rows to speak of."""
    target, background = (
        (findings.moments[role].n_rows, findings.contents[role].digest, findings.moments[role].positive)
        for role in ROLES
    )
    return target == background and target[2] > 0


def _rows_on_both(findings: Findings) -> Iterator[str]:
    count, shares = shared_rows(findings)
    if max(shares.values()) > MOST_SHARED:
        yield (
            f"target and background: rows with the same values are on both sides ({shares['target']:.1%} of the "
            f"target and {shares['background']:.1%} of the background, {count} of those compared), and so are told "
            "apart from themselves. Take them out of one side, whatever their names are."
        )


def _scales(target: Moments, background: Moments, layer_note: str) -> Iterator[str]:
    """One side in counts, or else another amount per row."""
    if bool(target.fractional) != bool(background.fractional):
        counts, other = ("background", "target") if target.fractional else ("target", "background")
        fractional = target.fractional or background.fractional
        yield (
            f"{counts}: all values are whole numbers, as counts are, but {fractional} of the {other} are not. Give "
            f"both in the same form. {layer_note}"
        )
        return
    amounts = {"target": _amount(target), "background": _amount(background)}
    smaller, larger = sorted(amounts, key=lambda role: amounts[role].mean)
    low, high = amounts[smaller], amounts[larger]
    thinning = "" if target.fractional else f", or thin the counts of the {larger}"
    if low.mean > 0 and high.mean / low.mean > MOST_DIFFERENT * math.exp(math.hypot(low.error, high.error)):
        yield (
            f"{larger}: its rows sum to {high.mean:.4g} on average, {high.mean / low.mean:.3g} times as much as those "
            f"of the {smaller} ({low.mean:.4g}), so that depth or scale may pass for the difference. Bring both to one "
            f"scale: normalise the rows of both in the same way{thinning}."
        )


def _confounded(inputs: Inputs) -> Iterator[str]:
    found = list(confounded_columns(inputs.sides))
    if found:
        yield (
            f"target and background have no value in common in {shortened(found, 3)} of obs: what tells the sides "
            "apart may be that rather than the condition. Choose a background that shares it with the target, where "
            "there is one, or see what remains with a second background."
        )


def _amount(moments: Moments) -> Amount:
    n_rows = max(moments.n_rows - moments.zero_rows, 1)
    mean = moments.total / n_rows
    variance = max(moments.row_squares / n_rows - mean**2, 0.0)
    return Amount(mean, math.sqrt(variance / n_rows) / mean if mean else 0.0)


def _tail(moments: Moments) -> float:
    return moments.squares * moments.positive / moments.total**2 if moments.total > 0 else 0.0
