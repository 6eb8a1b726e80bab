"""``bcnmf-dask plan``, and what a fit is about to do, in lines for people."""

from collections.abc import Iterator
from datetime import timedelta
from statistics import median

import dask
from rich.console import Console

from bcnmf_dask.cli import imagined, options, running
from bcnmf_dask.cli.given import Given, data_of
from bcnmf_dask.cli.options import DEFAULTS
from bcnmf_dask.cli.running import client_of, place_of
from bcnmf_dask.cli.talking import in_words, say
from bcnmf_dask.data.inputs import Inputs, Store, read_inputs
from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting.course import Course, course_of
from bcnmf_dask.fitting.loop import Callback
from bcnmf_dask.fitting.stopping import SweepRecord
from bcnmf_dask.planning import FitPlan, plan_fit

Lines = Iterator[tuple[str, str]]

HELP = """\
Says what a fit would take, before it runs: shards, memory of each worker, which rows stay in memory and which are read
in each sweep, and time. A fit that cannot fit is refused, with what is missing.

By default it plans for where the same options would run the fit. --workers, --threads, --memory and --device-memory
plan for a cluster that you do not have yet.

[bold]Examples[/bold]

  [dim]On this machine:[/dim]
    bcnmf-dask plan stim.h5ad ctrl.h5ad --layer counts

  [dim]On 16 workers of 8 threads and 64 GB each:[/dim]
    bcnmf-dask plan atlas.zarr --key condition --target stim \\
        --background ctrl --workers 16 --threads 8 --memory "64 GB"

  [dim]On 4 GPUs of 80 GB:[/dim]
    bcnmf-dask plan atlas.zarr --key condition --target stim \\
        --background ctrl --workers 4 --memory "128 GB" --device-memory "80 GB"
"""

FIRST_SWEEPS = 5
"""After which the prediction is replaced by what was measured; the first of all compiles kernels."""


def plan(
    first: options.First,
    second: options.Second = None,
    *,
    key: options.Key = None,
    target: options.TargetLabels = None,
    background: options.BackgroundLabels = None,
    layer: options.Layer = None,
    mask_var: options.MaskVar = None,
    features: options.Features = "strict",
    n_components: options.NComponents = DEFAULTS["n_components"],
    loss: options.Loss = DEFAULTS["loss"],
    dtype: options.Dtype = DEFAULTS["dtype"],
    solver: options.Solver = DEFAULTS["solver"],
    max_iter: options.MaxIter = DEFAULTS["max_iter"],
    scheduler: running.Scheduler = None,
    scheduler_file: running.SchedulerFile = None,
    local: running.Local = False,
    local_cuda: running.LocalCuda = False,
    workers: imagined.Workers = None,
    threads: imagined.Threads = None,
    memory: imagined.Memory = None,
    device_memory: imagined.DeviceMemory = None,
    device: running.Device = "auto",
    memory_limit: running.MemoryLimit = None,
    verbose: options.Verbose = False,
) -> None:
    """Say what a fit would take; see ``HELP``."""
    client = client_of(scheduler, scheduler_file, local, local_cuda)
    given = Given(first, second, key, target, background, layer, mask_var, features)
    given.check(needs_background=False)
    sizes = (workers, threads, memory, device_memory)
    elsewhere = client is not False
    cluster = imagined.cluster_of(*sizes, memory_limit=memory_limit, device=device, elsewhere=elsewhere)
    limit = dask.config.set({} if memory_limit is None else {"bcnmf-dask.memory-limit": memory_limit})
    with in_words(verbose) as console, limit:
        data = data_of(given)
        inputs = read_inputs(data.target, data.background, **data.choices)
        rooms, place = cluster or place_of(client, device)
        here = client is False and cluster is None
        planned = plan_fit(inputs, dtype, n_components, loss, rooms, here=here, solver=solver)
        for label, text in plan_lines(inputs, planned, dtype, place, course_of(solver, max_iter)):
            say(console, f"{label:<10}", text)
        if planned.missing_bytes:
            raise InputError("memory: this fit does not fit; the plan above says what is missing.")


