"""A paragraph for the methods section of a paper, every number and name of which comes from the record of a fit."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

Description = Mapping[str, Any]
"""What `FitResult.described` returns."""

LOSSES = {
    "frobenius": "the sum of squared residuals (Frobenius loss)",
    "kullback-leibler": "the generalised Kullback-Leibler divergence",
}
UNITS = {
    "deviance": "the deviance of the target over that of the background, where the deviance of a side is its "
    "divergence from its best model of rank one",
    "mean": "the number of target {rows} over that of background {rows}",
}
"""What alpha is multiplied by."""
UPDATES = {
    "published": "by the published multiplicative updates (exponent {damping})",
    "accelerated": "by over-relaxed multiplicative updates",
    "online": "online, from batches of {rows}",
}
MOST_LABELS, LONGEST = 6, 60
"""Labels that are named one by one, and characters of each."""


def methods_of(fit: Description) -> str:
    """The paragraph.

    Parameters
    ----------
    fit : mapping
        Of a fit, or of usages of new rows at the components of one; see `FitResult.described`.
    """
    return " ".join([*_components(fit), _usages(fit)])


def _components(fit: Description) -> Iterator[str]:
    """Sentences on how components were found and, of usages of new rows, what these are of."""
    former = fit["provenance"]["derived_from"]
    if former:
        yield from _components(former)
        yield _new_rows(fit)
        return
    yield _method(fit)
    yield _data(fit)
    yield _features(fit)
    yield _objective(fit)
    yield _course(fit)
    yield from _ending(fit)


def _new_rows(fit: Description) -> str:
    values = "" if _origin_of(fit, "target")["matrix"] is None else f", from {_values(fit, ['target'])}"
    return f"The usages of these components in {_side(fit, 'target')} were then computed with {_software(fit)}{values}."


def _contrasted(fit: Description) -> bool:
    return "background" in fit["n_rows"] and fit["parameters"]["alpha"] > 0


def _method(fit: Description) -> str:
    if _contrasted(fit):
        name = f"Background-contrastive non-negative matrix factorization (bcNMF; {fit['provenance']['citation']})"
        return f"{name} was computed with {_software(fit)}."
    return f"Non-negative matrix factorization, without contrast, was computed with {_software(fit)}."


def _software(fit: Description) -> str:
    return f"bcnmf-dask {fit['versions']['bcnmf-dask']}"


def _data(fit: Description) -> str:
    target = f"The target was {_side(fit, 'target')}"
    return (
        f"{target}; the background was {_side(fit, 'background')}." if "background" in fit["n_rows"] else f"{target}."
    )


def _side(fit: Description, role: str) -> str:
    """Which rows a side is, in words."""
    side, origin = fit["provenance"]["sides"][role], _origin_of(fit, role)
    there = quoted([file_name(origin["location"])]) if origin["location"] else _in_memory(origin["kind"])
    whole = f"{origin['n_rows']:,} {rows_of(fit)}"
    if side["key"] is None:
        return f"the {whole} of {there}"
    count, labels = f"{fit['n_rows'][role]:,}", quoted(side["labels"])
    first = fit["provenance"]["sides"]["target"]
    if role != "target" and (side["source"], side["key"]) == (first["source"], first["key"]):
        return f"{count} of the same {rows_of(fit)} ({labels})"
    return f"{count} of the {whole} of {there}, chosen by the column {quoted([side['key']])} ({labels})"


def _in_memory(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def rows_of(fit: Description) -> str:
    """What the rows of a fit are called: an AnnData holds cells, of other tables that is not known."""
    return "cells" if all(origin["matrix"] for origin in fit["provenance"]["sources"]) else "rows"


def file_name(location: str) -> str:
    """The last part of a path or URL."""
    return PurePosixPath(location).name or location


def quoted(names: list[str]) -> str:
    """Names in a sentence, as they can be printed: all of a few, the first of many."""
    shown = ", ".join(f'"{shortened(name)}"' for name in names[:MOST_LABELS])
    return f"{shown} or {len(names) - MOST_LABELS:,} other labels" if len(names) > MOST_LABELS else shown


def shortened(name: str) -> str:
    """A name on one line, without what a terminal would act on."""
    shown = printable(name)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."


def printable(text: str) -> str:
    """Text with line breaks and all else that cannot be seen written as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _features(fit: Description) -> str:
    values = _values(fit, list(fit["n_rows"]))
    return f"{_capital(values)} were used, for {fit['n_features']:,} features{_shared(fit)}{_masks(fit)}."


def _values(fit: Description, roles: list[str]) -> str:
    """Which values of their inputs the sides are."""
    sides, sources = fit["provenance"]["sides"], fit["provenance"]["sources"]
    matrices = {role: sources[sides[role]["source"]]["matrix"] for role in roles}
    if len(set(matrices.values())) == 1:
        return f"the values{_of_matrix(matrices[roles[0]])}"
    return "the values " + " and ".join(f"of the {role}{_of_matrix(name, 'in')}" for role, name in matrices.items())


