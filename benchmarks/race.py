"""Peers to equal quality: ``python benchmarks/race.py`` (about half an hour, two cores, 2 GB).

Writes ``race.json``, ``race.csv`` (the curves) and ``race.png`` into ``benchmarks/results``; ``benchmarks/readme.py``
puts the tables into the README. All peers start from the same random factors and run in processes of their own, one
after the other, with the threads of this machine. Only their sweeps are timed, warm. A peer has arrived when its
*refitted objective* (`refitting.py`) is within 1 % of that of 300 published sweeps of this package.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import known_answers
import numpy as np
import pandas as pd
import peer_sweeps
from peers import cases, high_water, in_its_own_process, reset_high_water, words
from race_figure import figure
from refitting import Evaluator

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, write
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.plots import save

N_FEATURES, DEPTH, COMPONENTS = 1000, 52.0, 20
TOLERANCE = 0.01
BETWEEN_LOOKS = 1.1
WARM_UP_ROWS = 2000
REFERENCE = (peer_sweeps.OURS, "csr")


@dataclass(frozen=True)
class Track:
    """How long the race is: simulated cells, and sweeps and seconds at most."""

    cells: int = 30_000
    sweeps: int = 300
    seconds: float = 180.0


@cache
def draw(cells, loss):
    """Target and background in CSR, without genes that no target cell has: some peers divide by zero there."""
    sides = known_answers.atlas(cells, 0, loss, N_FEATURES, DEPTH)
    found = np.flatnonzero(sides[0].sum(axis=0))
    return [rows[:, found] for rows in sides]


def looks(sweeps):
    """After how many sweeps the basis is looked at."""
    found = [1]
    while found[-1] < sweeps:
        found.append(min(sweeps, max(found[-1] + 1, int(found[-1] * BETWEEN_LOOKS))))
    return found


def run_here(case, track, bases_at):
    """Run a peer; leaves its bases in a file, and returns the sweeps and seconds of each, and its memory."""
    name, layout, loss, alpha = case
    sides = [rows if layout == "csr" else rows.toarray() for rows in draw(track.cells, loss)]
    draw.cache_clear()

    def make(rows):
        target, background = (side[:rows] for side in sides)
        return peer_sweeps.PEERS[name].make(target, background if alpha else None, loss, alpha, COMPONENTS)

    before = reset_high_water()
    make(WARM_UP_ROWS).advance(2)
    runner = make(None)
    seen, bases = [(0, 0.0)], [np.array(runner.basis(), dtype=np.float32)]
    for mark in looks(track.sweeps):
        done, spent = seen[-1]
        if runner.over() or spent > track.seconds:
            break
        seen.append((mark, spent + runner.advance(mark - done)))
        bases.append(np.array(runner.basis(), dtype=np.float32))
    peak = high_water() - before
    np.save(bases_at, bases)
    return {"seen": seen, "peak_mb": peak}


def course(case, track, evaluate):
    """The curve of a peer, as far as its basis is finite, its memory, and whether its basis stayed finite."""
    with TemporaryDirectory() as folder:
        bases_at = str(Path(folder) / "bases.npy")
        told = in_its_own_process(__file__, {"case": case, "track": asdict(track), "bases_at": bases_at})
        bases = np.load(bases_at)
    columns = dict(zip(("peer", "layout", "loss", "alpha"), case, strict=True))
    rows = [
        columns | {"sweeps": sweeps, "seconds": round(seconds, 5), "objective": evaluate(basis)}
        for (sweeps, seconds), basis in zip(told["seen"], bases, strict=True)
        if np.isfinite(basis).all()
    ]
    return pd.DataFrame(rows), {"peak_mb": told["peak_mb"], "not_finite": float(len(rows) < len(bases))}


def outcome(curve, goal):
    """When a peer arrived, if it did, and where it ended."""
    last = curve.iloc[-1]
    figures = {"sweeps": int(last["sweeps"]), "seconds": float(last["seconds"])}
    figures["excess"] = float((last["objective"] - goal) / abs(goal))
    arrived = curve[curve["objective"] <= goal + TOLERANCE * abs(goal)]
    if len(arrived):
        first = arrived.iloc[0]
        figures |= {"arrived_seconds": float(first["seconds"]), "arrived_sweeps": int(first["sweeps"])}
    return figures


def race(track):
    """The curves of all peers, and what came of them, by (peer, layout, loss, alpha)."""
    curves, figures, goals, evaluators = [], {}, {}, {}
    for case in cases("race"):
        loss, alpha = event = case[2:]
        if event not in evaluators:
            target, background = draw(track.cells, loss)
            evaluators[event] = Evaluator(target, background if alpha else None, loss, alpha, COMPONENTS)
        curve, figures[case] = course(case, track, evaluators[event])
        if case[:2] == REFERENCE:
            goals[event] = curve["objective"].iloc[-1]
        figures[case] |= outcome(curve, goals[event])
        curves.append(curve)
        print(words(case), figures[case], file=sys.stderr, flush=True)
    return pd.concat(curves), figures


def tables(run):
    """Markdown of what was measured: one table per loss and alpha, the first to arrive first."""
    size, most = (
        run.parameters,
        f"{run.parameters['track']['sweeps']} sweeps or {run.parameters['track']['seconds']:g} s",
    )
    measured = "A quick run, for its form and not its figures, by" if " --" in run.command else "Measured by"
    yield (
        f"{measured} `{run.command}` on {run.machine['cpu']}, {run.machine['cores']} cores ({run.date[:10]}): "
        f"{size['rows'][0]:,} target and {size['rows'][1]:,} background cells, {size['features']} genes, "
        f"{size['stored']:.1%} stored, {size['components']} components, at most {most}."
    )
    rows = [(*one.case.rsplit(", ", 3), one.figures) for one in run.measurements]
    for alpha, loss in sorted({(alpha, loss) for _, _, loss, alpha, _ in rows}):
        yield f"\n| {loss}, {alpha} | seconds | times ours | sweeps | MB above the data |"
        yield "| --- | --- | --- | --- | --- |"
        entries = {(name, layout): figures for name, layout, *event, figures in rows if event == [loss, alpha]}
        first = entries[REFERENCE]["arrived_seconds"]
        for (name, layout), figures in sorted(entries.items(), key=lambda entry: rank(entry[1])):
            yield f"| {name}, {layout} | {' | '.join(cells(figures, first))} | {figures['peak_mb']:.0f} |"


def rank(figures):
    """Who arrived, by time, before who did not, by what was left."""
    return (figures.get("arrived_seconds", np.inf), figures["excess"])


def cells(figures, first):
    """Seconds, their ratio to those of the reference, and sweeps, in words."""
    if "arrived_seconds" not in figures:
        ended = "not finite after" if figures["not_finite"] else "not reached in"
        return f"{ended} {figures['seconds']:.3g}", f"{figures['excess']:+.1%} above", f"{figures['sweeps']}"
    seconds = figures["arrived_seconds"]
    return f"{seconds:.3g}", f"{seconds / first:.3g}", f"{figures['arrived_sweeps']}"


def parsed():
    """What was asked for on the command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    for name, default in asdict(Track()).items():
        arguments.add_argument(f"--{name}", type=type(default), default=default)
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    return arguments.parse_args()


