"""Orchestration only: sweeps that sleep instead of computing, on more workers than there are cores."""

from collections.abc import Iterator, Sequence

from bcnmf_dask.benchmarking import stand_in
from bcnmf_dask.benchmarking.benchmark import UP_TO_32, Benchmark, Setting
from bcnmf_dask.benchmarking.model import Workload
from bcnmf_dask.benchmarking.runs import ORCHESTRATION, Measurement, Verdict, verdict
from bcnmf_dask.benchmarking.scaling import FEATURES, WEAK_EFFICIENCY, against_one
from bcnmf_dask.benchmarking.synthetic import CHUNK_ROWS, synthetic_inputs
from bcnmf_dask.benchmarking.timing import sweep_seconds
from bcnmf_dask.engine.measuring import call_everywhere

ROWS_PER_WORKER = 2 * CHUNK_ROWS
"""One chunk of each role. The scale does not change it: a worker without rows would not take part."""
COMPONENTS = (5, 20)
"""Statistics of two sizes."""
SWEEPS = 10


def measure(setting: Setting) -> Iterator[Measurement]:
    """Weak scaling of the stand-in: the same sleep per worker on any number of workers."""
    stand_in.register()
    call_everywhere(setting.client, stand_in.register)
    n_rows = ROWS_PER_WORKER * setting.workers
    slept = ROWS_PER_WORKER * stand_in.SECONDS_PER_ROW / setting.threads
    inputs = synthetic_inputs(n_rows, FEATURES, stored_per_row=1)
    for n_components in COMPONENTS:
        workload = Workload(0, n_rows, FEATURES, n_components, stand_in.NAME, sparse=True)
        figures = sweep_seconds(setting.client, inputs, workload, SWEEPS)
        figures["overhead_seconds"] = figures["sweep_seconds"] - slept
        case = f"sweeps of {slept:g} s, {n_components} components"
        yield Measurement(case, setting.workers, setting.threads, ORCHESTRATION, figures, workload, slept)


def judge(measurements: Sequence[Measurement]) -> list[Verdict]:
    """Per case, the lowest efficiency against one worker."""
    lowest: dict[str, tuple[Measurement, float]] = {}
    for one, ratio in sorted(against_one(measurements), key=lambda pair: -pair[1]):
        lowest[one.case] = one, ratio
    most = max((one.workers for one in measurements), default=1)
    return [
        verdict(
            f"weak efficiency on up to {most} workers, {case} ({one.label})",
            f"at least {ratio:.1%} (on {one.workers})",
            f"at least {WEAK_EFFICIENCY:.0%}",
            ratio >= WEAK_EFFICIENCY,
        )
        for case, (one, ratio) in lowest.items()
    ]


ORCHESTRATION_ONLY = Benchmark(
    "orchestration",
    "Sweeps that sleep for a fixed time instead of computing, with statistics, merges and messages of a real size, on "
    "up to 32 worker processes: orchestration only.",
    UP_TO_32,
    {"sweeps": SWEEPS, "rows_per_worker": ROWS_PER_WORKER, "seconds_per_row": stand_in.SECONDS_PER_ROW},
    measure,
    judge,
)
