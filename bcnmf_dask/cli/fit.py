"""``bcnmf-dask fit``: one fit, from files to a saved result."""

from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console

from bcnmf_dask.cli import options
from bcnmf_dask.cli.account import log_times, show_run
from bcnmf_dask.cli.options import DEFAULTS
from bcnmf_dask.cli.plan import plan_lines
from bcnmf_dask.cli.progress import describe, progress
from bcnmf_dask.cli.recovery import recovery, resumable
from bcnmf_dask.cli.running import client_of, where
from bcnmf_dask.cli.talking import in_options, in_words, print_table, say, to_pipes
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.split import split
from bcnmf_dask.estimator import BCNMF

HELP = """\
Fits components that explain a target and not a background, and saves them.

Give the target and the background as two files, or as one store and a column of labels. BACKGROUND may be
left out with --alpha 0, which is plain NMF.

The summary of the components goes to standard output: a table in a terminal, tab-separated lines in a pipe or
file. Everything else (the plan, progress, warnings, where the result is) goes to standard error. A fit that
collapsed or did not converge is saved, says so, and counts as done (exit code 0).

[bold]Examples[/bold]

  [dim]Two files, the raw counts in a layer:[/dim]
    bcnmf-dask fit stim.h5ad ctrl.h5ad --layer counts --out fit.zarr

  [dim]One store, rows chosen by the column condition of obs, only variable genes:[/dim]
    bcnmf-dask fit atlas.zarr --key condition --target stim \\
        --background ctrl --mask-var highly_variable --out fit.zarr

  [dim]The same on a Dask cluster that is running:[/dim]
    bcnmf-dask fit atlas.zarr --key condition --target stim \\
        --background ctrl --scheduler tcp://node1:8786 --out fit.zarr

  [dim]The summary into a file, without progress:[/dim]
    bcnmf-dask fit stim.h5ad ctrl.h5ad --quiet --out fit.zarr > summary.tsv

  [dim]In a Slurm job: saved 120 s before its end, resumed when it is queued again:[/dim]
    sbatch --requeue --signal=TERM@120 --wrap 'srun bcnmf-dask fit \\
        stim.h5ad ctrl.h5ad --out fit.zarr --checkpoint saved --resume ||
        { test $? = 75 && scontrol requeue $SLURM_JOB_ID; }'
"""


@dataclass(frozen=True)
class _Data:
    """What a fit reads, as `BCNMF.fit` takes it."""

    target: Any
    background: Any
    choices: dict[str, Any]


def fit(
    first: options.First,
    second: options.Second = None,
    *,
    out: options.Out,
    key: options.Key = None,
    target: options.TargetLabels = None,
    background: options.BackgroundLabels = None,
    layer: options.Layer = None,
    mask_var: options.MaskVar = None,
    features: options.Features = "strict",
    n_components: options.NComponents = DEFAULTS["n_components"],
    alpha: options.Alpha = DEFAULTS["alpha"],
    weighting: options.Weighting = DEFAULTS["weighting"],
    loss: options.Loss = DEFAULTS["loss"],
    solver: options.Solver = DEFAULTS["solver"],
    damping: options.Damping = DEFAULTS["damping"],
    dtype: options.Dtype = DEFAULTS["dtype"],
    random_state: options.Seed = DEFAULTS["random_state"],
    max_iter: options.MaxIter = DEFAULTS["max_iter"],
    tol: options.Tol = DEFAULTS["tol"],
    scheduler: options.Scheduler = None,
    scheduler_file: options.SchedulerFile = None,
    local: options.Local = False,
    checkpoint: options.Checkpoint = None,
    checkpoint_every: options.CheckpointEvery = None,
    resume: options.Resume = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit, save, and show the summary; see ``HELP``."""
    client = client_of(scheduler, scheduler_file, local)
    checkpoints = recovery(checkpoint, checkpoint_every, resume)
    _check_form(second, key, target, background, alpha)
    model = BCNMF(
        n_components,
        alpha,
        weighting=weighting,
        loss=loss,
        solver=solver,
        damping=damping,
        max_iter=max_iter,
        tol=tol,
        dtype=dtype,
        random_state=random_state,
    )
    with in_words(verbose) as console, resumable(checkpoint, resume):
        if key is None:
            data = _Data(first, second, {"layer": layer, "mask_var": mask_var, "features": features})
        else:
            rows, others = split(first, key, target, background or target, layer, mask_var)
            data = _Data(rows, others if background else None, {"features": features})
        if not quiet:
            _show_plan(console, data, dtype, client)
        with progress(console, max_iter, quiet, describe) as callbacks:
            model.fit(
                data.target,
                background=data.background,
                client=client,
                out=out,
                callbacks=[*callbacks, log_times],
                **data.choices,
                **checkpoints,
            )
        show_run(console, model.run_)
        _show_result(console, model, out)


def _check_form(
    second: str | None, key: str | None, target: list[str] | None, background: list[str] | None, alpha: float
) -> None:
    """Two files, or one store with its labels; never half of both."""
    if key is None and (target or background):
        raise typer.BadParameter(
            "needs --key, the column of obs that holds these labels.", param_hint="--target, --background"
        )
    if key is not None and second is not None:
        raise typer.BadParameter(
            f"got a second file, {second!r}, but with --key both sides come from one STORE.", param_hint="BACKGROUND"
        )
    if key is not None and not target:
        raise typer.BadParameter("needs --target LABEL, a label of the target rows in that column.", param_hint="--key")
    if alpha > 0 and not (second or background):
        raise typer.BadParameter(
            "no background was given to contrast with. Give BACKGROUND (or, with --key, --background LABEL), "
            "or --alpha 0 for plain NMF.",
            param_hint="BACKGROUND",
        )


def _show_plan(console: Console, data: _Data, dtype: str, client: str | bool) -> None:
    inputs = read_inputs(data.target, data.background, **data.choices)
    for label, text in plan_lines(inputs, dtype, where(client)):
        say(console, f"{label:<10}", text)


def _show_result(console: Console, model: BCNMF, out: str) -> None:
    word, sentence, converged = model.status_
    as_asked = converged or model.tol == 0
    label, style = ("done:", "bold green") if as_asked and word != "collapsed" else ("warning:", "bold yellow")
    say(console, label, f"{word} after {model.n_iter_} sweeps. {in_options(sentence)}", style)
    formats = {
        "target_share": _percent,
        "background_share": _percent,
        "log2_ratio": "{:+.2f}".format,
    }
    print_table(to_pipes(), model.summary(), formats)
    say(console, "result    ", out)
    say(console, "open it   ", f"from bcnmf_dask import BCNMF; model = BCNMF.load({out!r})")


def _percent(share: float) -> str:
    return f"{share:.1%}"
