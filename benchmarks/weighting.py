"""Whether alpha keeps its meaning: ``python benchmarks/weighting.py`` (about an hour on one core that is free).

Fits of data with a known answer, each with the three weightings: of the data as they are for several alphas, and at one
alpha of data that were measured or prepared otherwise: thinned to a third of the counts, a part of the rows, values
scaled. Writes ``benchmarks/results/weighting.json``; trials that a file of ``--records`` has are not made again, and
new ones are added to it. ``--quick`` makes one seed of the first changes only, as a look.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from itertools import product
from pathlib import Path
from statistics import mean

import pandas as pd
import weighting_cases
from weighting_cases import AS_IT_IS, CASES

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, verdict, write
from bcnmf_dask.benchmarking.tables import markdown, verdict_table
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import DataWarning
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.parameters import WEIGHTINGS
from bcnmf_dask.fitting.settings import Settings

COMMAND = "python benchmarks/weighting.py"
SEEDS, SCAN_SEEDS = 5, 3
SCANNED = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 5.0)
FIXED = {"kullback-leibler": 2.0, "frobenius": 2.0, "digits on grass": 1.25}
"""The alpha of what was changed, by loss, or by case."""
SCAN = "along alpha"
JUDGED = ("Kang, counts", "Kang, log-normalised", "digits on grass", "simulation, log-normalised")
LOST = 0.05


def trial(case, name, change, alphas, seed):
    """The structure that each weighting finds at each alpha, as ``weighting -> alpha -> structure``."""
    problem, started = weighting_cases.changed(case, change, seed), time.perf_counter()
    settings = [
        Settings(case.n_components, alpha, weighting, case.loss, None, case.sweeps, 0.0, seed, "accelerated")
        for weighting, alpha in product(WEIGHTINGS, alphas)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # halved counts, sides of other scale
        results = factorize(read_inputs(problem.target, problem.background), settings, dtype="float32", client=False)
    found = defaultdict(dict)
    for one, result in zip(settings, results, strict=True):
        found[one.weighting][f"{one.alpha:g}"] = float(problem.structure(result.components, result.target_usages))
    seconds = time.perf_counter() - started
    return {"case": case.name, "change": name, "seed": seed, "seconds": seconds, "structure": found}


def fixed_alpha(case):
    """At which the changes of a case are compared."""
    return FIXED.get(case.name, FIXED[case.loss])


def wanted(seeds, most):
    """What is to be tried: the changes of all seeds first, then along alpha."""
    for seed, case in product(seeds, CASES):
        for change in case.changes[:most]:
            yield case, change.name, change, (fixed_alpha(case),), seed
    for seed, case in product(seeds[:SCAN_SEEDS], CASES):
        yield case, SCAN, AS_IT_IS, SCANNED, seed


def trials(seeds, most, records):
    """All records, those that were there first."""
    found = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    there = {(one["case"], one["change"], one["seed"]) for one in found}
    for case, name, *how, seed in wanted(seeds, most):
        if (case.name, name, seed) not in there:
            found.append(trial(case, name, *how, seed))
            with records.open("a") as file:
                file.write(json.dumps(found[-1]) + "\n")
            print(found[-1], flush=True)
    return found


def measurements(records):
    """Means over seeds, one measurement for each case and change."""
    by_change = defaultdict(list)
    for one in records:
        by_change[one["case"], one["change"]].append(one)
    order = _all_changes()
    for (case, change), ones in sorted(by_change.items(), key=lambda item: order.index(item[0])):
        figures = {
            f"{weighting}, alpha {alpha}": mean(one["structure"][weighting][alpha] for one in ones)
            for weighting, found in ones[0]["structure"].items()
            for alpha in found
            if all(alpha in one["structure"][weighting] for one in ones)
        }
        seconds = sum(one["seconds"] for one in ones)
        yield Measurement(f"{case}: {change}", 1, 1, REAL, figures | {"seeds": len(ones), "seconds": seconds})


def _all_changes():
    return [(case.name, name) for case in CASES for name in (*(change.name for change in case.changes), SCAN)]


def by_change(measured, case, weighting):
    """Structure of a case at its fixed alpha, by the name of the change."""
    figure = f"{weighting}, alpha {fixed_alpha(case):g}"
    parts = [one.case.partition(": ") for one in measured]
    return {
        change: one.figures[figure]
        for (name, _, change), one in zip(parts, measured, strict=True)
        if name == case.name and change != SCAN
    }


def spread(measured, case, weighting):
    """The range of structure over all changes."""
    found = by_change(measured, case, weighting).values()
    return max(found) - min(found)


def judged(measured):
    """The rule by which the default weighting was chosen: on three of the four data sets half the range of "mean"."""
    for case in CASES:
        if case.name in JUDGED and by_change(measured, case, "deviance"):
            ranges = {weighting: spread(measured, case, weighting) for weighting in WEIGHTINGS}
            words = ", ".join(f"{weighting} {one:.2f}" for weighting, one in ranges.items())
            kept = ranges["deviance"] <= ranges["mean"] / 2
            what = f"range of structure, {case.name}, alpha {fixed_alpha(case):g}"
            yield verdict(what, words, "deviance at most half of mean", kept)
            as_it_is = {one: by_change(measured, case, one)[AS_IT_IS.name] for one in ("deviance", "mean")}
            words = ", ".join(f"{weighting} {one:.2f}" for weighting, one in as_it_is.items())
            kept = as_it_is["deviance"] >= as_it_is["mean"] - LOST
            yield verdict(f"structure as it is, {case.name}", words, f"deviance at most {LOST:g} lower", kept)


def tables(run):
    """What the README shows of a run, in Markdown."""
    measured = run.measurements
    rows = []
    for case in CASES:
        found = {weighting: by_change(measured, case, weighting) for weighting in WEIGHTINGS}
        if len(found["mean"]) > 1:
            worst = {f"worst, {one}": _worst(changes) for one, changes in found.items()}
            as_it_is = {f"as it is, {one}": f"{changes[AS_IT_IS.name]:.2f}" for one, changes in found.items()}
            name = f"{case.name}, alpha {fixed_alpha(case):g}"
            rows.append({"": name, "ways": len(found["mean"])} | as_it_is | worst)
    yield markdown(pd.DataFrame(rows))
    scanned = [(one.case.partition(": ")[0], one.figures) for one in measured if one.case.endswith(SCAN)]
    yield markdown(
        pd.DataFrame(
            {"deviance / mean, as it is": name} | {f"alpha {alpha:g}": _at(figures, alpha) for alpha in SCANNED}
            for name, figures in scanned
        )
    )
    yield markdown(verdict_table(run.verdicts))


def _worst(changes):
    name = min(changes, key=changes.get)
    return f"{changes[name]:.2f} ({name})"


def _at(figures, alpha):
    """Both weightings; empty where that alpha was not tried."""
    found = [figures.get(f"{weighting}, alpha {alpha:g}") for weighting in ("deviance", "mean")]
    return "" if None in found else " / ".join(f"{one:.2f}" for one in found)


def main():
    """Measure, judge, and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "weighting.json")
    arguments.add_argument("--records", type=Path, default=Path("weighting-records.jsonl"))
    arguments.add_argument("--quick", action="store_true")
    given = arguments.parse_args()
    seeds, most = (range(1), 3) if given.quick else (range(SEEDS), None)
    found = list(measurements(trials(seeds, most, given.records)))
    parameters = {
        "seeds": len(seeds),
        "scan_seeds": len(seeds[:SCAN_SEEDS]),
        "solver": "accelerated",
        "fixed_alpha": FIXED,
        "scanned": SCANNED,
    }
    run = new_run("weighting", COMMAND, parameters, found, judged(found))
    write(run, given.out)
    for one in run.verdicts:
        print(f"{one.what}: {one.measured} ({one.budget}: {one.status})")


if __name__ == "__main__":
    main()
