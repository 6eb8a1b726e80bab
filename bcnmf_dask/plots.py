"""Figures of a fit. Drawing only: the numbers come from elsewhere, no global state of matplotlib is used."""

import os
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from textwrap import fill
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from bcnmf_dask.errors import InputError

DPI = 150
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by colour-blind eyes (Okabe and Ito, Color Universal Design, 2008)."""
MARKERS = ("o", "^", "s", "D")
LINES = ("-", "--", ":", "-.")
IMAGES_PER_ROW = 5
MANY_POINTS = 2_000


def component_images(components: ArrayLike, shape: tuple[int, int], titles: Sequence[str] | None = None) -> Figure:
    """Each component as a picture: black where it weighs nothing, white where it weighs most.

    Parameters
    ----------
    components : array (n_components, height * width)
        Non-negative weights of the pixels, row by row.
    shape : (height, width)
        Of the pictures, in pixels.
    titles : sequence of str, optional
        One per component; numbered from 0 if not given.

    Returns
    -------
    Figure
        One panel per component, five to a row. Each has a grey scale of its own.

    Raises
    ------
    InputError
        A component is not a picture of this shape, or the titles are more or fewer than the components.
    """
    images = _images(components, shape)
    names = _titles(titles, len(images))
    n_columns = min(len(images), IMAGES_PER_ROW)
    n_rows = -(-len(images) // n_columns)
    figure = _figure(1.9 * n_columns, 2.2 * n_rows)
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes, image, name in zip(panels, images, names, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, aspect="equal", interpolation="nearest")
        axes.set_title(fill(name, 22), fontsize=10)
    for axes in panels:
        axes.set_axis_off()
    return figure


def usage_scatter(usages_by_title: Mapping[str, ArrayLike], labels: ArrayLike) -> Figure:
    """Cells by their usages of two components, one panel per factorization, coloured by label.

    Parameters
    ----------
    usages_by_title : mapping of str to array (n_cells, 2)
        Usages of two components, in amounts of signal; the key is the title of the panel.
    labels : array (n_cells,)
        What to colour by; the legend gives each label with its number of cells. Cells without one (None, nan)
        are left out.

    Returns
    -------
    Figure
        Panels side by side, with axes of their own and one legend.

    Raises
    ------
    InputError
        There is nothing to draw, usages do not have two columns, or cells and labels differ in number.
    """
    groups = np.asarray(labels)
    panels = {title: np.asarray(usages) for title, usages in usages_by_title.items()}
    _check_scatter(panels, groups)
    figure = _figure(4.5 * len(panels), 5.0)
    for axes, (title, usages) in zip(_side_by_side(figure, len(panels)), panels.items(), strict=True):
        _draw_cells(axes, usages, groups)
        axes.set_title(fill(title, 40))
    _legend_below(figure, markerscale=2)
    return figure


def convergence(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """How the divergences and the basis settle over the sweeps, one line per fit.

    Parameters
    ----------
    histories : mapping of str to DataFrame
        Histories as in `FitResult`; the key names the line in the legend.

    Returns
    -------
    Figure
        Target and background divergence relative to the first sweep, and the change of the basis on a
        logarithmic axis. The background panel is left out if no fit has a background.

    Raises
    ------
    InputError
        There is no history, or one has no sweep.
    """
    _check_histories(histories)
    curves = {label: history.set_index("iteration") for label, history in histories.items()}
    contrasted = any(curve["background_divergence"].notna().any() for curve in curves.values())
    roles = ("target", "background") if contrasted else ("target",)
    figure = _figure(4.5 * (len(roles) + 1), 4.4)
    *divergences, change = _side_by_side(figure, len(roles) + 1, sharex=True)
    for axes, role in zip(divergences, roles, strict=True):
        sums = {label: curve[f"{role}_divergence"] for label, curve in curves.items()}
        _draw_lines(axes, {label: values / values.iloc[0] for label, values in sums.items()})
        axes.set(title=f"{role} divergence", ylabel="relative to the first sweep")
    # A logarithmic axis has no place for a basis that stood still.
    steps = {label: curve["basis_change"] for label, curve in curves.items()}
    _draw_lines(change, {label: values.where(values > 0) for label, values in steps.items()})
    change.set(title="basis change per sweep", ylabel="relative to the basis (Frobenius norm)", yscale="log")
    _legend_below(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, 150 dots per inch, aside first, so that half a picture is never seen.

    Parameters
    ----------
    figure : Figure
        What to write.
    path : path
        Where to; a picture that is there is replaced.

    Raises
    ------
    InputError
        The file cannot be written there.
    """
    target = Path(path).expanduser()
    aside = target.with_name(f".{target.name}.{uuid4().hex[:8]}.partial")
    try:
        figure.savefig(aside, format="png", dpi=DPI)
        aside.replace(target)
    except OSError as error:
        raise InputError(
            f"path: the picture {os.fspath(path)!r} cannot be written ({error.strerror}). "
            "Give a path in a folder that exists and that you may write to."
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _images(components: ArrayLike, shape: tuple[int, int]) -> NDArray[Any]:
    weights = np.asarray(components)
    height, width = shape
    if weights.ndim != 2 or weights.shape[0] == 0 or weights.shape[1] != height * width:
        raise InputError(
            f"components has shape {weights.shape}, but pictures of {height} x {width} pixels need "
            f"(n_components, {height * width}). Give the height and width of the pictures that were fitted."
        )
    return weights.reshape(-1, height, width)


def _titles(titles: Sequence[str] | None, n_components: int) -> Sequence[str]:
    if titles is None:
        return [f"component {index}" for index in range(n_components)]
    if len(titles) != n_components:
        raise InputError(
            f"titles has {len(titles)} entries for {n_components} components. Give one title per component."
        )
    return titles


def _check_scatter(panels: Mapping[str, NDArray[Any]], groups: NDArray[Any]) -> None:
    if not panels:
        raise InputError("usages_by_title is empty. Give the usages of at least one factorization.")
    for title, usages in panels.items():
        if usages.shape != (*groups.shape, 2):
            raise InputError(
                f"usages_by_title[{title!r}] has shape {usages.shape}, but {groups.size} labels and two "
                f"axes need ({groups.size}, 2). Choose two components, as in usages[:, [0, 1]], and give one "
                "label per cell."
            )


def _check_histories(histories: Mapping[str, pd.DataFrame]) -> None:
    if not histories:
        raise InputError("histories is empty. Give the history of at least one fit.")
    for label, history in histories.items():
        if history.empty:
            raise InputError(f"histories[{label!r}] has no sweep to draw. Give the history of a fit that has run.")


def _figure(width: float, height: float) -> Figure:
    # Wider gaps than the default, which puts the label of one panel against the axis of the next.
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))


