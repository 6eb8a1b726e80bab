"""Problems on which collapses are looked for: thresholds are chosen on one half of them and judged on the other."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import known_answers
import numpy as np
import pandas as pd
import scipy.sparse as sp
from known_answers import DATA, N_TOP, Problem
from scipy.optimize import linear_sum_assignment

LOSSES = ("frobenius", "kullback-leibler")
ALPHAS = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 100.0, 1000.0)
MODEST = (0.0, 0.5, 1.0)
"""The contrasts of data without a key: at these a fit has not collapsed."""


@dataclass(frozen=True)
class Case:
    """A problem, and the fits that are made of it.

    Attributes
    ----------
    name, kind : str
        The kind is what results are told apart by.
    half : {"development", "test"}
    losses : tuple of str
    make : callable
        ``make(loss)`` gives the `Problem`; its structure is None where there is no key.
    ranks : tuple of int
    keyed : bool
        Whether the answer is known.
    """

    name: str
    kind: str
    half: Literal["development", "test"]
    make: Callable[[str], Problem]
    ranks: tuple[int, ...] = (2, 5, 10)
    losses: tuple[str, ...] = LOSSES
    keyed: bool = True

    @property
    def alphas(self) -> tuple[float, ...]:
        """Of its fits."""
        return ALPHAS if self.keyed else MODEST


def log_normalised(counts: Any) -> Any:
    """Counts scaled to the median total of a row, and their logarithm."""
    rows = sp.csr_array(counts).astype(np.float64)
    totals = np.maximum(rows.sum(axis=1), 1)
    rows.data = np.log1p(rows.data * np.repeat(np.median(totals) / totals, np.diff(rows.indptr)))
    return rows.astype(np.float32)


def stored(path: str) -> tuple[sp.csr_array, dict[str, Any]]:
    """A matrix of counts and what comes with it."""
    with np.load(DATA / path) as file:
        rows = sp.csr_array(
            (file["data"], file["indices"].astype(np.int32), file["indptr"]), shape=tuple(file["shape"])
        )
        return rows.astype(np.float32), {name: file[name] for name in file.files}


def as_loss(counts: Any, loss: str) -> Any:
    """Counts for Kullback-Leibler, logarithms for Frobenius."""
    return log_normalised(counts) if loss == "frobenius" else sp.csr_array(counts).astype(np.float32)


def programs(seed: int, loss: str, usages_alone: bool = False) -> Problem:
    """Random numbers of cells, shared and own programs, depths and strengths; structure: `factor_match`."""
    draw = np.random.default_rng([seed, 991])
    n_own, n_shared, n_genes = int(draw.integers(1, 7)), int(draw.integers(2, 9)), 500
    sizes = int(draw.integers(250, 700)), int(draw.integers(200, 700))
    strength, depth = float(draw.choice([0.08, 0.15, 0.3])), float(draw.choice([200, 500, 1500]))
    profiles = np.vstack([draw.gamma(0.5, 0.02, (n_shared, n_genes)), draw.gamma(0.5, 0.01, (n_own, n_genes))])
    for number, profile in enumerate(profiles):
        genes = draw.choice(n_genes, 50 if number < n_shared else 30, replace=False)
        profile[genes] += draw.gamma(2, 1.0, len(genes))
    profiles /= profiles.sum(axis=1, keepdims=True)
    house = draw.gamma(1, 1, n_genes)
    house /= house.sum()
    weights = draw.dirichlet(np.full(n_shared, 2.0))

    def side(size: int, own: Any) -> Any:
        shares = weights if own is None or draw.random() < 0.6 else draw.dirichlet(np.full(n_shared, 2.0))
        mixture = 0.8 * np.eye(n_shared)[draw.choice(n_shared, size, p=shares)]
        mixture += 0.2 * draw.dirichlet(np.full(n_shared, 0.3), size)
        mean = 0.75 * mixture @ profiles[:n_shared] + 0.25 * house * draw.gamma(2, 0.5, (size, 1))
        mean += 0 if own is None else own @ profiles[n_shared:]
        return draw.poisson(mean * depth * draw.lognormal(0, 0.35, (size, 1)))

    fractions = draw.choice([0.05, 0.1, 0.25, 0.5, 1.0], n_own)
    fractions[0] = max(fractions[0], 0.25)
    own = (draw.random((sizes[0], n_own)) < fractions) * strength * draw.gamma(4, 0.25, (sizes[0], n_own))

    def structure(components: Any, usages: Any) -> float:
        return factor_match(own, None if usages_alone else profiles[n_shared:], usages, components)

    return Problem(as_loss(side(sizes[0], own), loss), as_loss(side(sizes[1], None), loss), structure)


def factor_match(true_usages: Any, true_components: Any, usages: Any, components: Any) -> float:
    """Mean over true programs of the correlation of usages times the cosine of components, matched one to one.

    Without true components the correlation alone.
    """
    n_true = true_usages.shape[1]
    noise = 1e-12 * (usages.max() or 1.0) * np.random.default_rng(0).random(usages.shape)
    score = np.nan_to_num(np.corrcoef(np.hstack([true_usages, usages + noise]).T)[:n_true, n_true:]).clip(0)
    if true_components is not None:
        score = score * (_unit(true_components) @ _unit(components.astype(np.float64)).T)
    return float(score[linear_sum_assignment(-score)].sum() / n_true)


def _unit(rows: Any) -> Any:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def authors(seed: int, beta: float, loss: str) -> Problem:
    """The simulation of the authors of the method."""
    found = known_answers.simulation(seed, loss, beta, counts=loss != "frobenius")
    target, background = (sp.csr_array(side.astype(np.float32)) for side in (found.target, found.background))
    return Problem(target, background, found.structure)


def share_of_top(key: Any) -> Callable[[Any, Any], float]:
    """Structure: the share of the key among the top features of all components."""
    return lambda components, _: float(key[np.argsort(-components, axis=1)[:, :N_TOP]].mean())


def kang(seed: int, loss: str, full: bool = False, genes: int | None = None, cells: float = 1.0) -> Problem:
    """Stimulated cells against controls: all genes, or random ones; all cells, or a share."""
    counts, found = stored("kang_full/counts.npz" if full else "kang_ifnb/counts.npz")
    draw = np.random.default_rng([seed, 5])
    kept = np.sort(draw.permutation(counts.shape[1])[:genes])
    stimulated = np.char.startswith(found["condition"], "stim")
    interferon = np.isin(found["genes"], (DATA / "kang_ifnb" / "interferon_genes.txt").read_text().split())
    drawn = draw.random(counts.shape[0]) < cells
    rows = as_loss(counts, loss)[:, kept]
    return Problem(rows[stimulated & drawn], rows[~stimulated & drawn], share_of_top(interferon[kept]))


def grass(seed: int, digits: tuple[int, ...], _: str) -> Problem:
    """Handwritten digits on texture against texture."""
    draw, n_target, n_background = np.random.default_rng(seed), 1000, 650
    with np.load(DATA / "mnist_grass" / "mnist70k.npz") as file:
        images, labels = file["X"], file["y"]
    with np.load(DATA / "mnist_grass" / "grass1300.npz") as file:
        texture = draw.permutation(file["X"].astype(np.float32) / 255)
    picked = draw.choice(np.flatnonzero(np.isin(labels, digits)), n_target, replace=False)
    behind = texture[n_background + draw.integers(len(texture) - n_background, size=n_target)]
    target = images[picked].astype(np.float32) / 255 + behind
    background = texture[:n_background]
    found = known_answers.agreement(labels[picked], len(digits))
    return Problem(target / target.max(), background / background.max(), found)


def atlas(seed: int, n_cells: int, depth: float, loss: str) -> Problem:
    """Many shallow simulated cells; structure: mean cosine of components with the target's own programs, matched."""
    target, background = known_answers.atlas(n_cells, seed, loss, depth=depth)
    own = known_answers.atlas_programs(np.random.default_rng([seed, 77]), target.shape[1])[8:]

    def structure(components: Any, _: Any) -> float:
        cosine = _unit(own) @ _unit(components.astype(np.float64)).T
        return float(cosine[linear_sum_assignment(-cosine)].sum() / len(own))

    return Problem(target, background, structure)