def _of_matrix(matrix: str | None, word: str = "of") -> str:
    if matrix is None:
        return ""
    return f" {word} X" if matrix == "X" else f" {word} the layer {quoted([matrix.removeprefix('layers/')])}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _shared(fit: Description) -> str:
    matching = fit["provenance"]["matching"]
    if matching is None or len(fit["provenance"]["sources"]) == 1:
        return ""
    means = "by their names" if matching["by"] == "name" else "by their order"
    if matching["how"] == "strict":
        return f" that both sides have (matched {means})"
    widths = {role: _origin_of(fit, role)["n_features"] for role in fit["n_rows"]}
    of = ", ".join(f"{width:,} in the {role}" for role, width in widths.items())
    return f", of the {matching['n_shared']:,} that both sides have (of {of}; matched {means})"


def _origin_of(fit: Description, role: str) -> Mapping[str, Any]:
    origin: Mapping[str, Any] = fit["provenance"]["sources"][fit["provenance"]["sides"][role]["source"]]
    return origin


def _masks(fit: Description) -> str:
    """Which features were chosen beforehand."""
    chosen: dict[str, None] = {}  # both sides of one store have the same mask
    for role, side in fit["provenance"]["sides"].items():
        if side["n_selected"] < _origin_of(fit, role)["n_features"]:
            by = f" marked in {quoted([side['mask_var']])}" if side["mask_var"] else " chosen beforehand"
            chosen[by + f" ({side['n_selected']:,} of {_origin_of(fit, role)['n_features']:,})"] = None
    return " and".join(f",{by}" for by in chosen)


def _objective(fit: Description) -> str:
    given, loss = fit["parameters"], fit["parameters"]["loss"]
    divergence = LOSSES.get(loss, f"the loss {quoted([loss])}")
    begin = f"{fit['n_components']:,} non-negative component{'' if fit['n_components'] == 1 else 's'} were fitted to"
    if not _contrasted(fit):
        beside = "; the background has no part in them" if "background" in fit["n_rows"] else ""
        return f"{begin} minimise {divergence} of the target, by usages of each of its {rows_of(fit)}{beside}."
    factor = f"{begin} minimise {divergence} of the target minus {real(given['effective_alpha'])} times that of the"
    return f"{factor} background, each at usages fitted to its own {rows_of(fit)}; {_alpha(fit)}."


def _alpha(fit: Description) -> str:
    given = fit["parameters"]
    if given["weighting"] not in UNITS:
        return f"this factor is alpha, which weighs sums over {rows_of(fit)}"
    unit = UNITS[given["weighting"]].format(rows=rows_of(fit))
    if given["weighting"] == "deviance" and "deviances" in fit["run"]:
        deviances = fit["run"]["deviances"]
        unit += f" ({real(deviances['target'])} and {real(deviances['background'])})"
    return f"this factor is alpha = {real(given['alpha'])} times {unit}"


def _course(fit: Description) -> str:
    given, run, rows = fit["parameters"], fit["run"], rows_of(fit)
    updates = UPDATES.get(given["solver"], f"by the solver {quoted([given['solver']])}")
    by = updates.format(damping=real(given["effective_damping"]), rows=rows)
    if given["solver"] == "online":
        most = "at most " if fit["status"]["word"] == "stopped" else ""
        lasting = f"{most}{run['passes']:,} passes over all {rows} ({run['batches_per_pass']:,} batches to a pass)"
    else:
        lasting = f"{fit['sweeps']:,} sweep{'' if fit['sweeps'] == 1 else 's'} over all {rows}"
    if run.get("fallen_back"):
        by += f" until the objective of a sample of {rows} rose, then by the published ones"
    return f"They were computed {by}, in {given['dtype']}, in {lasting}, from {_start(given)}."


def _start(given: Mapping[str, Any]) -> str:
    drawn = f"a random start (seed {given['random_state']})"
    if given["init"] == "random":
        return drawn
    names = " and ".join(name.replace("_", " ") for name in given["init"])
    return f"given {names} and otherwise {drawn}"


def _ending(fit: Description) -> Iterator[str]:
    given, word = fit["parameters"], fit["status"]["word"]
    rule = (
        f"relative changes of the components and of the divergences below {real(given['tol'])} in "
        f"{given['patience']:,} sweeps in a row"
    )
    fixed = f"The number of sweeps was fixed at {given['max_iter']:,}."
    cut = (
        f"The fit was ended by the limit of {given['max_iter']:,} sweeps, before it met the rule for stopping ({rule})."
    )
    sentences = {
        "converged": f"The fit had then converged ({rule}).",
        "max_iter": cut if given["tol"] > 0 else fixed,
        "passed": "",
        "stopped": "The fit was then stopped, before it had converged.",
        "collapsed": "The factorization was found to have collapsed.",
    }
    sentence = sentences.get(word, f"The fit ended with the status {quoted([word])}.")
    if sentence:
        yield sentence


def _usages(fit: Description) -> str:
    run, rows = fit["run"], rows_of(fit)
    if not fit["usages_saved"]:
        return "The usages were not saved."
    if "usages_largest_residual" not in run:
        return "Usages are those of the last sweep."
    residual = f"largest residual {real(run['usages_largest_residual'])} of the sum of a row"
    unfinished = run["usages_unfinished_rows"]
    but = f", which {unfinished:,} of them did not reach" if unfinished else ""
    return f"Usages are those that minimise the divergence of each of the {rows}{but} ({residual})."


def real(number: float | None) -> str:
    """A number with four digits; large ones as whole numbers."""
    if number is None:
        return "unknown"
    return f"{number:,.0f}" if 1e4 <= abs(number) < 1e12 else f"{number:.4g}"
