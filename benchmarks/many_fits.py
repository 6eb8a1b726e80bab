"""What a grid of fits costs over one copy of the rows: ``python benchmarks/many_fits.py`` (about a minute).

Writes ``benchmarks/results/many_fits.json``: seconds per sweep of 20 fits and of one, taken in turns on one thread, of
CSR rows in memory, of the same read in every visit, and of dense rows.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import dask
import numpy as np

from bcnmf_dask.benchmarking.runs import REAL, Measurement, new_run, verdict, write
from bcnmf_dask.benchmarking.streaming import NOTHING_STAYS
from bcnmf_dask.benchmarking.synthetic import csr_chunk, dense_chunk
from bcnmf_dask.benchmarking.tables import markdown, verdict_table
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import FitSpec, RunSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.orders import Order
from bcnmf_dask.ingesting.run import ingest
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

FITS, COMPONENTS, N_FEATURES, PER_ROW = 20, 20, 3000, 150
CSR_ROWS, DENSE_ROWS = 30_000, 6_000
SWEEPS, WARM_UP = 7, 2


@dataclass(frozen=True)
class Case:
    """Rows, whether any of them stay in memory, and the most that all fits may cost of one."""

    rows: str
    stay: bool
    allowed: int

    @property
    def name(self):
        return f"{self.rows}, {'resident' if self.stay else 'streamed'}"


CASES = (Case("csr", True, 12), Case("csr", False, 12), Case("dense", True, 18))


def inputs_of(case, folder):
    """In memory, or in a store where rows are to be read in each visit."""
    if case.rows == "dense":
        return read_inputs(dense_chunk(DENSE_ROWS, N_FEATURES, (0,)), None)
    rows = csr_chunk(CSR_ROWS, N_FEATURES, PER_ROW, (0,))
    if case.stay:
        return read_inputs(rows, None)
    store = Path(folder) / "rows.zarr"
    if not store.exists():
        ingest(rows, store)
    return read_inputs(store, None)


class Grid:
    """Fits of one loss over the same rows."""

    def __init__(self, inputs, loss):
        self._engine = LocalEngine(RunSpec(inputs, plan_shards(inputs), "float32", [COMPONENTS] * FITS), n_threads=1)
        self._engine.load()
        draw = np.random.default_rng(0)
        bases = draw.random((FITS, N_FEATURES, COMPONENTS), dtype=np.float32)
        self._bases = bases / bases.sum(axis=1, keepdims=True)
        self._stamps, self._steps = [0] * FITS, Steps(1, LOSSES[loss].default_damping)
        for number in range(FITS):
            self._engine.start(FitSpec(str(number), loss, COMPONENTS, number), {})

    def seconds(self, n_fits):
        """Of a sweep of the first few fits."""
        orders = [
            Order(self._bases[i], self._steps, str(i), self._stamps[i], np.ones(COMPONENTS)) for i in range(n_fits)
        ]
        started = time.perf_counter()
        self._engine.sweep(orders)
        seconds = time.perf_counter() - started
        for number in range(n_fits):
            self._stamps[number] += 1
        return seconds

    @property
    def streamed(self):
        return self._engine.describe()["shards_streamed"]

    def close(self):
        self._engine.close()


def measure(case, loss, folder):
    """Median seconds of one fit and of all, and the median of their ratios."""
    with dask.config.set({} if case.stay else NOTHING_STAYS):
        grid = Grid(inputs_of(case, folder), loss)
    if bool(grid.streamed) == case.stay:
        raise RuntimeError(f"{case.name}: {grid.streamed} shards are streamed.")
    pairs = [(grid.seconds(1), grid.seconds(FITS)) for _ in range(WARM_UP + SWEEPS)][WARM_UP:]
    grid.close()
    return {
        "one_fit_seconds": median(one for one, _ in pairs),
        "all_fits_seconds": median(many for _, many in pairs),
        "ratio": median(many / one for one, many in pairs),
    }


def tables(run):
    """What the README shows of a run, in Markdown."""
    yield markdown(verdict_table(run.verdicts))


def main():
    """Measure, judge and write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "many_fits.json")
    given = arguments.parse_args()
    with TemporaryDirectory() as folder:
        found = {(case, loss): measure(case, loss, folder) for case in CASES for loss in LOSSES}
    measured = [
        Measurement(f"{case.name}, {loss}", 1, 1, REAL, figures | {"fits": FITS})
        for (case, loss), figures in found.items()
    ]
    verdicts = [
        verdict(
            f"a sweep of {FITS} fits against one of one fit, {case.name}, {loss}",
            f"{figures['ratio']:.1f}",
            f"at most {case.allowed}",
            figures["ratio"] <= case.allowed,
        )
        for (case, loss), figures in found.items()
    ]
    parameters = {
        "fits": FITS,
        "components": COMPONENTS,
        "features": N_FEATURES,
        "csr_rows": CSR_ROWS,
        "stored_per_row": PER_ROW,
        "dense_rows": DENSE_ROWS,
        "sweeps": SWEEPS,
    }
    write(new_run("many_fits", "python benchmarks/many_fits.py", parameters, measured, verdicts), given.out)
    for one in verdicts:
        print(f"{one.what}: {one.measured} ({one.budget}: {one.status})")


if __name__ == "__main__":
    main()
