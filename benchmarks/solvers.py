"""What the other solvers are worth: ``python benchmarks/solvers.py accelerated`` and ``online``.

Ten minutes and half an hour on two cores, 6 GB; they write ``benchmarks/results/accelerated.json`` and ``online.json``.
Fits are compared by the *refitted objective*: the basis is kept and the usages of all rows are fitted to it anew, to
the end. The logged objective means nothing here.

- *accelerated*: data visits and seconds to the refitted objective that the published rule has after 300 sweeps (within
  1e-3 of the divergence of the target from nothing, for Kullback-Leibler from its mean profile), 10 seeds each.
- *online*: the refitted objective of three passes and a transform against that of 300 published sweeps, on a million
  simulated cells, three seeds; and the interferon genes that it finds.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import known_answers
import numpy as np
import pandas as pd

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, verdict, write
from bcnmf_dask.benchmarking.tables import markdown
from bcnmf_dask.data.draws import Draw
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.fitting.factorize import begin
from bcnmf_dask.fitting.loop import objective, run_fits
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.solving import solver_of
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

COMMAND = "python benchmarks/solvers.py"
PUBLISHED_SWEEPS = 300
MARKS = (20, 25, 30, 40, 50, 60, 75, 90, 100, 125, 150)
REFIT = Steps(200, 1.25)
TOLERANCE = 1e-3
CASES = [
    ("Kang", known_answers.kang, "frobenius", 10, (0.0, 2.0, 10.0)),
    ("Kang", known_answers.kang, "kullback-leibler", 10, (0.0, 2.0, 10.0)),
    ("digits", known_answers.digits, "frobenius", 2, (0.0, 2.0)),
    ("count simulation", known_answers.simulation, "frobenius", 2, (0.0, 2.0)),
]


@dataclass(frozen=True)
class Place:
    """Where a fit is after a sweep."""

    objective: float
    visits: float
    seconds: float
    structure: float


def fit(problem, loss, alpha, n_components, seed, solver, sweeps, marks, weighting="sum"):
    """The places of a fit after the sweeps in ``marks``, or at its end, by the number of the sweep."""
    inputs = read_inputs(problem.target, problem.background)
    settings = Settings(n_components, alpha, weighting, loss, None, sweeps, 0.0, seed, solver)
    plan, found = plan_shards(inputs), {}
    engine = LocalEngine(RunSpec(inputs, plan, "float32", [n_components]))
    engine.load()
    weight = settings.effective_alpha(inputs)
    solver = solver_of(settings, weight, inputs, plan)
    progress = begin(settings, weight, inputs, "float32", "fit", solver)
    engine.start(progress.spec, {})
    everything = Draw((0,), 0, 1, inputs.n_rows, plan.block_rows)

    def look(fits):
        sweep = len(fits[0].history)
        if sweep in marks or fits[0].status is not None:
            found[sweep] = place(engine, fits[0], everything, problem.structure)

    run_fits(engine, [progress], (), look)
    engine.close()
    return found


def place(engine, progress, everything, structure):
    """Refit the usages, and measure."""
    (record,), _ = engine.sample([progress.sample(everything, REFIT)])
    divergence, basis = LOSSES[progress.spec.loss].divergence, progress.basis.astype(float)
    refitted = objective({role: divergence(sums, basis) for role, sums in record.items()}, progress.alpha)
    seconds = sum(one.seconds for one in progress.history)
    usages = engine.usages(progress.order(), "target")
    return Place(refitted, progress.data_visits, seconds, structure(progress.basis.T, usages))


def unit(target, loss):
    """The divergence that the tolerance is a share of."""
    rows = target.toarray() if hasattr(target, "toarray") else np.asarray(target, float)
    if loss == "frobenius":
        return float((rows**2).sum())
    model = np.outer(rows.sum(axis=1), rows.sum(axis=0)) / rows.sum()
    positive = rows > 0
    return float((rows[positive] * np.log(rows[positive] / model[positive])).sum())


def race(name, make, loss, n_components, alpha, seeds):
    """Medians over seeds of the accelerated solver against the published one."""
    ratios, seconds, found, published = [], [], [], []
    for seed in seeds:
        problem = make(seed, loss)
        case = problem, loss, alpha, n_components, seed
        goal = fit(*case, "published", PUBLISHED_SWEEPS, ())[PUBLISHED_SWEEPS]
        limit = goal.objective + TOLERANCE * unit(problem.target, loss)
        places = fit(*case, "accelerated", MARKS[-1], MARKS)
        there = next((one for one in places.values() if one.objective <= limit), None)
        ratios.append(there.visits / goal.visits if there else np.inf)
        seconds.append(there.seconds / goal.seconds if there else np.inf)
        found.append((there or places[MARKS[-1]]).structure)
        published.append(goal.structure)
    figures = {
        "seeds_there": int(np.isfinite(ratios).sum()),
        "visits_ratio": median(ratios),
        "seconds_ratio": median(seconds),
        "structure": float(mean(found)),
        "published_structure": float(mean(published)),
    }
    print(name, loss, alpha, figures, flush=True)
    return Measurement(f"{name}, {loss}, alpha {alpha:g}", 1, usable_cores(), REAL, figures)


def judge_race(measurements):
    """Against the budgets: a third of the visits, half of the time, the same structure."""
    for one in measurements:
        figures, case = one.figures, f"accelerated solver, {one.case}"
        ratio, seconds = figures["visits_ratio"], figures["seconds_ratio"]
        yield verdict(f"{case}: data visits", f"{ratio:.2f}", "at most 1/3", ratio <= 1 / 3)
        yield verdict(f"{case}: seconds", f"{seconds:.2f}", "at most 1/2", seconds <= 1 / 2)
        if "alpha 0" in case:  # without a contrast there is no structure to be found, only chance
            continue
        lost = figures["published_structure"] - figures["structure"]
        words = f"{figures['structure']:.2f}, published {figures['published_structure']:.2f}"
        yield verdict(f"{case}: structure found", words, "at most 0.05 less", lost <= 0.05)


def passes(loss, alpha, cells):
    """The online solver against the published one on many simulated cells, (target, background) by seed."""
    excess, visits, seconds = [], [], []
    for seed, sides in cells.items():
        case = known_answers.Problem(*sides, lambda *_: 0.0), loss, alpha, 10, seed
        goal = fit(*case, "published", PUBLISHED_SWEEPS, (), "mean")[PUBLISHED_SWEEPS]
        (there,) = fit(*case, "online", 3, (), "mean").values()
        excess.append((there.objective - goal.objective) / abs(goal.objective))
        visits.append(there.visits)
        seconds.append(there.seconds / goal.seconds)
        print("online", loss, alpha, seed, excess[-1], visits[-1], seconds[-1], flush=True)
    figures = {"excess": median(excess), "worst_excess": max(excess), "visits": max(visits)}
    figures["seconds_ratio"] = median(seconds)
    n_cells = sum(side.shape[0] for side in cells[0])
    return Measurement(f"{n_cells:.0e} cells, {loss}, alpha {alpha:g}", 1, usable_cores(), REAL, figures)


def interferon(loss, alpha, weighting, seeds):
    """The structure that the online solver finds in real cells, and the published one."""
    found, published = [], []
    for seed in seeds:
        case = known_answers.kang(seed, loss), loss, alpha, 10, seed
        published.append(fit(*case, "published", 100, (), weighting)[100].structure)
        found += [one.structure for one in fit(*case, "online", 3, (), weighting).values()]
    figures = {"structure": float(mean(found)), "published_structure": float(mean(published))}
    print("online", loss, alpha, weighting, figures, flush=True)
    return Measurement(f"Kang, {loss}, alpha {alpha:g} ({weighting})", 1, usable_cores(), REAL, figures)


def judge_passes(measurements):
    """Against the budgets: within 1 % in three passes, and the same interferon genes."""
    for one in measurements:
        figures, case = one.figures, f"online solver, {one.case}"
        if "excess" in figures:
            words = f"{figures['worst_excess']:+.2%} in {figures['visits']:g} visits"
            kept = figures["worst_excess"] <= 0.01 and figures["visits"] <= 4
            yield verdict(f"{case}: refitted objective above 300 sweeps", words, "at most 1% in 3 + 1", kept)
        else:
            apart = abs(figures["published_structure"] - figures["structure"])
            words = f"{figures['structure']:.2f}, published {figures['published_structure']:.2f}"
            yield verdict(f"{case}: interferon genes found", words, "within 0.05", apart <= 0.05)


def accelerated(n_seeds, folder):
    """All races, into ``accelerated.json``."""
    races = [
        race(name, make, loss, n_components, alpha, range(n_seeds))
        for name, make, loss, n_components, alphas in CASES
        for alpha in alphas
    ]
    parameters = {"seeds": n_seeds, "sweeps": PUBLISHED_SWEEPS, "tolerance": TOLERANCE}
    write(
        new_run("accelerated", f"{COMMAND} accelerated", parameters, races, judge_race(races)),
        folder / "accelerated.json",
    )


def online(n_seeds, n_cells, folder):
    """Simulated and real cells, into ``online.json``."""
    seeds, found = range(min(n_seeds, 3)), []
    for loss in sorted(LOSSES):
        cells = {seed: known_answers.atlas(n_cells, seed, loss) for seed in seeds}
        found += [passes(loss, alpha, cells) for alpha in (0.0, 2.0)]
    found += [
        interferon(loss, alpha, weighting, range(n_seeds))
        for loss in sorted(LOSSES)
        for alpha, weighting in ((10.0, "sum"), (2.0, "mean"))
    ]
    parameters = {"seeds": len(seeds), "kang_seeds": n_seeds, "cells": n_cells, "sweeps": PUBLISHED_SWEEPS}
    run = new_run("online", f"{COMMAND} online", parameters, found, judge_passes(found))
    write(run, folder / "online.json")


def tables(run):
    """What the README shows of a run, in Markdown."""
    rows = [{"": one.case} | SHOWN[run.benchmark](one.figures) for one in run.measurements]
    yield markdown(pd.DataFrame(rows).fillna(""))


def _shown_of_a_race(figures):
    return {
        "data visits (budget 0.33)": f"{figures['visits_ratio']:.2f}",
        "seconds (budget 0.5)": f"{figures['seconds_ratio']:.2f}",
        "seeds that got there": f"{figures['seeds_there']:g}",
        "structure found": f"{figures['structure']:.2f} (published {figures['published_structure']:.2f})",
    }


def _shown_of_passes(figures):
    if "excess" in figures:
        return {
            "refitted objective above 300 sweeps, worst seed (budget 1%)": f"{figures['worst_excess']:+.2%}",
            "seconds against 300 sweeps": f"{figures['seconds_ratio']:.2f}",
        }
    found, published = figures["structure"], figures["published_structure"]
    return {"structure found (budget 0.05 apart)": f"{found:.2f} (published {published:.2f})"}


SHOWN = {"accelerated": _shown_of_a_race, "online": _shown_of_passes}


def main():
    """Measure, judge, and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("which", choices=["accelerated", "online"])
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--cells", type=int, default=10**6)
    given = arguments.parse_args()
    if given.which == "accelerated":
        accelerated(given.seeds, given.out)
    else:
        online(given.seeds, given.cells, given.out)


if __name__ == "__main__":
    main()
