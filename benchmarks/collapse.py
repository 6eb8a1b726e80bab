"""Whether collapses are seen: ``python benchmarks/collapse.py --fits FOLDER``.

It writes ``benchmarks/results/collapse.json``: an hour or two on one quiet core, 4 GB. Fits of `collapse_problems`
are made at many contrasts and ranks, kept in the folder (those that are there are not made again), labelled by what is
known of the data, and judged as `bcnmf_dask.fitting.collapse` judges any fit. For a problem and rank with a key, a fit
*collapsed* if its structure is below half of the best over alpha and its alpha above that of the best; it is *good*
within 0.1 of the best; other fits are reported, not counted, as are all of a rank whose best is below 0.2, where one
fit could be both. Without a key, fits at contrasts of 0 to 1 count as good.

A collapse is *missed* if nothing is said of it; an alarm is *false* if a good fit is called collapsed. Doubts are
counted apart. Thresholds were chosen on the development half and frozen before the test half was judged.
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from collapse_problems import BY_USAGES, CASES, LOSSES

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, verdict, write
from bcnmf_dask.benchmarking.tables import markdown
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.fitting.collapse import BOUNDS, RARE, RARE_WEIGHT, judge, statistics_of
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.updates.coverage import cover
from bcnmf_dask.updates.statistics import Evaluation

SWEEPS = 100
COUNTED = ("collapsed", "good")
BUDGETS = {"frobenius": (0.05, 0.05), "kullback-leibler": (0.05, 0.08)}
"""Of collapses at most so many missed, and of good fits so many false alarms."""


@dataclass(frozen=True)
class Fit:
    """A fit, what it found, and what is said of it.

    Attributes
    ----------
    case : Case
    loss : str
    rank : int
    alpha, structure : float
    outcome : {"fine", "doubtful", "collapsed"}
    told : tuple of str
        The beginnings of all that is said.
    """

    case: object
    loss: str
    rank: int
    alpha: float
    structure: float
    outcome: str
    told: tuple[str, ...]


def factors(case, loss, problem, folder):
    """Alpha, rank, components and both usages of the fits of a case, made unless they are in the folder."""
    kept = folder / f"{case.half}-{loss}-{case.name}.npz".replace(" ", "_")
    if not kept.exists():
        inputs, arrays = read_inputs(problem.target, problem.background), {}
        for rank in case.ranks:
            settings = [Settings(rank, alpha, "mean", loss, None, SWEEPS, 0.0, rank) for alpha in case.alphas]
            for one, found in zip(settings, factorize(inputs, settings, dtype="float32"), strict=True):
                for name, array in zip(
                    "CHG", (found.components, found.target_usages, found.background_usages), strict=True
                ):
                    arrays[f"{rank} {one.alpha} {name}"] = np.asarray(array)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **arrays)
    with np.load(kept) as stored:
        for rank in case.ranks:
            for alpha in case.alphas:
                yield (alpha, rank, *(stored[f"{rank} {alpha} {name}"] for name in "CHG"))


def judged(case, loss, problem, folder):
    """The fits of a case."""
    sides = {"target": problem.target, "background": problem.background}
    n_rows = {role: rows.shape[0] for role, rows in sides.items()}
    seen = np.sum([np.asarray(abs(rows).sum(axis=0)).ravel() for rows in sides.values()], axis=0) > 0
    for alpha, rank, components, *usages in factors(case, loss, problem, folder):
        evaluation = {}
        for (role, rows), found in zip(sides.items(), usages, strict=True):
            exact = found.astype(float)
            sums = cover(rows, exact, components.T.astype(float))
            evaluation[role] = Evaluation(
                0.0, exact.sum(axis=0), exact.T @ exact, *sums, np.zeros(rank + 1), np.zeros(rank)
            )
        said = judge(statistics_of(components, evaluation, n_rows), rank, int(seen.sum()), loss, alpha > 0)
        doubtful = any(remark.startswith("It is doubtful") for remark in said.remarks)
        outcome = "collapsed" if said.collapsed else "doubtful" if doubtful else "fine"
        told = tuple(remark.split()[0] for remark in said.remarks)
        yield Fit(case, loss, rank, alpha, problem.structure(components, usages[0]), outcome, told)


def labels(fits):
    """What each fit of one problem and rank is."""
    if not fits[0].case.keyed:
        return ["good"] * len(fits)
    best = max(fits, key=lambda fit: fit.structure)
    if best.structure < 0.2:
        return ["nothing found"] * len(fits)
    return [_label(fit, best) for fit in fits]


def _label(fit, best):
    if fit.structure >= best.structure - 0.1:
        return "good"
    return "collapsed" if fit.structure < best.structure / 2 and fit.alpha > best.alpha else "between"


def measured(fits, case):
    """How many of which label had which outcome, over pairs of fit and label."""
    counts = Counter((label, fit.outcome) for fit, label in fits)
    figures = {f"{label}_{outcome}": float(counts[label, outcome]) for label in COUNTED for outcome in OUTCOMES}
    figures["other"] = float(sum(label not in COUNTED for _, label in fits))
    figures["nothing_specific"] = float(sum("Nothing" in fit.told for fit, _ in fits))
    figures["repeated"] = float(sum("Components" in fit.told for fit, _ in fits))
    return Measurement(case, 1, usable_cores(), REAL, figures)


def belongs(case, kind):
    """Whether the fits of a case are of a kind: all of them but for those that another measure is tried on."""
    return case.kind == kind or (kind == "all" and case not in BY_USAGES)


OUTCOMES = ("collapsed", "doubtful", "fine")


def rates(figures):
    """Collapses missed, and good fits called collapsed, each with their number."""
    n_collapsed, n_good = (sum(figures[f"{label}_{outcome}"] for outcome in OUTCOMES) for label in COUNTED)
    return (figures["collapsed_fine"], n_collapsed), (figures["good_collapsed"], n_good)


def judge_all(measurements):
    """Against the budgets, and against 60 fits in each half."""
    for one in measurements:
        half, loss, kind = one.case.split(", ")
        if kind != "all":
            continue
        (missed, n_collapsed), (false, n_good) = rates(one.figures)
        most_missed, most_false = BUDGETS[loss]
        what, counted = f"{half}, {loss}", n_collapsed + n_good
        yield verdict(f"{what}: fits that count", f"{counted:g}", "at least 60", counted >= 60)
        kept = missed <= most_missed * n_collapsed
        yield verdict(f"{what}: collapses missed", f"{missed:g} of {n_collapsed:g}", f"at most {most_missed:.0%}", kept)
        kept = false <= most_false * n_good
        yield verdict(f"{what}: false alarms", f"{false:g} of {n_good:g}", f"at most {most_false:.0%}", kept)


def tables(run):
    """What the README shows of a run, in Markdown."""
    rows = []
    for one in run.measurements:
        half, loss, kind = one.case.split(", ")
        (missed, n_collapsed), (false, n_good) = rates(one.figures)
        rows.append(
            {
                "half": half,
                "loss": loss,
                "data": kind,
                "collapses missed": f"{missed:g} of {n_collapsed:g}",
                "in doubt": f"{one.figures['collapsed_doubtful']:g}",
                "false alarms": f"{false:g} of {n_good:g}",
                "good, in doubt": f"{one.figures['good_doubtful']:g}",
            }
        )
    yield markdown(pd.DataFrame(rows))


def main():
    """Fit, judge, and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--fits", type=Path, required=True, help="where fits are kept")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments.add_argument("--kept-only", action="store_true", help="judge what is kept, make no more fits")
    given = arguments.parse_args()
    pairs = list(all_fits(given.fits, given.kept_only))
    measurements = []
    for half in ("development", "test"):
        for loss in LOSSES:
            here = [(fit, label) for fit, label in pairs if fit.case.half == half and fit.loss == loss]
            kinds = dict.fromkeys(fit.case.kind for fit, _ in here)
            measurements += [
                measured([pair for pair in here if belongs(pair[0].case, kind)], f"{half}, {loss}, {kind}")
                for kind in [*kinds, "all"]
            ]
    parameters = {
        "sweeps": SWEEPS,
        "bounds": {loss: [bounds.collapsed, bounds.doubtful] for loss, bounds in BOUNDS.items()},
        "rare": [RARE, RARE_WEIGHT],
        "cases": sorted({f"{fit.case.half}, {fit.loss}, {fit.case.name}" for fit, _ in pairs}),
    }
    command = "python benchmarks/collapse.py --fits FOLDER" + " --kept-only" * given.kept_only
    run = new_run("collapse", command, parameters, measurements, judge_all(measurements))
    write(run, given.out / "collapse.json")


def all_fits(folder, kept_only):
    """Every fit with its label."""
    for loss in LOSSES:
        for case in [*CASES, *BY_USAGES]:
            kept = folder / f"{case.half}-{loss}-{case.name}.npz".replace(" ", "_")
            if loss not in case.losses or (kept_only and not kept.exists()):
                continue
            found = list(judged(case, loss, case.make(loss), folder))
            print(case.half, loss, case.name, flush=True)
            for rank in case.ranks:
                fits = [fit for fit in found if fit.rank == rank]
                yield from zip(fits, labels(fits), strict=True)


if __name__ == "__main__":
    main()
