"""The demonstration: handwritten digits over patches of photographs, told apart by bcNMF and not by plain NMF.

All images ship with scikit-learn. The target holds digits 0 and 1, each over a random patch of a photograph; the
background holds other patches alone. Plain NMF of the target describes the light and dark of the patches; with
the patches as background, components of the digits are left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_sample_images
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from bcnmf_dask import plots
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.loop import Callback
from bcnmf_dask.fitting.parameters import DEFAULT_ALPHAS
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.results.record import FitResult

SIDE = 8
"""Pixels of an image are 8 x 8."""
STEP = 3
"""Every third pixel of a photograph is taken."""
N_BACKGROUND = 400
DATA_SEED = 0
MAX_ITER = 300
ALPHAS: Mapping[str, float] = {"plain NMF": 0.0, "bcNMF": DEFAULT_ALPHAS["frobenius"]}
"""The methods compared, by the strength of their contrast."""

Fits = Mapping[str, Sequence[FitResult]]


@dataclass(frozen=True, eq=False)
class DemoImages:
    """Images of 8 x 8 pixels, one per row, values in [0, 1].

    Attributes
    ----------
    target : ndarray (360, 64), float64
        Digits over patches.
    background : ndarray (400, 64), float64
        Patches.
    labels : ndarray (360,) of int
        The digits of the target, 0 or 1.
    """

    target: NDArray[np.float64]
    background: NDArray[np.float64]
    labels: NDArray[np.int64]


def demo_images() -> DemoImages:
    """Make the images of the demonstration; always the same."""
    digits, labels = load_digits(n_class=2, return_X_y=True)
    patches = _patches(len(digits) + N_BACKGROUND, np.random.default_rng(DATA_SEED))
    over, alone = patches[: len(digits)], patches[len(digits) :]
    return DemoImages(np.maximum(digits / 16, over), alone, labels)


def _patches(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Random windows of the two photographs, grey, each scaled to run from 0 to 1."""
    photographs = [image.mean(axis=2) for image in load_sample_images().images]
    size = SIDE * STEP
    patches = np.empty((count, SIDE * SIDE))
    for patch in patches:
        photograph = photographs[generator.integers(len(photographs))]
        top, left = generator.integers(0, np.array(photograph.shape) - size + 1)
        patch[:] = photograph[top : top + size : STEP, left : left + size : STEP].ravel()
    darkest, brightest = patches.min(axis=1, keepdims=True), patches.max(axis=1, keepdims=True)
    scaled: NDArray[np.float64] = (patches - darkest) / np.maximum(brightest - darkest, 1)  # one grey becomes 0
    return scaled


def demo_fits(
    images: DemoImages, n_seeds: int, *, out: Path, client: Any = False, callbacks: Sequence[Callback] = ()
) -> Fits:
    """Fit the images with and without contrast from several starts, all in one run.

    Parameters
    ----------
    images : DemoImages
    n_seeds : int
        Starts per method.
    out : path
        Where the first fit of bcNMF is saved.
    client : object
        Where to run, as in `BCNMF.fit`.
    callbacks : sequence of callable
        Called after every sweep with the record of each fit.

    Returns
    -------
    mapping of method to results, one per seed
    """
    settings = [
        Settings(2, alpha, "deviance", "frobenius", None, MAX_ITER, 0.0, seed)
        for alpha in ALPHAS.values()
        for seed in range(n_seeds)
    ]
    outs = [out if one.alpha > 0 and one.seed == 0 else None for one in settings]
    inputs = read_inputs(images.target, images.background)
    results = factorize(inputs, settings, dtype="float32", client=client, outs=outs, callbacks=callbacks)
    return {method: results[place * n_seeds : (place + 1) * n_seeds] for place, method in enumerate(ALPHAS)}


def digit_scores(results: Sequence[FitResult], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How well two clusters of the target usages agree with the digits, for each fit.

    Returns
    -------
    ndarray (n_fits,)
        Adjusted Rand index of k-means: 1 is full agreement, 0 that of chance.
    """
    kmeans = KMeans(2, n_init=10, random_state=0)
    with threadpool_limits(1):  # on so few points, threads only wait for one another
        clusters = [kmeans.fit_predict(np.asarray(result.target_usages)) for result in results]
    return np.array([adjusted_rand_score(labels, found) for found in clusters])


def score_table(fits: Fits, labels: NDArray[np.int64]) -> pd.DataFrame:
    """One row per method: alpha, number of fits, and mean, standard deviation and range of `digit_scores`."""
    scores = {method: digit_scores(results, labels) for method, results in fits.items()}
    return pd.DataFrame(
        [
            {
                "method": method,
                "alpha": ALPHAS[method],
                "fits": len(found),
                "mean_ARI": found.mean(),
                "std": found.std(),
                "min": found.min(),
                "max": found.max(),
            }
            for method, found in scores.items()
        ]
    )


def pictures(images: DemoImages, fits: Fits) -> dict[str, Figure]:
    """The figures of the demonstration by file name; fits are those of the first seed."""
    first = {f"{method} (alpha {ALPHAS[method]:g})": results[0] for method, results in fits.items()}
    n_shown = plots.IMAGES_PER_ROW
    shown = np.vstack([images.target[:n_shown], images.background[:n_shown]])
    digits = [f"target, digit {label}" for label in images.labels[:n_shown]]
    titles = [f"{title.partition(' (')[0]}, component {index}" for title in first for index in range(2)]
    components = np.vstack([result.components for result in first.values()])
    return {
        "images.png": plots.component_images(shown, (SIDE, SIDE), digits + ["background"] * n_shown),
        "components.png": plots.component_images(components, (SIDE, SIDE), titles),
        "usages.png": plots.usage_scatter(
            {title: np.asarray(result.target_usages) for title, result in first.items()},
            np.array([f"digit {label}" for label in images.labels]),
        ),
        "convergence.png": plots.convergence({title: result.history for title, result in first.items()}),
    }
