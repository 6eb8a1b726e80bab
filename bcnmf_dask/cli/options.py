"""The options of a fit: the parameters of `BCNMF` with their defaults, what to read, where to run, what to show."""

import inspect
from typing import Annotated, Any

import typer

from bcnmf_dask.data.features import Matching
from bcnmf_dask.errors import InputError
from bcnmf_dask.estimator import BCNMF
from bcnmf_dask.fitting.parameters import DEFAULT_ALPHAS, DTYPES, SOLVERS, WEIGHTINGS, check_parameter, loss_named
from bcnmf_dask.updates.losses import LOSSES

DEFAULTS: dict[str, Any] = {name: parameter.default for name, parameter in inspect.signature(BCNMF).parameters.items()}
"""Of the estimator, which alone decides them."""

DATA, MODEL, STOPPING, RUNNING, RECOVERY, TALKING = (
    "What to read and write",
    "Model",
    "When to stop",
    "Where to run",
    "Recovery",
    "What to show",
)
LOSS_DAMPINGS = ", ".join(f"{loss.default_damping} for {name}" for name, loss in LOSSES.items())


def checked(param: typer.CallbackParam, value: Any) -> Any:
    """Refuse a value out of range before anything is read; None is an option that was not given.

    Raises
    ------
    typer.BadParameter
        With what the estimator would say.
    """
    if value is None:
        return None
    name = "seed" if param.name == "random_state" else str(param.name)
    try:
        check_parameter(name, value)
    except InputError as error:
        raise typer.BadParameter(str(error).partition(": ")[2]) from None
    return value


def checked_loss(param: typer.CallbackParam, value: Any) -> Any:
    """The loss that a name stands for; see `checked`."""
    return checked(param, loss_named(value))


KINDS_OF_FILES = "an AnnData .zarr or .h5ad, a Zarr array, .npy, .npz, .csv or .tsv (also .gz)"

First = Annotated[
    str,
    typer.Argument(
        metavar="TARGET|STORE",
        help=f"The target: {KINDS_OF_FILES}. With --key: the one store of both.",
        show_default=False,
    ),
]
Second = Annotated[
    str | None,
    typer.Argument(
        metavar="BACKGROUND",
        help="The background, of the same kinds. Left out with --key, or with --alpha 0 (plain NMF).",
        show_default=False,
    ),
]
Out = Annotated[
    str,
    typer.Option(
        metavar="FIT.zarr",
        help="Where the result is written. Never overwrites.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Column of obs that tells target from background in one STORE.", rich_help_panel=DATA
    ),
]
TargetLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--target", metavar="LABEL", help="With --key: label of target rows. May be repeated.", rich_help_panel=DATA
    ),
]
BackgroundLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--background",
        metavar="LABEL",
        help="With --key: label of background rows. May be repeated.",
        rich_help_panel=DATA,
    ),
]
Layer = Annotated[
    str | None, typer.Option(help="Layer of the AnnData to use instead of X, for example counts.", rich_help_panel=DATA)
]
MaskVar = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Boolean column of var: the features to use, for example highly_variable.",
        rich_help_panel=DATA,
    ),
]
Features = Annotated[
    Matching,
    typer.Option(
        help="strict: both sides must have the same features, in any order. intersection: those they share.",
        rich_help_panel=DATA,
    ),
]
NComponents = Annotated[int, typer.Option(help="Number of components.", callback=checked, rich_help_panel=MODEL)]
Alpha = Annotated[
    float | None,
    typer.Option(
        help="Strength of the contrast; 0 is plain NMF of the target. If too large, the fit collapses and says so. "
        f"By default {' and '.join(f'{alpha:g} for {loss}' for loss, alpha in DEFAULT_ALPHAS.items())}.",
        callback=checked,
        rich_help_panel=MODEL,
    ),
]
Weighting = Annotated[
    str,
    typer.Option(
        metavar="|".join(WEIGHTINGS),
        help="deviance: alpha means the same for any number, depth and scale of cells. mean: for any number of them. "
        "sum: the published objective.",
        callback=checked,
        rich_help_panel=MODEL,
    ),
]
Loss = Annotated[
    str,
    typer.Option(
        metavar="|".join(sorted(LOSSES)),
        help="kullback-leibler (or kl, poisson) for counts; frobenius (or sse) for normalised data, intensities or "
        "images.",
        callback=checked_loss,
        rich_help_panel=MODEL,
    ),
]
Solver = Annotated[
    str,
    typer.Option(
        metavar="|".join(SOLVERS),
        help="published: one step of usages and components per sweep. accelerated: longer steps, a third of the "
        "sweeps. online: a step after each batch of rows, three passes, for data that can be read only a few times.",
        callback=checked,
        rich_help_panel=MODEL,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="ROWS",
        help="Rows of a batch of the online solver.",
        callback=checked,
        show_default="a hundredth of the rows, 100 to 8192",
        rich_help_panel=MODEL,
    ),
]
ConvergedUsages = Annotated[
    bool | None,
    typer.Option(
        help="Fit the usages of all rows to the final components entirely, in one more visit.",
        show_default="but for the published solver",
        rich_help_panel=MODEL,
    ),
]
Damping = Annotated[
    float | None,
    typer.Option(
        help="Exponent of the published steps, in (0, 1]; smaller is slower and steadier.",
        callback=checked,
        show_default=LOSS_DAMPINGS,
        rich_help_panel=MODEL,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="|".join(DTYPES),
        help="Precision of rows, usages and components.",
        callback=checked,
        rich_help_panel=MODEL,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        help="Seed of the random start. The same data, options and seed give the same result.",
        callback=checked,
        rich_help_panel=MODEL,
    ),
]
MaxIter = Annotated[
    int, typer.Option(help="Sweeps (visits of all rows) at most.", callback=checked, rich_help_panel=STOPPING)
]
Tol = Annotated[
    float,
    typer.Option(
        help="Stop when components and divergences change less than this for 10 sweeps; 0 never stops early.",
        callback=checked,
        rich_help_panel=STOPPING,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Show the log (with the time of each sweep, the dashboard, and shards per worker), and tracebacks.",
        rich_help_panel=TALKING,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", help="Show no plan and no progress; warnings and the result remain.", rich_help_panel=TALKING
    ),
]
