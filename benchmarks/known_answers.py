"""Data with a known answer, on which solvers are compared; real data are where tests/conftest.py says."""

import os
from collections.abc import Callable
from dataclasses import dataclass
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


def kang(seed: int, loss: str) -> Problem:
    """Interferon-stimulated cells against controls: the fraction of interferon genes in the top of all components."""
    folder = DATA / "kang_ifnb"
    with np.load(folder / "counts.npz") as stored:
        counts = sp.csr_array((stored["data"], stored["indices"], stored["indptr"]), shape=tuple(stored["shape"]))
        genes, stimulated = stored["genes"], stored["condition"] == "stimulated"
    totals = counts.sum(axis=1)
    logged = np.log1p(counts.toarray() * (np.median(totals) / totals)[:, None])
    kept = np.sort(np.argsort(-logged.var(axis=0))[:N_GENES])
    interferon = np.isin(genes[kept], (folder / "interferon_genes.txt").read_text().split())
    rows = logged[:, kept] if loss == "frobenius" else counts[:, kept]
    controls = np.random.default_rng(seed).permutation(np.flatnonzero(~stimulated))
    half = len(controls) // 2
    target = np.concatenate([np.flatnonzero(stimulated), controls[:half]])

    def structure(components, _):
        return interferon[np.argsort(-components, axis=1)[:, :N_TOP]].mean()

    return Problem(rows[target], rows[controls[half:]], structure)


def digits(_seed: int, _loss: str) -> Problem:
    """Handwritten zeros and ones on texture against texture: agreement of clusters with the digits."""
    folder = DATA / "bcnmf_demo"
    sides = [pd.read_csv(folder / f"{side}_images.csv", index_col=0).to_numpy().T for side in ("target", "background")]
    return Problem(*sides, agreement(pd.read_csv(folder / "target_labels.csv")["digit"].to_numpy()))


def simulation(seed: int, _loss: str, beta: float = 4.0, counts: bool = False) -> Problem:
    """Two target programs under a strong background, log-normalised or as counts: agreement of clusters with them."""
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

    sides = drawn(0.15 * specific[labels]), drawn(0.0)
    if not counts:
        sides = tuple(np.log1p(side * (1e4 / np.maximum(side.sum(axis=1, keepdims=True), 1))) for side in sides)
    return Problem(*sides, agreement(labels))


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
