"""One sweep of this package and of others: ``python benchmarks/peers.py`` (about five minutes, two cores).

Writes ``benchmarks/results/peers.json`` and prints the tables of the README. Each peer runs in a process of its own,
one after the other, with the threads of this machine; the median of its sweeps counts. Torch and nmf-torch are
only measured where they are installed. Contrastive peers sweep target and background, the others the target alone.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import peer_sweeps
import scipy.sparse as sp
from peer_runners import sweep_seconds
from peer_sweeps import OURS, PEERS

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, verdict, write
from bcnmf_dask.engine.threads import usable_cores

N_TARGET, N_BACKGROUND, N_FEATURES, DENSITY, COMPONENTS = 20_000, 10_000, 3000, 0.05, 20
SWEEPS = 12
LOSSES = ("kullback-leibler", "frobenius")
BUDGETS = [  # layout and loss of ours, alpha, the peer, its layout, how many times faster
    ("csr", "kullback-leibler", 1, "published, PyTorch", "dense", 100),
    ("csr", "kullback-leibler", 1, "published, lean NumPy", "dense", 18),
    ("csr", "frobenius", 1, "published, PyTorch", "dense", 25),
    ("csr", "frobenius", 1, "published, lean NumPy", "dense", 5),
    ("dense", "frobenius", 1, "bare matrix products", "dense", 1 / 0.85),
    ("csr", "kullback-leibler", 0, "scikit-learn mu", "csr", 12),
    ("csr", "frobenius", 0, "scikit-learn mu", "csr", 1.5),
    ("dense", "kullback-leibler", 0, "scikit-learn mu", "dense", 1),
    ("dense", "frobenius", 0, "scikit-learn mu", "dense", 1),
]


def draw(layout):
    """Counts of target and background, float32."""
    rng = np.random.default_rng(0)
    found = []
    for n_rows in (N_TARGET, N_BACKGROUND):
        rows = sp.random_array((n_rows, N_FEATURES), density=DENSITY, rng=rng, format="csr", dtype=np.float32)
        rows.data = np.ceil(5 * rows.data)
        found.append(rows if layout == "csr" else rows.toarray())
    return found


def high_water():
    """Most memory that this process had, in MB, since it was last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))


def reset_high_water():
    """Forget it, and return what there is now."""
    Path("/proc/self/clear_refs").write_text("5")
    return high_water()


def measure_here(name, layout, loss, alpha):
    """Seconds per sweep, and memory above that of a process that holds the data."""
    target, background = draw(layout)
    before = reset_high_water()
    runner = PEERS[name].make(target, background if alpha else None, loss, alpha, COMPONENTS)
    return {"sweep_seconds": sweep_seconds(runner, SWEEPS), "peak_mb": high_water() - before}


def in_its_own_process(script, case):
    """What ``script --one case`` prints in its last line, of JSON."""
    command = [sys.executable, script, "--one", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def cases(measured):
    """What is measured: (peer, layout, loss, alpha)."""
    for name, peer in PEERS.items():
        if peer.measured in ("both", measured):
            yield from ((name, *case) for case in peer.cases(LOSSES))


def words(case):
    """A case for people."""
    name, layout, loss, alpha = case
    return f"{name}, {layout}, {loss}, alpha {alpha}"


def judge(figures):
    """Ratios against their budgets, as far as the peers were measured."""
    for layout, loss, alpha, peer, peer_layout, times in BUDGETS:
        ours, theirs = (OURS, layout, loss, alpha), (peer, peer_layout, loss, alpha)
        if theirs in figures:
            ratio = figures[theirs]["sweep_seconds"] / figures[ours]["sweep_seconds"]
            what = f"{OURS} on {layout} against {peer} on {peer_layout}, {loss}, alpha {alpha}"
            yield verdict(what, f"{ratio:.1f} times faster", f"at least {times:.3g}", ratio >= times)


def tables(run):
    """Markdown of what was measured, and of the budgets."""
    yield "| one sweep | milliseconds | MB above the data |\n| --- | --- | --- |"
    for one in run.measurements:
        yield f"| {one.case} | {1e3 * one.figures['sweep_seconds']:.1f} | {one.figures['peak_mb']:.0f} |"
    yield "\n| side by side | measured | budget | status |\n| --- | --- | --- | --- |"
    for one in run.verdicts:
        yield f"| {one.what} | {one.measured} | {one.budget} | {one.status} |"


def main():
    """Measure, judge, write and show."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "peers.json")
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(measure_here(*json.loads(given.one))))
        return
    figures = {}
    for case in cases("sweeps"):
        figures[case] = in_its_own_process(__file__, case)
        print(words(case), figures[case], file=sys.stderr)
    cores = usable_cores()
    measurements = [Measurement(words(case), 1, cores, REAL, figure) for case, figure in figures.items()]
    parameters = {"rows": [N_TARGET, N_BACKGROUND], "features": N_FEATURES, "density": DENSITY}
    parameters |= {"components": COMPONENTS, "sweeps": SWEEPS, "peers": peer_sweeps.installed()}
    run = new_run("peers", "python benchmarks/peers.py", parameters, measurements, judge(figures))
    write(run, given.out)
    print("\n".join(tables(run)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    main()
