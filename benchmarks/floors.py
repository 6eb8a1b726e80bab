"""What the floor of reconstructions decides, on the interferon data: ``python benchmarks/floors.py`` (minutes).

Writes ``benchmarks/results/floors.json``: for floors of 1e-16 to 0.1 of a mean row of the background, how usages of the
same components move, and the structure of fits that have that floor throughout.
"""

import argparse
import warnings
from pathlib import Path

import known_answers
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from bcnmf_dask import BCNMF
from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, write
from bcnmf_dask.fitting import profiles
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.optimal import Optimum

SHARES = (1e-16, 1e-10, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
COMPONENTS, ALPHA, SWEEPS = 10, 2.0, 100


def floor_for(background, share):
    """As `bcnmf_dask.fitting.profiles` makes it, for another share."""
    mean = np.asarray(background.mean(axis=0)).ravel()
    return share / 2 * (mean + mean.mean())


def stimulated_and_controls():
    """All genes, and every stimulated cell against every control: the answer is known for each cell."""
    counts, stimulated, _, _ = known_answers.kang_cells()
    return sp.csr_array(counts[stimulated]), sp.csr_array(counts[~stimulated])


def usages_at(components, floor, sides):
    """Of both sides, each row's minimum."""
    basis = Basis(np.ascontiguousarray(components.T, dtype=np.float64), floor)
    return [LOSSES["kullback-leibler"].minimise(side, basis, Optimum())[0] for side in sides]


def moved(components, floor, sides):
    """What the summary says of the same components with this floor."""
    target, background = usages_at(components, floor, sides)
    changes = np.log2(target.mean(axis=0) / background.mean(axis=0))
    totals = np.concatenate([target.sum(axis=1), background.sum(axis=1)])
    of_target = np.arange(len(totals)) < len(target)
    return {
        "least_log2_fold_change": float(changes.min()),
        "largest_log2_fold_change": float(changes.max()),
        "auroc_of_totals": float(roc_auc_score(of_target, totals)),
    }


def fitted(problem, share, seed):
    """Interferon fraction of a fit that has this floor from its first sweep."""
    before, profiles.FLOOR_SHARE = profiles.FLOOR_SHARE, share
    try:
        model = BCNMF(
            COMPONENTS, ALPHA, weighting="mean", solver="accelerated", max_iter=SWEEPS, tol=0, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(problem.target, background=problem.background)
    finally:
        profiles.FLOOR_SHARE = before
    return problem.structure(model.components_, None)


def run(seeds):
    sides = stimulated_and_controls()
    model = BCNMF(COMPONENTS, ALPHA, weighting="mean", max_iter=SWEEPS, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(sides[0], background=sides[1])
    problem_of = {seed: known_answers.kang(seed, "kullback-leibler") for seed in range(seeds)}
    for share in SHARES:
        structure = [fitted(problem_of[seed], share, seed) for seed in range(seeds)]
        figures = moved(model.components_, floor_for(sides[1], share), sides) | {"structure": float(np.mean(structure))}
        print(f"{share:g}", {name: round(value, 3) for name, value in figures.items()}, flush=True)
        yield Measurement(f"{share:g}", 1, 1, REAL, figures)


def tables(run):
    """What the README shows of a run, in Markdown."""
    frame = pd.DataFrame([{"floor": one.case, **one.figures} for one in run.measurements])
    yield "| floor, of a mean row | log2 fold changes | AUROC of a cell's total | interferon genes found |"
    yield "| --- | --- | --- | --- |"
    for _, row in frame.iterrows():
        changes = f"{row['least_log2_fold_change']:.1f} to {row['largest_log2_fold_change']:.1f}"
        yield f"| {row['floor']} | {changes} | {row['auroc_of_totals']:.2f} | {row['structure']:.2f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=known_answers.REPOSITORY / "benchmarks/results/floors.json")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    parameters = {"components": COMPONENTS, "alpha": ALPHA, "sweeps": SWEEPS, "seeds": given.seeds}
    write(new_run("floors", "python benchmarks/floors.py", parameters, list(run(given.seeds))), given.out)


if __name__ == "__main__":
    main()