def glioblastoma(_: int, loss: str) -> Problem:
    """Treated slices against untreated ones; structure: the weight of the seven genes that rise in all donors."""
    counts, found = stored("gbm_panobinostat/counts.npz")
    symbols = np.load(DATA / "gbm_panobinostat" / "symbols.npy", allow_pickle=False)
    key = np.isin(symbols, (DATA / "gbm_panobinostat" / "up_genes.txt").read_text().split())
    treated, rows = found["condition"] == "panobinostat", as_loss(counts, loss)
    return Problem(rows[treated], rows[~treated], lambda components, _: float(components[:, key].sum(axis=1).mean()))


def _nothing_known(*_: Any) -> float:
    return float("nan")


def patient(modality: str, loss: str) -> Problem:
    """A patient's cells against healthy ones."""
    counts, found = stored(f"citefuse_ctcl/pair_{modality}.npz")
    ill, rows = found["condition"] != "healthy", as_loss(counts, loss)
    return Problem(rows[ill], rows[~ill], _nothing_known)


def stained(loss: str) -> Problem:
    """Proteins of stained cells against those of the more numerous empty droplets."""
    cells, empty = (stored(f"dsb_citeseq_protein/{name}.npz")[0] for name in ("cells", "empty_droplets"))
    return Problem(as_loss(cells, loss), as_loss(empty, loss), _nothing_known)


