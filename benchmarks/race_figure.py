"""The picture of a race."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLOURS = {
    "bcnmf_dask": "#0072B2",
    "bcnmf_dask, accelerated": "#D55E00",
    "bcnmf_dask, online": "#009E73",
    "published, PyTorch": "#CC79A7",
    "published, lean NumPy": "#E69F00",
    "dask.array": "#56B4E9",
    "scikit-learn mu": "#000000",
    "scikit-learn cd": "#999933",
    "scikit-learn MiniBatchNMF": "#8C564B",
    "nmf-torch mu": "#6A3D9A",
}
LINES = {"csr": "-", "dense": "--"}
LOWEST = 1e-3
"""Shares below this are drawn there: a logarithmic axis has no zero."""


def figure(curves, tolerance=0.01, reference="bcnmf_dask"):
    """The refitted objective over seconds, above the lowest that any peer found, one panel per loss and alpha."""
    drawing = Figure(figsize=(11, 8.5), layout="constrained")
    panels = drawing.subplots(2, 2)
    for axes, ((alpha, loss), event) in zip(panels.flat, curves.groupby(["alpha", "loss"]), strict=True):
        event = event[event["sweeps"] > 0]
        lowest = event["objective"].min()
        for (peer, layout), curve in event.groupby(["peer", "layout"]):
            above = ((curve["objective"] - lowest) / abs(lowest)).clip(lower=LOWEST)
            width = 2.2 if peer.startswith(reference) else 1.2
            axes.loglog(curve["seconds"], above, LINES[layout], color=COLOURS[peer], linewidth=width)
        published = event[(event["peer"] == reference) & (event["layout"] == "csr")]
        goal = published["objective"].iloc[-1]
        axes.axhline((goal + tolerance * abs(goal) - lowest) / abs(lowest), color="grey", linewidth=0.8, linestyle=":")
        axes.set(title=f"{loss}, alpha {alpha:g}", xlabel="seconds of sweeps")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("objective above the lowest found (share of it)")
    handles = [Line2D([], [], color=colour, label=peer) for peer, colour in COLOURS.items()]
    handles += [Line2D([], [], color="grey", linestyle=line, label=layout) for layout, line in LINES.items()]
    handles += [Line2D([], [], color="grey", linestyle=":", linewidth=0.8, label=f"the goal and {tolerance:.0%}")]
    drawing.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return drawing
