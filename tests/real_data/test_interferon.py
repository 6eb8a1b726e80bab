"""Blood cells with and without interferon-beta (Kang et al. 2018): the contrast must find the interferon genes.

The target holds the stimulated cells and a random half of the controls, the background the other controls.
Counts are scaled to the median library and log-transformed; the 2000 genes of largest variance are kept.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bcnmf_dask import BCNMF

SEEDS = range(3)
N_GENES = 2000
N_TOP = 20


@dataclass(frozen=True)
class Cells:
    """Counts and log-normalised values of the most variable genes, and what is known of cells and genes."""

    counts: sp.csr_array
    logged: NDArray[np.float64]
    stimulated: NDArray[np.bool_]
    interferon: NDArray[np.bool_]


@pytest.fixture(scope="module")
def cells(data_folder):
    folder = data_folder("kang_ifnb")
    with np.load(folder / "counts.npz") as stored:
        counts = sp.csr_array((stored["data"], stored["indices"], stored["indptr"]), shape=tuple(stored["shape"]))
        genes, stimulated = stored["genes"], stored["condition"] == "stimulated"
    logged = log_normalised(counts)
    kept = np.sort(np.argsort(-logged.var(axis=0))[:N_GENES])
    interferon = np.isin(genes[kept], (folder / "interferon_genes.txt").read_text().split())
    return Cells(counts[:, kept], logged[:, kept], stimulated, interferon)


def log_normalised(counts):
    totals = counts.sum(axis=1)
    return np.log1p(counts.toarray() * (np.median(totals) / totals)[:, None])


def separation(cells, rows, seed, background_share=1.0, **parameters):
    """Fraction of interferon genes among the top genes of all components, and AUROC of a cell's total usage."""
    controls = np.random.default_rng(seed).permutation(np.flatnonzero(~cells.stimulated))
    half = len(controls) // 2
    target = np.concatenate([np.flatnonzero(cells.stimulated), controls[:half]])
    background = controls[half:][: round((len(controls) - half) * background_share)]
    model = BCNMF(n_components=10, max_iter=100, tol=0, random_state=seed, **parameters)
    model.fit(rows[target], background=rows[background])
    top = np.argsort(-model.components_, axis=1)[:, :N_TOP]
    area = roc_auc_score(cells.stimulated[target], model.target_usages_.sum(axis=1))
    return cells.interferon[top].mean(), area


def mean_separation(cells, rows, **given):
    return np.mean([separation(cells, rows, seed, **given) for seed in SEEDS], axis=0)


def test_plain_factorization_does_not_see_interferon(cells):
    """Else the tests below would show nothing."""
    genes, area = separation(cells, cells.logged, 0, loss="frobenius", alpha=0.0)
    assert genes < 0.4
    assert area < 0.8


def test_the_published_objective_finds_interferon(cells):
    genes, area = mean_separation(cells, cells.logged, loss="frobenius", alpha=10.0, weighting="sum")
    assert genes >= 0.75
    assert area >= 0.95


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_weighting_by_means_finds_it_with_any_number_of_background_cells(cells, share):
    genes, area = mean_separation(
        cells, cells.logged, loss="frobenius", alpha=2.0, weighting="mean", background_share=share
    )
    assert genes >= 0.7
    assert area >= 0.95


def test_weighting_by_sums_does_not_find_it_with_few_background_cells(cells):
    """Why the default weighs by means (mathematics, fact 4)."""
    genes, area = separation(
        cells, cells.logged, 0, loss="frobenius", alpha=10.0, weighting="sum", background_share=0.2
    )
    assert genes < 0.6
    assert area < 0.95


def test_counts_as_they_are_find_interferon_genes(cells):
    """Kullback-Leibler, damping 0.5, CSR. Total usages follow the depth of a cell here, so only genes are judged."""
    parameters = {"loss": "kullback-leibler", "alpha": 10.0, "weighting": "sum", "damping": 0.5}
    genes, _ = separation(cells, cells.counts, 0, **parameters)
    assert genes >= 0.75