def mice(_: str) -> Problem:
    """Proteins of the cortex of mice, mean for missing: both sides are explained alike."""
    table = pd.read_csv(DATA / "mice_protein" / "Data_Cortex_Nuclear.csv")
    values = table.filter(regex="_N$")
    values = values.fillna(values.mean()).to_numpy(np.float32)
    learning = table["class"].isin(["c-CS-s", "t-CS-s"])
    treated = table["class"].isin(["c-SC-s", "t-SC-s"])
    return Problem(values[treated], values[learning], _nothing_known)


def controls(seed: int, loss: str) -> Problem:
    """Control cells against control cells: nothing specific."""
    counts, found = stored("kang_ifnb/counts.npz")
    rows = as_loss(counts, loss)[np.flatnonzero(found["condition"] != "stimulated")]
    first = np.random.default_rng(seed).permutation(rows.shape[0]) < rows.shape[0] // 2
    return Problem(rows[first], rows[~first], _nothing_known)


def _half(half: Literal["development", "test"], seeds: range, offset: int) -> list[Case]:
    return [Case(f"programs {seed}", "programs", half, partial(programs, seed + offset), (3, 8)) for seed in seeds]


CASES = [
    Case("Kang", "Kang", "development", partial(kang, 0), (2, 10, 20)),
    Case("Kang 2000", "Kang", "development", partial(kang, 1, genes=2000), (5, 10)),
    *_half("development", range(8), 0),
    Case("authors 4", "authors", "development", partial(authors, 0, 4.0), (2,)),
    Case("digits 01", "images", "development", partial(grass, 0, (0, 1)), (2, 5), ("frobenius",)),
    Case("atlas", "atlas", "development", partial(atlas, 0, 10_000, 40.0), (5, 10)),
    Case("stained", "proteins", "development", stained, (2, 5), keyed=False),
    Case("patient RNA", "Kang", "development", partial(patient, "rna"), (2, 10), keyed=False),
    Case("controls", "nothing", "development", partial(controls, 0), (2, 10), keyed=False),
    Case("Kang 1000", "Kang", "test", partial(kang, 4, genes=1000), (2, 5, 10)),
    Case("Kang few cells", "Kang", "test", partial(kang, 5, cells=0.25), (2, 10)),
    *_half("test", range(8), 1000),
    Case("Kang full", "Kang", "test", partial(kang, 0, full=True, cells=0.12), (10,)),
    Case("Kang full 4000", "Kang", "test", partial(kang, 3, full=True, genes=4000, cells=0.3), (5,)),
    Case("authors 1", "authors", "test", partial(authors, 7, 1.0), (2,)),
    Case("authors 8", "authors", "test", partial(authors, 8, 8.0), (2,)),
    Case("digits 49", "images", "test", partial(grass, 3, (4, 9)), (2, 5), ("frobenius",)),
    Case("digits 23", "images", "test", partial(grass, 4, (2, 3)), (2, 5), ("frobenius",)),
    Case("demo", "images", "test", partial(known_answers.digits, 0), (2, 5), ("frobenius",)),
    Case("atlas 20k", "atlas", "test", partial(atlas, 9, 20_000, 60.0), (5,)),
    Case("glioblastoma", "glioblastoma", "test", partial(glioblastoma, 0), (2, 5)),
    Case("patient ADT", "proteins", "test", partial(patient, "adt"), keyed=False),
    Case("mice", "proteins", "test", mice, keyed=False),
    Case("controls", "nothing", "test", partial(controls, 8), (2, 10), keyed=False),
]
"""Of both halves; names are unique within one."""

BY_USAGES = [
    replace(case, kind="programs by usages alone", make=partial(case.make, usages_alone=True))
    for case in CASES
    if case.kind == "programs"
]
"""The same fits by another measure: components of one marker gene each may order cells as the whole program does."""
