"""Usages of new rows, solved row by row against multiplicative sweeps: ``python benchmarks/transform.py`` (minutes).

Writes ``benchmarks/results/transform.json``. Both have the components of the same fits of the interferon data. The
sweeps stop as transform did before it solved: when the divergence changes by less than a thousandth for ten of them,
after 500 at the latest. Seconds are CPU seconds of one thread, of the visits alone, taken in turns.
"""

import argparse
import time
import warnings
from pathlib import Path

import known_answers
import numpy as np
import pandas as pd
import scipy.sparse as sp

from bcnmf_dask import BCNMF
from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, write
from bcnmf_dask.updates.basis import Basis
from bcnmf_dask.updates.initialise import even_usages
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.optimal import Optimum

COMPONENTS, SWEEPS_OF_FIT, REPEATS = 10, 100, 3
WAYS = ("swept_", "solved_")
QUIET, PATIENCE, MOST = 1e-3, 10, 500


def swept(loss, rows, basis):
    """Usages, visits and divergence of the multiplicative rule."""
    exponent, usages = loss.default_damping, even_usages(rows, basis.values)
    before, quiet, visits = np.inf, 0, 0
    while quiet < PATIENCE and visits < MOST:
        visits += 1
        usages, sums = loss.sweep(rows, usages, basis, Steps(1, exponent))
        now = loss.divergence(sums, basis.values.astype(float))
        quiet = quiet + 1 if abs(before - now) < QUIET * before else 0
        before = now
    return usages, visits


def solved(loss, rows, basis):
    """Usages, one visit."""
    return loss.minimise(rows, basis, Optimum())[0], 1


def seconds(do, *given):
    started = time.thread_time()
    found = do(*given)
    return time.thread_time() - started, found


def measure(name, alpha, solver, seed):
    """Both ways for the target of a fit."""
    loss, problem = LOSSES[name], known_answers.kang(seed, name)
    target, background = (sp.csr_array(side) for side in (problem.target, problem.background))
    model = BCNMF(
        COMPONENTS, alpha, loss=name, weighting="mean", solver=solver, max_iter=SWEEPS_OF_FIT, tol=0, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(target, background=background)
    basis = Basis(np.ascontiguousarray(model.components_.T), model.floor_)
    rows = target.astype(np.float32)
    exact = loss.minimise(rows, basis.exact, Optimum(1e-12, 1000))[0]
    one_sweep = Steps(1, loss.default_damping)
    loss.sweep(rows, exact.astype(np.float32), basis, one_sweep)  # compiled before it is timed
    found = {"seed": seed, "alpha": alpha, "solver": solver, "loss": name}
    for way, do in (("swept", swept), ("solved", solved)):
        do(loss, rows, basis)
        times = [seconds(do, loss, rows, basis) for _ in range(REPEATS)]
        usages, visits = times[0][1]
        found[f"{way}_seconds"], found[f"{way}_visits"] = min(taken for taken, _ in times), visits
        found[f"{way}_error"] = float(np.abs(usages - exact).sum() / exact.sum())
    once = min(seconds(loss.sweep, rows, exact.astype(np.float32), basis, one_sweep)[0] for _ in range(REPEATS))
    found["solved_in_sweeps"] = found["solved_seconds"] / once
    return found


def run(seeds):
    for name in LOSSES:
        for alpha in (0.0, 1.0, 2.0):
            for solver in ("published", "accelerated"):
                for seed in seeds:
                    figures = measure(name, alpha, solver, seed)
                    label = f"{name}, alpha {alpha:g}, {solver}, seed {seed}"
                    print(label, {key: f"{one:.3g}" if isinstance(one, float) else one for key, one in figures.items()})
                    yield Measurement(
                        label, 1, 1, REAL, {key: one for key, one in figures.items() if key.startswith(WAYS)}
                    )


HEADINGS = {
    "swept_visits": ("visits, swept", "{:.0f}"),
    "solved_visits": ("solved", "{:.0f}"),
    "swept_error": ("relative L1 error, swept", "{:.1%}"),
    "solved_error": ("solved", "{:.0e}"),
    "ratio": ("seconds, solved over swept", "{:.2f}"),
    "solved_in_sweeps": ("solved, in sweeps", "{:.1f}"),
}


def tables(run):
    """What the README shows of a run, in Markdown: medians over seeds."""
    frame = pd.DataFrame([{"case": one.case.rpartition(", ")[0], **one.figures} for one in run.measurements])
    frame["ratio"] = frame["solved_seconds"] / frame["swept_seconds"]
    middle = frame.groupby("case", sort=False).median()
    lines = ["| Kang, 10 components | " + " | ".join(head for head, _ in HEADINGS.values()) + " |"]
    lines.append("| --- " * (len(HEADINGS) + 1) + "|")
    for case, row in middle.iterrows():
        lines.append(f"| {case} | " + " | ".join(form.format(row[name]) for name, (_, form) in HEADINGS.items()) + " |")
    yield "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=known_answers.REPOSITORY / "benchmarks/results/transform.json")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    parameters = {"components": COMPONENTS, "sweeps_of_fit": SWEEPS_OF_FIT, "seeds": given.seeds}
    found = list(run(range(given.seeds)))
    write(new_run("transform", "python benchmarks/transform.py", parameters, found), given.out)


if __name__ == "__main__":
    main()
