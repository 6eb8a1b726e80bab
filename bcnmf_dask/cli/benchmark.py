"""``bcnmf-dask benchmark``: measure the package on the machines at hand, and predict what larger ones would take."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import bcnmf_dask
from bcnmf_dask import plots
from bcnmf_dask.benchmarking.benchmark import Benchmark, Order, run_benchmark
from bcnmf_dask.benchmarking.calibrate import calibrate, judge
from bcnmf_dask.benchmarking.machines import FILE, load_machine, reference_machine, save_machine
from bcnmf_dask.benchmarking.model import Workload
from bcnmf_dask.benchmarking.registry import BENCHMARKS, results_in
from bcnmf_dask.benchmarking.runs import Measurement, Verdict, write
from bcnmf_dask.benchmarking.tables import page, prediction_table, summary, verdict_table
from bcnmf_dask.cli import options, running
from bcnmf_dask.cli.benchmark_figures import SHARED, measured_figure, prediction_figure
from bcnmf_dask.cli.running import client_of
from bcnmf_dask.cli.talking import in_words, print_table, reflowed, say, to_pipes
from bcnmf_dask.errors import InputError
from bcnmf_dask.updates.losses import LOSSES

HELP = """\
Measures the package on the machines at hand, and predicts what larger ones would take.

Each benchmark writes one JSON file with machine, versions, parameters, date, and whether its budgets were met or
missed. Without --scheduler or --scheduler-file it starts clusters on this machine, one after the other, of worker
processes with one thread each. A running cluster is measured at the size it has: run the benchmark once for each size
into one folder, and the report shows them together.

[bold]Examples[/bold]

  [dim]Everything on this machine, then the tables and figures:[/dim]
    bcnmf-dask benchmark all --local

  [dim]Weak scaling on a cluster that is running:[/dim]
    bcnmf-dask benchmark weak --scheduler tcp://node1:8786 --out measured

  [dim]What 4096 of this machine's cores would take for 1e8 cells:[/dim]
    bcnmf-dask benchmark predict --machine measured/machine.json
