"""``bcnmf-dask fit``: one fit, from files to a saved result."""

from functools import partial

import dask
import typer
from rich.console import Console

from bcnmf_dask.cli import options, running
from bcnmf_dask.cli.account import log_times, show_run
from bcnmf_dask.cli.given import Data, Given, data_of
from bcnmf_dask.cli.options import DEFAULTS
from bcnmf_dask.cli.plan import correction, plan_lines
from bcnmf_dask.cli.progress import describe, progress
from bcnmf_dask.cli.recovery import Checkpoint, CheckpointEvery, Resume, command_to_keep, recovery, resumable
from bcnmf_dask.cli.rescue import kept_beside
from bcnmf_dask.cli.running import client_of, place_of
from bcnmf_dask.cli.talking import in_options, in_words, print_summary, say, to_pipes
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError
from bcnmf_dask.estimator import BCNMF
from bcnmf_dask.fitting.course import Course, course_of
from bcnmf_dask.fitting.loop import Callback
from bcnmf_dask.fitting.parameters import check_batches
from bcnmf_dask.fitting.provenance import by_command
from bcnmf_dask.planning import plan_fit

HELP = """\
Fits components that explain a target and not a background, and saves them.

Give the target and the background as two files, or as one store and a column of labels. BACKGROUND may be
left out with --alpha 0, which is plain NMF.

The summary of the components goes to standard output: a table in a terminal, tab-separated lines in a pipe or
file. Everything else (the plan, progress, warnings, where the result is) goes to standard error. A fit that
collapsed or did not converge is saved, says so, and counts as done (exit code 0). Should an error end the fit after
its first sweep (exit code 1), what the sweeps gave is saved beside --out, as NAME.rescued.zarr.

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
    batch_size: options.BatchSize = DEFAULTS["batch_size"],
    converged_usages: options.ConvergedUsages = DEFAULTS["converged_usages"],
    damping: options.Damping = DEFAULTS["damping"],
    dtype: options.Dtype = DEFAULTS["dtype"],
    random_state: options.Seed = DEFAULTS["random_state"],
    max_iter: options.MaxIter = DEFAULTS["max_iter"],
    tol: options.Tol = DEFAULTS["tol"],
    scheduler: running.Scheduler = None,
    scheduler_file: running.SchedulerFile = None,
    local: running.Local = False,
    local_cuda: running.LocalCuda = False,
    device: running.Device = "auto",
    memory_limit: running.MemoryLimit = None,
    checkpoint: Checkpoint = None,
    checkpoint_every: CheckpointEvery = None,
    resume: Resume = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit, save, and show the summary; see ``HELP``."""
    client = client_of(scheduler, scheduler_file, local, local_cuda)
    checkpoints = recovery(checkpoint, checkpoint_every, resume)
    given = Given(first, second, key, target, background, layer, mask_var, features)
    given.check(needs_background=alpha is None or alpha > 0)
    _check_together(solver, batch_size)
    model = BCNMF(
        n_components,
        alpha,
        weighting=weighting,
        loss=loss,
        solver=solver,
        batch_size=batch_size,
        converged_usages=converged_usages,
        damping=damping,
        max_iter=max_iter,
        tol=tol,
        dtype=dtype,
        random_state=random_state,
    )
    course = course_of(solver, max_iter)
    limit = dask.config.set({} if memory_limit is None else {"bcnmf-dask.memory-limit": memory_limit})
    with (
        in_words(verbose) as console,
        resumable(checkpoint, resume),
        kept_beside(out),
        limit,
        by_command(command_to_keep()),
    ):
        data = data_of(given)
        corrections = [] if quiet else _show_plan(console, data, model, client, device, course)
        shown = partial(describe, step=course.step)
        with progress(console, course, quiet, shown) as callbacks:
            model.fit(
                data.target,
                background=data.background,
                client=client,
                device=device,
                out=out,
                callbacks=[*callbacks, partial(log_times, step=course.step), *corrections],
                **data.choices,
                **checkpoints,
            )
        show_run(console, model.run_, course.step)
        _show_result(console, model, course, out)


def _check_together(solver: str, batch_size: int | None) -> None:
    """Refuse options that contradict each other, before anything is read."""
    try:
        check_batches(solver, batch_size)
    except InputError as error:
        raise typer.BadParameter(in_options(str(error).partition(": ")[2]), param_hint="--batch-size") from None


def _show_plan(
    console: Console, data: Data, model: BCNMF, client: str | bool, device: str, course: Course
) -> list[Callback]:
    """Say what the fit would take; the callback corrects it."""
    inputs = read_inputs(data.target, data.background, **data.choices)
    rooms, place = place_of(client, device)
    what = (model.dtype, model.n_components, model.loss, rooms)
    plan = plan_fit(inputs, *what, here=client is False, solver=model.solver, batch_size=model.batch_size)
    for label, text in plan_lines(inputs, plan, model.dtype, place, course):
        say(console, f"{label:<10}", text)
    return [correction(console, plan, course)]


def _show_result(console: Console, model: BCNMF, course: Course, out: str) -> None:
    word, sentence, converged = model.status_
    as_asked = converged or model.tol == 0
    label, style = ("done:", "bold green") if as_asked and word != "collapsed" else ("warning:", "bold yellow")
    say(console, label, f"{word} after {_count(model, course)}. {in_options(sentence)}", style)
    print_summary(to_pipes(), model.summary())
    say(console, "result    ", out)
    say(console, "open it   ", f"from bcnmf_dask import BCNMF; model = BCNMF.load({out!r})")


def _count(model: BCNMF, course: Course) -> str:
    visited = model.history_["data_visits"].iloc[-1]
    return f"{model.n_iter_} sweeps" if course.unit == "sweep" else f"{visited:.4g} {course.unit}s"