def plan_lines(inputs: Inputs, plan: FitPlan, dtype: str, place: str, course: Course) -> Lines:
    """Labels and texts: rows of each role, features, stored values, memory, shards, where it runs, and time.

    Parameters
    ----------
    inputs : Inputs
    plan : FitPlan
    dtype : {"float32", "float64"}
        Of the fit.
    place : str
        Where it runs, in words.
    course : Course
        Of the fit.
    """
    for role, count in inputs.n_rows.items():
        yield role, f"{count:,} rows from {_origin(inputs, role)}"
    yield "features", f"{inputs.n_features:,}{_chosen(inputs)}"
    yield "values", _values(inputs, plan.shards)
    yield "rows", f"{_bound(inputs)} {size(plan.row_bytes)} as {dtype}, {_staying(plan, course)}"
    yield "shards", f"{len(plan.shards.shards):,}, computed in {plan.shards.n_blocks:,} blocks of rows"
    yield "runs", place
    if plan.worker_bytes:
        yield "memory", _memory(plan)
    yield "time", _time(plan, course)


def _staying(plan: FitPlan, course: Course) -> str:
    if not plan.worker_bytes:
        return "and whether they stay in memory is known once there are workers"
    here = f"stay in memory and move to the device in each {course.unit}" if plan.on_devices else "stay in memory"
    parts = {
        "stay on the device": plan.device_bytes,
        here: plan.row_bytes - plan.device_bytes - plan.streamed_bytes,
        f"do not fit in memory and are read in each {course.unit}": plan.streamed_bytes,
    }
    there = {words: n_bytes for words, n_bytes in parts.items() if n_bytes}
    if len(there) < 2:
        return f"all {next(iter(there), here)}"
    return "of which " + ", ".join(f"{size(n_bytes)} {words}" for words, n_bytes in there.items())


def _memory(plan: FitPlan) -> str:
    added = f"{size(plan.worker_bytes)} at most that a fit adds to a worker"
    if not plan.missing_bytes:
        return added
    return (
        f"{added}, {size(plan.missing_bytes)} more than it can give: expect it to be stopped. Give more workers, or "
        "workers with more memory"
    )


def _time(plan: FitPlan, course: Course) -> str:
    if not plan.worker_bytes:
        return "known after the first sweeps: the cluster has no worker yet"
    if plan.prediction is None:
        return "known after the first sweeps: this package was not measured for such a fit"
    seconds = plan.prediction.seconds_per_sweep
    whole = f"{lasting(seconds * course.most)} for {course.most} {course.unit}s"
    if course.unit != "sweep":
        whole += " if each lasts as long (more where batches are small)"
    return (
        f"about {seconds:.2g} s per sweep, {whole}: a prediction from measurements on {plan.machine.name} (may be off "
        f"by {plan.prediction.relative_error:.0%} and more), corrected soon after the fit has begun"
    )


def correction(console: Console, plan: FitPlan, course: Course) -> Callback:
    """A callback that says, after the first sweeps or batches, how long the fit will really take."""
    first: list[SweepRecord] = []

    def correct(record: SweepRecord) -> None:
        first.append(record)
        left = course.left(record)
        if len(first) == FIRST_SWEEPS and left > 0:
            share = (course.done(record) - course.done(first[0])) / (FIRST_SWEEPS - 1)
            now = median(one.seconds for one in first) / share
            before = "" if plan.prediction is None else f" (predicted {plan.prediction.seconds_per_sweep:.2g})"
            more = f"{course.bound} {lasting(now * left)} more"
            say(console, "time      ", f"{now:.2g} s per {course.unit} as measured{before}: {more}")

    return correct


def lasting(seconds: float) -> str:
    """A time in words."""
    return str(timedelta(seconds=round(seconds))) if seconds >= 60 else f"{seconds:.2g} s"


def size(n_bytes: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _origin(inputs: Inputs, role: str) -> str:
    store = next(store for store in inputs.stores if role in store.masks)
    return store.source.location or "memory"


def _chosen(inputs: Inputs) -> str:
    widest = max(store.source.shape[1] for store in inputs.stores)
    return f" of {widest:,}" if inputs.n_features < widest else ""


def _values(inputs: Inputs, plan: ShardPlan) -> str:
    entries = sum(store.source.shape[0] * store.source.shape[1] for store in inputs.stores)
    kinds = " and ".join(sorted({"sparse (CSR)" if store.source.sparse else "dense" for store in inputs.stores}))
    return f"{plan.stored_values:,} stored, {plan.stored_values / entries:.1%} of all entries, {kinds}"


def _bound(inputs: Inputs) -> str:
    return "at most" if any(_cut_sparse(store) for store in inputs.stores) else "about"


def _cut_sparse(store: Store) -> bool:
    return store.source.sparse and store.columns is not None
