"""Data with a known answer, on which solvers are compared; real data are where tests/conftest.py says."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("BCNMF_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
N_GENES, N_TOP = 2000, 20


@dataclass(frozen=True)
class Problem:
    """Rows of both sides, and ``structure(components, target_usages)``: how much of the answer was found, up to 1."""

    target: Any
    background: Any
    structure: Callable[[Any, Any], float]


@cache
def kang_cells() -> tuple[sp.csr_array, Any, Any, Any]:
    """Counts of all genes, whether each cell was stimulated, the genes that vary most, and which are interferon's."""
    folder = DATA / "kang_ifnb"
    with np.load(folder / "counts.npz") as stored:
        counts = sp.csr_array((stored["data"], stored["indices"], stored["indptr"]), shape=tuple(stored["shape"]))
        genes, stimulated = stored["genes"], stored["condition"] == "stimulated"
    kept = np.sort(np.argsort(-logged(counts).toarray().var(axis=0))[:N_GENES])
    interferon = np.isin(genes[kept], (folder / "interferon_genes.txt").read_text().split())
    return counts, stimulated, kept, interferon


def logged(counts: sp.csr_array) -> sp.csr_array:
    """Logarithms of counts that were scaled to the median total of these cells."""
    totals = counts.sum(axis=1)
    return sp.csr_array(sp.diags_array(np.median(totals) / np.maximum(totals, 1)) @ counts).log1p()


def kang_sides(seed: int) -> tuple[Any, Any]:
    """Cells of the target, stimulated and half of the controls, and of the background, the other controls."""
    stimulated = kang_cells()[1]
    controls = np.random.default_rng(seed).permutation(np.flatnonzero(~stimulated))
    half = len(controls) // 2
    return np.concatenate([np.flatnonzero(stimulated), controls[:half]]), controls[half:]


def kang(seed: int, loss: str) -> Problem:
    """Interferon-stimulated cells against controls: the fraction of interferon genes in the top of all components."""
    counts, _, kept, _ = kang_cells()
    rows = logged(counts)[:, kept].toarray() if loss == "frobenius" else counts[:, kept]
    target, background = kang_sides(seed)
    return Problem(rows[target], rows[background], interferon_fraction)


def interferon_fraction(components: Any, _: Any) -> float:
    """Of the top genes of all components."""
    return float(kang_cells()[3][np.argsort(-components, axis=1)[:, :N_TOP]].mean())


def demo_images() -> tuple[Any, Any, Any]:
    """The authors' handwritten zeros and ones on texture, texture alone, and the digit of each target image."""
    folder = DATA / "bcnmf_demo"
    sides = [pd.read_csv(folder / f"{side}_images.csv", index_col=0).to_numpy().T for side in ("target", "background")]
    return sides[0], sides[1], pd.read_csv(folder / "target_labels.csv")["digit"].to_numpy()


def digits(_seed: int, _loss: str) -> Problem:
    """Handwritten zeros and ones on texture against texture: agreement of clusters with the digits."""
    target, background, labels = demo_images()
    return Problem(target, background, agreement(labels))