"""

app = typer.Typer(no_args_is_help=True, help=reflowed(HELP), rich_markup_mode="rich")


def results_folder() -> Path:
    """The folder of results of the checkout; where there is none, the current folder."""
    folder = Path(bcnmf_dask.__file__).parents[1] / "benchmarks" / "results"
    return folder if folder.is_dir() else Path()


def _counts(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        counts = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1:
        raise typer.BadParameter(f"got {text!r}. Expected numbers of workers, at least 1, as in 1,2,4.")
    return counts


Workers = Annotated[
    str | None,
    typer.Option(
        metavar="1,2,4",
        help="Sizes of the clusters on this machine, instead of those of the benchmark.",
        rich_help_panel=options.RUNNING,
    ),
]
Scale = Annotated[
    float,
    typer.Option(
        min=1e-4,
        help="Rows, relative to the full benchmark; small ones only show that it runs, and have no budgets.",
        show_default=True,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the results.",
        show_default="benchmarks/results of the checkout, else the current folder",
        rich_help_panel=options.DATA,
    ),
]


def _command(benchmarks: Sequence[Benchmark], name: str, after: Callable[[Console, Path], None]) -> Callable[..., None]:
    def command(
        scheduler: running.Scheduler = None,
        scheduler_file: running.SchedulerFile = None,
        local: running.Local = False,
        workers: Workers = None,
        scale: Scale = 1.0,
        out: Out = None,
        verbose: options.Verbose = False,
    ) -> None:
        where = client_of(scheduler, scheduler_file, local)
        running = None if where in (False, "local") else str(where)
        counts = _counts(workers)
        if running is not None and counts is not None:
            raise typer.BadParameter(
                "a running cluster is measured at the size it has. Leave --workers out, or start one of each size.",
                param_hint="--workers",
            )
        folder = results_folder() if out is None else out
        with in_words(verbose) as console:
            _make(folder)
            order = Order(_called(name, running is None, workers, scale), running, counts, scale, folder)
            for benchmark in benchmarks:
                _measure(console, benchmark, order)
            after(console, folder)

    return command


def _called(name: str, local: bool, workers: str | None, scale: float) -> str:
    parts = ["bcnmf-dask benchmark", name, "--local" if local else "--scheduler ADDRESS"]
    parts += [f"--workers {workers}"] if workers else []
    parts += [f"--scale {scale:g}"] if scale != 1 else []
    return " ".join(parts)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"out: the folder {str(folder)!r} cannot be made ({error.strerror}). Give a path where you may write."
        ) from error


def _measure(console: Console, benchmark: Benchmark, order: Order) -> None:
    say(console, f"{benchmark.name}:", benchmark.about)
    run = run_benchmark(benchmark, order, lambda measured: say(console, "measured", _line(measured), "dim"))
    size = "" if order.scheduler is None else f"-{max(one.workers for one in run.measurements)}-workers"
    path = order.folder / f"{benchmark.name}{size}.json"
    write(run, path)
    _show(run.verdicts)
    say(console, "result    ", f"{path}: {run.status}")


def _show(verdicts: Sequence[Verdict]) -> None:
    if verdicts:
        print_table(to_pipes(), verdict_table(verdicts), {})


def _line(measured: Measurement) -> str:
    figures = ", ".join(f"{name} {value:.3g}" for name, value in measured.figures.items())
    return f"{measured.case}, {measured.workers} workers, {measured.label}: {figures}"


def _model(console: Console, folder: Path) -> None:
    machine, checks = calibrate(results_in(folder))
    save_machine(machine, folder / FILE)
    _show(judge(checks))
    error = f"{machine.checked}, at worst {machine.relative_error:.0%} off"
    say(console, "model     ", f"{folder / FILE}: {machine.name}, {error}")


def _report(console: Console, folder: Path) -> None:
    runs = results_in(folder)
    plots.save(measured_figure(runs), folder / "scaling.png")
    (folder / "report.md").write_text(page(runs))
    typer.echo(summary(runs), nl=False)
    say(console, "look at   ", f"{folder / 'scaling.png'} and {folder / 'report.md'}")


def _model_and_report(console: Console, folder: Path) -> None:
    _model(console, folder)
    _report(console, folder)


def model(out: Out = None, verbose: options.Verbose = False) -> None:
    """Fit the scaling model to the results in a folder, check it, and write its machine.json."""
    with in_words(verbose) as console:
        _model(console, results_folder() if out is None else out)


def report(out: Out = None, verbose: options.Verbose = False) -> None:
    """Show what has a budget as a table in Markdown; write report.md with all figures, and scaling.png."""
    with in_words(verbose) as console:
        _report(console, results_folder() if out is None else out)


def predict(
    cells: Annotated[int, typer.Option(min=1, help="Rows of target and background together.")] = 10**8,
    genes: Annotated[int, typer.Option(min=1, help="Features.")] = 30_000,
    stored: Annotated[float, typer.Option(min=0, max=1, help="Share of values that are stored; 1 is dense.")] = 0.05,
    n_components: options.NComponents = options.DEFAULTS["n_components"],
    threads: Annotated[int, typer.Option(min=1, help="Of each worker.")] = 1,
    most: Annotated[int, typer.Option(min=1, help="Workers, at most.")] = 4096,
    machine: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json", help="machine.json of your own benchmarks.", show_default="the reference machine"
        ),
    ] = None,
    out: Out = None,
    verbose: options.Verbose = False,
) -> None:
    """Predict seconds per sweep on up to thousands of workers, rows resident: a table, and prediction.png."""
    with in_words(verbose) as console:
        known = reference_machine() if machine is None else load_machine(machine)
        values = round(cells * genes * stored)
        loads = [Workload(values, cells, genes, n_components, loss, sparse=stored < 1) for loss in sorted(LOSSES)]
        table = prediction_table(loads, [2**power for power in range(most.bit_length())], threads, known)
        print_table(to_pipes(), table, dict.fromkeys(table.columns[[2, 3, 4, *range(6, len(table.columns))]], _short))
        title = f"{cells:.3g} x {genes:.3g}, {stored:.3g} stored, {n_components} components"
        folder = results_folder() if out is None else out
        _make(folder)
        plots.save(prediction_figure(table, title, known), folder / "prediction.png")
        say(console, "prediction", f"not measured: from {known.name}, {known.measured}, {known.checked}")
        off = f"{known.relative_error:.0%} at worst in that; further out unknown. {SHARED}"
        say(console, "error     ", off)
        say(console, "look at   ", str(folder / "prediction.png"))


def _short(value: float) -> str:
    return f"{value:.3g}"


for _benchmark in BENCHMARKS.values():
    app.command(_benchmark.name, help=_benchmark.about)(_command([_benchmark], _benchmark.name, lambda *_: None))
app.command("all", help="All of the above, the model and the report.")(
    _command(list(BENCHMARKS.values()), "all", _model_and_report)
)
app.command("model")(model)
app.command("report")(report)
app.command("predict")(predict)