def main():
    """Race, write and draw."""
    given = parsed()
    if given.one:
        one = json.loads(given.one)
        print("\n" + json.dumps(run_here(one["case"], Track(**one["track"]), one["bases_at"])))
        return
    track = Track(given.cells, given.sweeps, given.seconds)
    curves, figures = race(track)
    measurements = [Measurement(words(case), 1, usable_cores(), REAL, figure) for case, figure in figures.items()]
    sides = draw(track.cells, "kullback-leibler")
    parameters = {
        "rows": [side.shape[0] for side in sides],
        "features": sides[0].shape[1],
        "stored": sum(side.nnz for side in sides) / sum(np.prod(side.shape) for side in sides),
        "components": COMPONENTS,
        "track": asdict(track),
        "tolerance": TOLERANCE,
        "peers": peer_sweeps.installed(),
    }
    changed = [f" --{name} {value:g}" for name, value in asdict(track).items() if value != getattr(Track(), name)]
    command = "python benchmarks/race.py" + "".join(changed)
    write(new_run("race", command, parameters, measurements), given.out / "race.json")
    curves["objective"] = curves["objective"].map("{:.7g}".format).astype(float)
    curves.to_csv(given.out / "race.csv", index=False)
    save(figure(curves), given.out / "race.png")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    main()