def simulated_counts(seed: int, beta: float = 4.0) -> tuple[Any, Any, Any]:
    """Counts of two target programs under a strong background, of that alone, and the program of each target cell."""
    draw = np.random.default_rng(seed)
    n_genes, n_cells = 3000, 1000
    shared, specific = draw.gamma(0.5, 0.01, (5, n_genes)), draw.gamma(0.5, 0.005, (2, n_genes))
    for number in range(5):
        shared[number, 250 * number : 250 * (number + 1)] += draw.gamma(2.0, 0.6, 250)
    for number in range(2):
        specific[number, 1250 + 120 * number : 1250 + 120 * (number + 1)] += draw.gamma(2.0, 0.9, 120)
    noise, labels = draw.gamma(1.0, 1.0, n_genes), draw.permutation(np.repeat([0, 1], n_cells // 2))

    def drawn(extra):
        mean = 10 * beta * shared[draw.integers(5, size=n_cells)] + extra
        mean += 0.02 + 0.01 * np.outer(draw.gamma(1.0, 1.0, n_cells), noise)
        return draw.poisson(mean * draw.lognormal(0.0, 0.35, (n_cells, 1)))

    return drawn(0.15 * specific[labels]), drawn(0.0), labels


def per_ten_thousand(counts: Any) -> Any:
    """Logarithms of counts that were scaled to a total of 10,000 per cell."""
    return np.log1p(counts * (1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1)))


def simulation(seed: int, _loss: str, beta: float = 4.0, counts: bool = False) -> Problem:
    """The simulated counts, log-normalised or as they are: agreement of clusters with the programs."""
    *sides, labels = simulated_counts(seed, beta)
    return Problem(*(side if counts else per_ten_thousand(side) for side in sides), agreement(labels))


def agreement(labels: Any, n_clusters: int = 2) -> Callable[[Any, Any], float]:
    """Structure: the adjusted Rand index of clusters of usages against labels."""

    def structure(_, usages):
        return adjusted_rand_score(labels, KMeans(n_clusters, n_init=10, random_state=0).fit_predict(usages))

    return structure


def atlas(
    n_cells: int, seed: int, loss: str, n_genes: int = 500, depth: float = 40.0
) -> tuple[sp.csr_array, sp.csr_array]:
    """Many simulated cells, two thirds of them target: counts, or for Frobenius their log-normalised values.

    A cell draws its molecules from a few of eight shared programs; a target cell draws 15 % of them, on average, from
    four programs of its own. With the usual numbers of genes and molecules about 7 % of the values are stored.
    """
    draw = np.random.default_rng([seed, 77])
    programs = atlas_programs(draw, n_genes)
    n_target = round(n_cells * 2 / 3)
    sides = [
        _drawn(draw, programs, size, strength, depth)
        for size, strength in ((n_target, 0.15), (n_cells - n_target, 0.0))
    ]
    if loss == "kullback-leibler":
        return sides[0], sides[1]
    scale = np.median(sides[0].sum(axis=1))
    return _log_normalised(sides[0], scale), _log_normalised(sides[1], scale)


def atlas_programs(draw: np.random.Generator, n_genes: int) -> Any:
    """Eight shared programs and four of the target's own, (12, n_genes); rows sum to one."""
    programs = draw.gamma(0.5, 0.02, (12, n_genes))
    own = round(0.8 * n_genes)
    for number in range(12):
        shared = draw.choice(own, int(0.15 * n_genes), replace=False)
        genes = shared if number < 8 else own + np.arange(number - 8, n_genes - own, 4)
        programs[number, genes] += draw.gamma(2.0, 1.0, len(genes))
    return programs / programs.sum(axis=1, keepdims=True)


def _drawn(
    draw: np.random.Generator, programs: Any, n_cells: int, strength: float, depth: float, step: int = 20_000
) -> sp.csr_array:
    parts = []
    for start in range(0, n_cells, step):
        size = min(step, n_cells - start)
        mixture = np.zeros((size, 12), np.float32)
        mixture[:, :8] = draw.dirichlet(np.full(8, 0.3), size)
        if strength:
            share = draw.beta(2, 2 / strength - 2, size)[:, None]
            mixture[:, :8] *= 1 - share
            mixture[:, 8:] = share * draw.dirichlet(np.full(4, 0.3), size)
        molecules = depth * draw.lognormal(0, 0.4, (size, 1))
        parts.append(sp.csr_array(draw.poisson(mixture @ programs * molecules).astype(np.float32)))
    return sp.csr_array(sp.vstack(parts))


def _log_normalised(rows: sp.csr_array, scale: float) -> sp.csr_array:
    totals = np.maximum(rows.sum(axis=1), 1)
    rows.data = np.log1p(rows.data * np.repeat(scale / totals, np.diff(rows.indptr))).astype(np.float32)
    return rows
