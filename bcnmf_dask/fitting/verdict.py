"""How a fit has ended: its status, for a collapse the cause that the data shows, and what is doubtful in the result."""

import math
from typing import Any

from numpy.typing import NDArray

from bcnmf_dask.data.findings import Findings
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.fitting.collapse import judge, statistics_of
from bcnmf_dask.fitting.loop import FitProgress
from bcnmf_dask.results.record import Status

FEW_FEATURES = 12
"""Fewer leave components little room: asked for too many, they rest on one or two."""
DOMINATING = 0.5
"""Above this share of the sum of squares, one value alone decides what is fitted."""


def verdict(
    fit: FitProgress, components: NDArray[Any], evaluation: Record, inputs: Inputs, findings: Findings
) -> tuple[Status, tuple[str, ...]]:
    """The status of a fit that is over, and sentences on what is doubtful in its result, which the status has too.

    Parameters
    ----------
    fit : FitProgress
    components : ndarray (n_components, n_features)
        Its final ones; rows sum to one.
    evaluation : mapping of role to Evaluation
        Of the final factors.
    inputs : Inputs
    findings : Findings
        Of all rows.
    """
    status = fit.status
    if status is None:
        raise ValueError(f"{fit.key} still runs")
    if not fit.solver.learns or status.word == "interrupted":
        return status, ()
    n_features = int(findings.seen.sum())
    contrasted = fit.alpha > 0 and "background" in evaluation
    found = statistics_of(components, evaluation, inputs.n_rows)
    judged = judge(found, len(components), n_features, fit.spec.loss, contrasted)
    if judged.collapsed is not None:
        sentence = f"The factorization collapsed: {judged.collapsed}; {_cause(fit, n_features, inputs, findings)}."
        return Status("collapsed", sentence, status.converged), ()
    return Status(status.word, " ".join([status.sentence, *judged.remarks]), status.converged), judged.remarks


def _cause(fit: FitProgress, n_features: int, inputs: Inputs, findings: Findings) -> str:
    """What in the data explains a collapse; the parameters only where the data does not."""
    if findings.zero_rows.get("target", 0) == inputs.n_rows["target"]:
        return "the target has no signal, as all its values are zero: check which rows, layer or file it comes from"
    if n_features < FEW_FEATURES:
        return (
            f"only {n_features} features have a positive value, which are few for {fit.spec.n_components} components: "
            "give more features, or ask for fewer components"
        )
    share = _share_of_largest(findings)
    if share > DOMINATING:
        return (
            f"one value ({findings.largest:.3g}) makes up {share:.0%} of the sum of squares of the data: correct or "
            "drop its row or feature, or transform the data"
        )
    if fit.alpha > 0:
        return "alpha is probably too large for this data: try a smaller one"
    return "ask for fewer components"


def _share_of_largest(findings: Findings) -> float:
    return (findings.largest / math.sqrt(findings.squares)) ** 2 if findings.squares > 0 else 0.0
