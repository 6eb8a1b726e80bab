"""``bcnmf-dask demo``: the whole of the tool on small images, on a cluster of two workers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bcnmf_dask import plots
from bcnmf_dask.cli import options
from bcnmf_dask.cli.progress import progress
from bcnmf_dask.cli.talking import in_words, print_table, say, to_pipes
from bcnmf_dask.demo import ALPHAS, MAX_ITER, DemoImages, Fits, demo_fits, demo_images, pictures, score_table
from bcnmf_dask.engine.clusters import local_cluster
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitting.course import sweeps

N_WORKERS = 2

HELP = f"""\
Shows what the tool does on images you can judge by eye, in under a minute.

The target holds handwritten digits, 0 or 1, each over a patch of a photograph; the background holds other
patches alone. Plain NMF (alpha 0) and bcNMF (alpha {ALPHAS["bcNMF"]:g}) are fitted from several random starts, all in
one run on a Dask cluster of two worker processes. Then two clusters of the usages are compared with the digits: an
adjusted Rand index (ARI) of 1 is full agreement, 0 is chance.

The table of these scores goes to standard output (tab-separated in a pipe or file), all else to standard error.
The folder gets the fit and pictures of the images, the components, the usages, and the convergence.

[bold]Example[/bold]

  bcnmf-dask demo --out bcnmf-demo
"""

LOOK_AT = {
    "images.png": "what the fits were given: digits over patches, and patches alone",
    "components.png": "what each method found: are these digits, or light and dark of the patches?",
    "usages.png": "every image by its usages of the two components: do the digits part?",
    "convergence.png": "how the fits settled over the sweeps",
}


def demo(
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="New or empty folder for the fit and the pictures.", rich_help_panel=options.DATA
        ),
    ] = Path("bcnmf-demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Random starts of each method.", rich_help_panel=options.MODEL)] = 5,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit, score, draw; see ``HELP``."""
    with in_words(verbose) as console:
        _make_folder(out)
        images = demo_images()
        if not quiet:
            _show_plan(console, images, seeds)
        fits = _fit_on_cluster(console, images, seeds, out, quiet)
        formats = dict.fromkeys(("mean_ARI", "std", "min", "max"), "{:.2f}".format) | {"alpha": "{:g}".format}
        print_table(to_pipes(), score_table(fits, images.labels), formats)
        for name, figure in pictures(images, fits).items():
            plots.save(figure, out / name)
        _show_where(console, out)


def _make_folder(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"out: {str(out)!r} is there already and is not an empty folder. Give a new one with --out.")
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"out: the folder {str(out)!r} cannot be made ({error.strerror}). Give a path where you may write."
        ) from error


def _fit_on_cluster(console: Console, images: DemoImages, seeds: int, out: Path, quiet: bool) -> Fits:
    count = len(ALPHAS) * seeds
    with (
        progress(
            console, sweeps(MAX_ITER), quiet, lambda _: f"{count} fits share every visit of the images"
        ) as callbacks,
        local_cluster(N_WORKERS) as cluster,
    ):
        return demo_fits(images, seeds, out=out / "fit.zarr", client=cluster.scheduler_address, callbacks=callbacks)


def _show_plan(console: Console, images: DemoImages, seeds: int) -> None:
    n_features = images.target.shape[1]
    say(console, "target    ", f"{len(images.target)} images of {n_features} pixels: digits 0 and 1 over patches")
    say(console, "background", f"{len(images.background)} images of {n_features} pixels: patches alone")
    say(console, "fits      ", f"{' and '.join(ALPHAS)}, {seeds} random starts each, {MAX_ITER} sweeps")
    say(console, "runs      ", f"on this machine, a Dask cluster of {N_WORKERS} worker processes")


def _show_where(console: Console, out: Path) -> None:
    say(console, "ARI       ", "1: the usages part the digits fully, 0: no better than chance")
    for name, meaning in LOOK_AT.items():
        say(console, "look at   ", f"{out / name}: {meaning}")
    fit = str(out / "fit.zarr")
    say(console, "result    ", f"{fit}: the fit of bcNMF from the first start")
    say(console, "open it   ", f"from bcnmf_dask import BCNMF; model = BCNMF.load({fit!r})")
