"""What is said of a saved fit to people: facts in sections, each number from its record."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bcnmf_dask.cli.account import all_zero, counted
from bcnmf_dask.cli.plan import lasting, size
from bcnmf_dask.results.contents import ArrayOutline
from bcnmf_dask.results.methods import Description, quoted, real, rows_of

SHOWN = ("n_components", "alpha", "weighting", "loss", "solver", "batch_size", "converged_usages", "damping", "init")
STOPPING = ("max_iter", "tol", "patience", "dtype", "random_state")
"""Parameters in the order they are read in; any others follow."""


class Fact(NamedTuple):
    """One thing that is said.

    Attributes
    ----------
    label : str
    text : str
    copied : bool
        Whether people copy it, so that no line may be broken.
    """

    label: str
    text: str
    copied: bool = False


class Section(NamedTuple):
    """Facts under a heading."""

    heading: str
    facts: Sequence[Fact]


def sections(fit: Description, arrays: Sequence[ArrayOutline], path: str, n_bytes: int) -> list[Section]:
    """All that is said of the fit at ``path``, whose files have ``n_bytes`` together.

    Parameters
    ----------
    fit : mapping
        See `FitResult.described`.
    arrays : sequence of ArrayOutline
        Of its store.
    path : str
    n_bytes : int
    """
    former = fit["provenance"]["derived_from"]
    model = (
        Section("The fit of these components", [*_data(former), *_end(former), *_parameters(former)])
        if former
        else Section("Parameters", list(_parameters(fit)))
    )
    return [
        Section(_heading(fit), list(_data(fit))),
        Section("How it ended", list(_end(fit))),
        model,
        Section("When, how and where", list(_making(fit))),
        Section(f"In the store, {size(n_bytes)}", list(_store(arrays, path))),
    ]


def _heading(fit: Description) -> str:
    if fit["provenance"]["derived_from"]:
        return "Usages of new rows at the components of a fit"
    return "A fit of a target against a background" if "background" in fit["n_rows"] else "A fit of a target alone"


def _data(fit: Description) -> Iterator[Fact]:
    for role in fit["provenance"]["sides"]:
        yield Fact(role, _side(fit, role))
    for source in fit["provenance"]["sources"]:
        yield Fact("source", source["location"] or source["kind"], copied=True)
        yield Fact("", _source(source, rows_of(fit)))
    yield Fact("features", _features(fit))
    for noun, count in all_zero(fit["run"]):
        yield Fact("all zero", counted(count, noun))
    yield Fact("components", f"{fit['n_components']:,} (checksum {fit['components_checksum']})")


def _side(fit: Description, role: str) -> str:
    side = fit["provenance"]["sides"][role]
    source = fit["provenance"]["sources"][side["source"]]
    rows, count = rows_of(fit), fit["n_rows"].get(role)
    said = f"{count:,} of {source['n_rows']:,} {rows}"
    if side["key"] is not None:
        said += f" with {quoted(side['labels'])} in {quoted([side['key']])}"
    number = f", source {side['source'] + 1}" if len(fit["provenance"]["sources"]) > 1 else ""
    return f"{said}{number}"


def _source(source: Mapping[str, Any], rows: str) -> str:
    parts = [
        *([] if source["location"] is None else [source["kind"]]),
        f"{source['n_rows']:,} {rows} x {source['n_features']:,} features",
        *([] if source["matrix"] is None else [f"values of {source['matrix']}"]),
        *([] if source["n_bytes"] is None else [size(source["n_bytes"])]),
    ]
    return ", ".join(parts)


def _features(fit: Description) -> str:
    matching, sides = fit["provenance"]["matching"], fit["provenance"]["sides"]
    parts = [f"{fit['n_features']:,} used"]
    if matching is not None:
        parts.append(f"matched by {matching['by']} ({matching['how']})")
    for role, side in sides.items():
        width = fit["provenance"]["sources"][side["source"]]["n_features"]
        shared = width if matching is None else matching["n_shared"]
        if width > shared:
            without = "not among those of the fit" if matching["how"] == "fitted" else "not on the other side"
            parts.append(f"{width - shared:,} of the {role} left out: {without}")
        if side["n_selected"] < width:
            by = f" by {quoted([side['mask_var']])}" if side["mask_var"] else " by a mask"
            parts.append(f"{side['n_selected']:,} of {width:,} of the {role} chosen{by}")
    return "; ".join(parts)


def _end(fit: Description) -> Iterator[Fact]:
    yield Fact("status", f"{fit['status']['word']}: {fit['status']['sentence']}")
    for remark in fit["run"].get("remarks", ()):
        if remark not in fit["status"]["sentence"]:
            yield Fact("remark", remark)
    if fit["sweeps"]:
        yield Fact("steps" if fit["parameters"].get("solver") == "online" else "sweeps", _steps(fit))
    yield Fact("usages", _usages(fit["run"]) if fit["usages_saved"] else "not saved")
    values = fit["divergences"]
    of = ", ".join(f"{real(values[role])} of the {role}" for role in fit["n_rows"])
    yield Fact("divergence", f"{of}, at the saved factors")
    if "background" in fit["n_rows"]:
        factor = real(fit["parameters"]["effective_alpha"])
        yield Fact("objective", f"{real(values['objective'])} (target - {factor} background); not to compare fits by")


def _usages(run: Mapping[str, Any]) -> str:
    if "usages_largest_residual" not in run:
        return "of the last sweep"
    worst = f"fitted to the final components, largest residual {real(run['usages_largest_residual'])}"
    return f"{worst}, {run['usages_unfinished_rows']:,} rows not to their minimum"


def _steps(fit: Description) -> str:
    run, of_online = fit["run"], " (batches, and at the end a sweep)"
    resumed = f", resumed after {run['resumed_from']:,}" if run.get("resumed_from") else ""
    return f"{fit['sweeps']:,}{of_online if fit['parameters'].get('solver') == 'online' else ''}{resumed}"


def _parameters(fit: Description) -> Iterator[Fact]:
    given, resolved = fit["provenance"]["given"], fit["parameters"]
    names = [*SHOWN, *STOPPING]
    for name in [*names, *(one for one in resolved if one not in names and not one.startswith("effective_"))]:
        if any(resolved.get(one) is not None for one in (name, f"effective_{name}")):
            yield Fact(name, _parameter(name, given, resolved))


def _parameter(name: str, given: Mapping[str, Any], resolved: Mapping[str, Any]) -> str:
    said = ["default" if resolved[name] is None else _value(resolved[name])]
    if name in given:
        said.append("not given" if given[name] is None else f"given as {given[name]}")
    if f"effective_{name}" in resolved and resolved[f"effective_{name}"] != resolved[name]:
        said.append(f"in effect {_value(resolved[f'effective_{name}'])}")
    return ", ".join(said)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _making(fit: Description) -> Iterator[Fact]:
    made, run, versions = fit["provenance"], fit["run"], fit["versions"]
    begun, over = (datetime.fromisoformat(made[name]) for name in ("started", "ended"))
    yield Fact("started", made["started"])
    yield Fact("ended", f"{made['ended']} (after {lasting((over - begun).total_seconds())})")
    yield Fact("command", made["command"] or "none: made from Python", copied=True)
    yield Fact("ran", _place(run))
    yield Fact("machine", ", ".join(part for part in (versions.get("cpu"), made["system"]) if part))
    yield Fact("versions", ", ".join(f"{name} {number}" for name, number in versions.items() if name != "cpu"))


def _place(run: Mapping[str, Any]) -> str:
    if "shards_per_worker" in run:
        counts = run["shards_per_worker"]
        devices = sorted(set(map(str, run.get("devices", {}).values())))
        return f"on a cluster, {len(counts):,} workers" + (f" ({', '.join(devices)})" if devices else "")
    return f"in one process, {run.get('threads', 'some')} threads ({run.get('device', 'cpu')})"


FIRST = ("components", "target_usages", "background_usages", "feature", "target_cell", "background_cell", "auroc")
"""Arrays that are asked for most."""


def _store(arrays: Iterable[ArrayOutline], path: str) -> Iterator[Fact]:
    history = [one for one in arrays if one.name.startswith("history_")]
    for one in sorted(arrays, key=lambda one: FIRST.index(one.name) if one.name in FIRST else len(FIRST)):
        if one not in history:
            yield Fact(one.name, f"{_shape(one)} {one.dtype}: {one.meaning}")
    if history:
        yield Fact("history_...", f"{len(history)} arrays, {_shape(history[0])}: {history[0].meaning}")
    yield Fact("with Python", f"from bcnmf_dask import BCNMF; model = BCNMF.load({path!r})", copied=True)
    yield Fact("with xarray", f"import xarray; fit = xarray.open_zarr({path!r})", copied=True)
    yield Fact("as JSON", f"bcnmf-dask info --json {shlex.quote(path)}", copied=True)


def _shape(array: ArrayOutline) -> str:
    return " x ".join(f"{length:,}" for length in array.shape)