def _side_by_side(figure: Figure, n_panels: int, sharex: bool = False) -> list[Axes]:
    panels = list(figure.subplots(1, n_panels, squeeze=False, sharex=sharex).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return panels


def _draw_cells(axes: Axes, usages: NDArray[Any], groups: NDArray[Any]) -> None:
    codes, names = pd.factorize(groups, sort=True)
    for code, (marker, colour) in zip(range(len(names)), cycle(product(MARKERS, COLOURS)), strict=False):
        x, y = usages[codes == code].T
        label = f"{names[code]} (n = {len(x):,})"
        size = 14 if len(usages) < MANY_POINTS else 4
        axes.scatter(x, y, s=size, c=colour, marker=marker, alpha=0.6, linewidths=0, label=label)
    axes.set(xlabel="usage of the first component (signal)", ylabel="usage of the second component (signal)")
    axes.set(xlim=(0, None), ylim=(0, None))


def _draw_lines(axes: Axes, curves: Mapping[str, "pd.Series[float]"]) -> None:
    for (label, curve), (line, colour) in zip(curves.items(), cycle(product(LINES, COLOURS)), strict=False):
        # The dots hide in the line, but show a fit of a single sweep, which has no line.
        axes.plot(curve.index, curve, line, color=colour, marker=".", markersize=3, linewidth=1.8, label=label)
    axes.set_xlabel("sweep")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _legend_below(figure: Figure, markerscale: float = 1.0) -> None:
    """One legend for all panels; every panel draws the same entries."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    n_columns = min(len(labels), 2 * len(figure.axes))
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=n_columns,
        frameon=False,
        markerscale=markerscale,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
