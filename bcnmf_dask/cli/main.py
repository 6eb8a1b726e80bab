"""The ``bcnmf-dask`` command: what it is, and the list of its subcommands."""

from typing import Annotated

import typer

import bcnmf_dask
from bcnmf_dask.cli import benchmark, demo, fit, info, ingest, plan
from bcnmf_dask.cli.talking import reflowed

HELP = """\
Finds what is specific to a target: components that explain it, and do not explain a background.

The [bold]target[/bold] holds the cells (or images, or samples) you ask about, for example stimulated cells.
The [bold]background[/bold] holds what you want to see past, for example untreated cells: everything that both
share is left out of the components as far as --alpha says. Both are tables of cells x features without
negative numbers, with the same features.

The method is background-contrastive non-negative matrix factorization (bcNMF, arXiv 2602.22387).

[bold]Start here[/bold]

  [dim]See it work on images, in under a minute:[/dim]
    bcnmf-dask demo

  [dim]Your own data, in two files, or in one with a column of labels:[/dim]
    bcnmf-dask fit stim.h5ad ctrl.h5ad --layer counts --out fit.zarr
    bcnmf-dask fit atlas.zarr --key condition --target stim \\
        --background ctrl --out fit.zarr
"""

app = typer.Typer(
    name="bcnmf-dask",
    help=reflowed(HELP),
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", help=reflowed(demo.HELP))(demo.demo)
app.command("fit", help=reflowed(fit.HELP), no_args_is_help=True)(fit.fit)
app.command("info", help=reflowed(info.HELP), no_args_is_help=True)(info.info)
app.command("plan", help=reflowed(plan.HELP), no_args_is_help=True)(plan.plan)
app.add_typer(benchmark.app, name="benchmark")
app.command("ingest", help=reflowed(ingest.HELP), no_args_is_help=True)(ingest.ingest)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bcnmf-dask {bcnmf_dask.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Options before the name of a subcommand."""


def main() -> None:
    """Run the command line: exit code 0 done, 1 an error in words, 2 wrong usage, 70 unexpected.

    75: stopped, and to be resumed; 130: stopped with Ctrl-C; 143: stopped by SIGTERM.
    """
    app()
