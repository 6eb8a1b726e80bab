"""Strong and weak scaling, and the cost of arithmetic alone: real fits of synthetic data made on the workers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bcnmf_dask.benchmarking.benchmark import Benchmark, Setting, powers_to_cores
from bcnmf_dask.benchmarking.model import Workload
from bcnmf_dask.benchmarking.runs import OVERSUBSCRIBED, Measurement, Verdict, verdict
from bcnmf_dask.benchmarking.synthetic import synthetic_inputs
from bcnmf_dask.benchmarking.timing import sweep_seconds
from bcnmf_dask.updates.losses import LOSSES

SPEED_UP_OF_TWO = 1.8
WEAK_EFFICIENCY = 0.95
SWEEPS = 12
FEATURES = 2048
COMPONENTS = 20
STORED_PER_ROW = 102
"""About 5 % of the features."""
STRONG_ROWS = {"csr": 2**18, "dense": 2**15}
WEAK_ROWS = {"csr": 2**17, "dense": 2**14}
"""Per worker."""
COMPUTE_ROWS = {"csr": 2**16, "dense": 2**13}
COMPUTE_COMPONENTS = (5, 20, 40)
COMPUTE_SHAPES = {"csr": ((FEATURES, STORED_PER_ROW), (FEATURES, 20)), "dense": ((FEATURES, None), (256, None))}
"""Features and stored values per row: the share of what is done per row differs."""


class Shape(NamedTuple):
    """Rows of synthetic data.

    Attributes
    ----------
    kind : str
        ``"csr"`` or ``"dense"``.
    n_rows, n_features : int
    stored_per_row : int or None
        None if dense.
    """

    kind: str
    n_rows: int
    n_features: int
    stored_per_row: int | None

    def workload(self, loss: str, n_components: int) -> Workload:
        """What a sweep over these rows visits."""
        stored = self.n_rows * (self.stored_per_row or self.n_features)
        return Workload(stored, self.n_rows, self.n_features, n_components, loss, sparse=self.kind == "csr")


def measure_strong(setting: Setting) -> Iterator[Measurement]:
    """The same rows on any number of workers."""
    for kind, rows in STRONG_ROWS.items():
        yield from _all_losses(setting, _usual(kind, setting.rows(rows)), (COMPONENTS,))


def measure_weak(setting: Setting) -> Iterator[Measurement]:
    """The same rows per worker."""
    for kind, rows in WEAK_ROWS.items():
        yield from _all_losses(setting, _usual(kind, setting.rows(rows) * setting.workers), (COMPONENTS,))


def measure_compute(setting: Setting) -> Iterator[Measurement]:
    """Several numbers of components and stored values per row."""
    for kind, rows in COMPUTE_ROWS.items():
        for n_features, stored_per_row in COMPUTE_SHAPES[kind]:
            shape = Shape(kind, setting.rows(rows), n_features, stored_per_row)
            yield from _all_losses(setting, shape, COMPUTE_COMPONENTS)


def judge_strong(measurements: Sequence[Measurement]) -> list[Verdict]:
    """Speed-up against one worker; the budget is for two."""
    return [
        verdict(
            f"speed-up on {one.workers} workers, {one.case} ({one.label})",
            f"{speed_up:.2f} (of computing alone {alone:.2f})",
            *((f"at least {SPEED_UP_OF_TWO}", speed_up >= SPEED_UP_OF_TWO) if one.workers == 2 else ()),
        )
        for (one, speed_up), (_, alone) in _with_computing(measurements)
    ]


def judge_weak(measurements: Sequence[Measurement]) -> list[Verdict]:
    """Efficiency against one worker; the budget is not for more workers than there are cores to compute."""
    return [
        verdict(
            f"weak efficiency on {one.workers} workers, {one.case} ({one.label})",
            f"{ratio:.1%} (of computing alone {alone:.1%})",
            *((f"at least {WEAK_EFFICIENCY:.0%}", ratio >= WEAK_EFFICIENCY) if one.label != OVERSUBSCRIBED else ()),
        )
        for (one, ratio), (_, alone) in _with_computing(measurements)
    ]


Ratio = tuple[Measurement, float]


def against_one(measurements: Sequence[Measurement], figure: str = "sweep_seconds") -> Iterator[Ratio]:
    """Each measurement on more workers, and the seconds of one such worker divided by its own."""
    alone = {(one.case, one.threads): one.figures[figure] for one in measurements if one.workers == 1}
    for one in measurements:
        if one.workers > 1 and (one.case, one.threads) in alone:
            yield one, alone[one.case, one.threads] / one.figures[figure]


def _with_computing(measurements: Sequence[Measurement]) -> Iterator[tuple[Ratio, Ratio]]:
    """Ratios of whole sweeps and of computing alone: what is lost in that, cores take from each other."""
    return zip(against_one(measurements), against_one(measurements, "compute_seconds"), strict=True)


def _usual(kind: str, n_rows: int) -> Shape:
    return Shape(kind, n_rows, FEATURES, STORED_PER_ROW if kind == "csr" else None)


def _all_losses(setting: Setting, shape: Shape, components: Sequence[int]) -> Iterator[Measurement]:
    inputs = synthetic_inputs(shape.n_rows, shape.n_features, shape.stored_per_row)
    for loss in ("kullback-leibler", "frobenius"):
        for n_components in components:
            workload = shape.workload(loss, n_components)
            figures = sweep_seconds(setting.client, inputs, workload, SWEEPS)
            yield Measurement(workload.kind, setting.workers, setting.threads, setting.label, figures, workload)


STRONG = Benchmark(
    "strong",
    "Seconds per sweep of the same data on 1, 2, ... workers: both losses, CSR and dense.",
    powers_to_cores(),
    {"sweeps": SWEEPS, "rows": STRONG_ROWS, "losses": sorted(LOSSES)},
    measure_strong,
    judge_strong,
)
WEAK = Benchmark(
    "weak",
    "Seconds per sweep where every worker has the same share of the data, on 1, 2, ... workers.",
    powers_to_cores(),
    {"sweeps": SWEEPS, "rows_per_worker": WEAK_ROWS, "losses": sorted(LOSSES)},
    measure_weak,
    judge_weak,
)
COMPUTE = Benchmark(
    "compute",
    "Seconds per sweep for several numbers of components and values per row: what the scaling model learns from.",
    (1,),
    {"sweeps": SWEEPS, "rows": COMPUTE_ROWS, "components": COMPUTE_COMPONENTS, "losses": sorted(LOSSES)},
    measure_compute,
    lambda _: [],
)
