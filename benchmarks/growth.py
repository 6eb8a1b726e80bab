"""How the time of a sweep grows: ``python benchmarks/growth.py`` (about five minutes, two cores, 2 GB).

Writes ``benchmarks/results/growth.json`` and ``growth.png``: seconds per sweep of CSR rows in memory, in this process,
from 1e6 to 1e8 stored values and from 5 to 100 components. Linear growth is a constant time per value and component.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import numpy as np

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, verdict, write
from bcnmf_dask.benchmarking.synthetic import csr_chunk
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import FitSpec, RunSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.orders import Order
from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.plots import save
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

N_FEATURES, PER_ROW, SWEEPS = 3000, 150, 5
VALUES, COMPONENTS = (10**6, 10**7, 10**8), (5, 10, 20, 50, 100)
USUAL_VALUES, USUAL_COMPONENTS = 10**7, 20
ALLOWED = 1.3
"""Ratio of two times per value, or per value and component, that still counts as linear."""


def sweep_seconds(n_values, n_components, loss):
    """Median seconds, the first two sweeps left out."""
    inputs = read_inputs(csr_chunk(n_values // PER_ROW, N_FEATURES, PER_ROW, (0,)), None)
    engine = LocalEngine(RunSpec(inputs, plan_shards(inputs), "float32", [n_components]))
    engine.load()
    engine.start(FitSpec("fit", loss, n_components, 0), {})
    basis = np.random.default_rng(0).random((N_FEATURES, n_components), dtype=np.float32)
    seconds, steps = [], Steps(1, LOSSES[loss].default_damping)
    for stamp in range(SWEEPS + 2):
        started = time.perf_counter()
        engine.sweep([Order(basis / basis.sum(axis=0), steps, "fit", stamp, np.ones(n_components))])
        seconds.append(time.perf_counter() - started)
    engine.close()
    return median(seconds[2:])


def judge(found):
    """How far the slowest growth is from linear, along each axis."""
    for loss in LOSSES:
        per_value = [found[loss, n, USUAL_COMPONENTS] / n for n in VALUES[1:]]
        ratio = per_value[-1] / per_value[0]
        what = f"time per stored value, 1e8 against 1e7 values, {loss}"
        yield verdict(what, f"{ratio:.2f}", f"at most {ALLOWED}", ratio <= ALLOWED)
        per_component = [found[loss, USUAL_VALUES, k] / k for k in COMPONENTS]
        ratio = per_component[-1] / per_component[2]
        what = f"time per component, 100 against 20 components, {loss}"
        yield verdict(what, f"{ratio:.2f}", f"at most {ALLOWED}", ratio <= ALLOWED)


def figure(found):
    """Seconds per sweep along both axes, with a line of linear growth."""
    drawing, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for loss in LOSSES:
        axes[0].loglog(VALUES, [found[loss, n, USUAL_COMPONENTS] for n in VALUES], "o-", label=loss)
        axes[1].loglog(COMPONENTS, [found[loss, USUAL_VALUES, k] for k in COMPONENTS], "o-", label=loss)
    top = found["kullback-leibler", VALUES[-1], USUAL_COMPONENTS]
    axes[0].loglog(VALUES, [top * n / VALUES[-1] for n in VALUES], ":", color="grey", label="linear")
    top = found["kullback-leibler", USUAL_VALUES, COMPONENTS[-1]]
    axes[1].loglog(COMPONENTS, [top * k / COMPONENTS[-1] for k in COMPONENTS], ":", color="grey", label="linear")
    axes[0].set(xlabel="stored values", ylabel="seconds per sweep", title=f"{USUAL_COMPONENTS} components")
    axes[1].set(xlabel="components", title=f"{USUAL_VALUES:.0e} stored values")
    axes[0].legend(frameon=False)
    return drawing


def main():
    """Measure, judge, write and draw."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    folder = arguments.parse_args().out
    cases = {(n, USUAL_COMPONENTS) for n in VALUES} | {(USUAL_VALUES, k) for k in COMPONENTS}
    found = {(loss, *case): sweep_seconds(*case, loss) for case in sorted(cases) for loss in LOSSES}
    measurements = [
        Measurement(f"{loss}, {n:.0e} values, {k} components", 1, usable_cores(), REAL, {"sweep_seconds": seconds})
        for (loss, n, k), seconds in found.items()
    ]
    parameters = {"features": N_FEATURES, "stored_per_row": PER_ROW, "sweeps": SWEEPS}
    run = new_run("growth", "python benchmarks/growth.py", parameters, measurements, judge(found))
    write(run, folder / "growth.json")
    save(figure(found), folder / "growth.png")
    for one in run.verdicts:
        print(f"{one.what}: {one.measured} ({one.budget}: {one.status})")


if __name__ == "__main__":
    main()
