"""Figures of benchmarks: measured scaling, and predictions. The numbers come from elsewhere."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bcnmf_dask.benchmarking.model import Machine
from bcnmf_dask.benchmarking.runs import Run
from bcnmf_dask.benchmarking.scaling import against_one
from bcnmf_dask.errors import InputError
from bcnmf_dask.plots import COLOURS, MARKERS

Points = list[tuple[int, float]]
"""(workers, value)."""
EFFICIENCIES = {"weak": "same data per worker", "orchestration": "orchestration only (no arithmetic)"}
"""Titles of the benchmarks whose ideal is that a sweep takes as long on many workers as on one."""
SHARED = "Workers on one machine share its cores, so that the cost of coordination learnt there is an upper bound."


class Panel(NamedTuple):
    """One panel of the figure of what was measured.

    Attributes
    ----------
    title, unit : str
    curves : dict of str to Points
        By what was run.
    ideal : Points
        Where curves would lie at no cost.
    """

    title: str
    unit: str
    curves: dict[str, Points]
    ideal: Points


def measured_figure(runs: Sequence[Run]) -> Figure:
    """Speed-up, weak efficiency and overhead against the number of workers, as far as they were measured.

    Raises
    ------
    InputError
        If nothing was measured on more than one worker.
    """
    panels = [panel for run in runs for panel in _panels(run) if panel.curves]
    if not panels:
        raise InputError(
            "out: nothing here was measured on several workers. Run `bcnmf-dask benchmark strong --workers 1,2` first."
        )
    figure = Figure(figsize=(4.6 * len(panels), 4.4), layout=ConstrainedLayoutEngine(w_pad=0.1))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        axes.plot(*zip(*panel.ideal, strict=True), ":", color="0.5", label="ideal")
        for (case, points), colour, marker in zip(panel.curves.items(), cycle(COLOURS), cycle(MARKERS), strict=False):
            axes.plot(*zip(*points, strict=True), "-", color=colour, marker=marker, markersize=5, label=case)
        axes.set(title=panel.title, xlabel="workers", ylabel=panel.unit, ylim=(0, None))
        axes.set_xscale("log", base=2)
        _number_the_workers(axes, sorted({count for points in panel.curves.values() for count, _ in points}))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="best")
    return figure


def prediction_figure(table: pd.DataFrame, title: str, machine: Machine) -> Figure:
    """Predicted seconds per sweep against the number of workers, with the error of the model as a band.

    Parameters
    ----------
    table : DataFrame
        See `bcnmf_dask.benchmarking.tables.prediction_table`.
    title : str
        What would be fitted.
    machine : Machine
    """
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    axes = figure.subplots()
    for (kind, rows), colour, marker in zip(table.groupby("workload", sort=False), COLOURS, MARKERS, strict=False):
        rows = rows.sort_values("workers")
        seconds = rows["seconds_per_sweep"]
        axes.fill_between(rows["workers"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        axes.plot(rows["workers"], seconds, "--", color=colour, marker=marker, markersize=4, label=str(kind))
        ideal = seconds.iloc[0] * rows["workers"].iloc[0] / rows["workers"]
        axes.plot(rows["workers"], ideal, ":", color=colour, linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="seconds per sweep (prediction)")
    axes.set_title(f"Prediction, not a measurement: {title}", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    note = f"Model of {machine.name}, {machine.measured}: {machine.checked}, at worst {machine.relative_error:.0%} off."
    axes.legend(frameon=False, title="dotted: no cost of more workers", loc="upper right")
    figure.supxlabel(f"{note}\n{SHARED}", fontsize=7)
    return figure


def _panels(run: Run) -> Iterator[Panel]:
    ratios = list(against_one(run.measurements)) if run.benchmark in EFFICIENCIES or run.benchmark == "strong" else []
    curves: dict[str, Points] = {}
    for one, ratio in ratios:
        curves.setdefault(one.case, [(1, 1.0)]).append((one.workers, ratio))
    sizes = sorted({1, *(one.workers for one, _ in ratios)})
    if run.benchmark == "strong":
        yield Panel("same data", "speed-up", curves, [(size, float(size)) for size in sizes])
    if run.benchmark in EFFICIENCIES:
        yield Panel(EFFICIENCIES[run.benchmark], "efficiency", curves, [(size, 1.0) for size in sizes])
    if run.benchmark == "overhead":
        points = [(one.workers, one.figures["overhead_in_round_trips"]) for one in run.measurements]
        ideal = [(size, 1.0) for size, _ in points]
        yield Panel("overhead of a sweep of tiny data", "task round trips", {"measured": points}, ideal)


def _number_the_workers(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
