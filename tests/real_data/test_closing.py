"""What a fit of interferon-stimulated cells against controls says of them, where the answer is known."""

import floors
import known_answers
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bcnmf_dask import BCNMF


@pytest.fixture(scope="module")
def sides(data_folder):
    data_folder("kang_ifnb")
    return floors.stimulated_and_controls()


@pytest.fixture(scope="module")
def model(sides):
    return BCNMF(10, 2.0, weighting="mean", max_iter=60, tol=0).fit(sides[0], background=sides[1])


def test_every_interferon_component_is_stronger_in_stimulated_cells(model):
    genes = known_answers.DATA / "kang_ifnb"
    with np.load(genes / "counts.npz") as stored:
        interferon = np.isin(stored["genes"], (genes / "interferon_genes.txt").read_text().split())
    top = np.argsort(-model.components_, axis=1)[:, :20]
    chosen = interferon[top].mean(axis=1) >= 0.5
    assert chosen.sum() >= 8
    table = model.summary()
    assert (table["log2_fold_change"][chosen] > 0).all()
    assert (table["log2_fold_change_per_count"][chosen] > 0).all()
    assert table["target_explained"].sum() > 0.1
    assert table["background_explained"].sum() < 0.02


def test_the_explained_fraction_tells_stimulated_cells_from_controls(model, sides):
    target, background = map(model.explained_fraction, sides)
    fractions = np.concatenate([target, background])
    assert roc_auc_score(np.arange(len(fractions)) < len(target), fractions) >= 0.99
    assert 0.1 < target.mean() < 0.3
    assert background.mean() < 0.02


def test_a_floor_without_meaning_decides_what_usages_mean(model, sides):
    """From 1e-16 to 1e-6 of a mean row the same components say different things; above that, hardly."""
    moved = {
        share: floors.moved(model.components_, floors.floor_for(sides[1], share), sides) for share in floors.SHARES
    }
    areas = {share: one["auroc_of_totals"] for share, one in moved.items()}
    least = {share: one["least_log2_fold_change"] for share, one in moved.items()}
    assert areas[1e-6] - areas[1e-16] > 0.1
    assert least[1e-16] < 0
    meaningful = [share for share in floors.SHARES if 1e-6 <= share <= 1e-2]
    assert np.ptp([areas[share] for share in meaningful]) < 0.04
    assert all(least[share] > 0 for share in meaningful)
