"""What checkpoints cost where sweeps take their time."""

from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory

from bcnmf_dask.benchmarking.benchmark import Benchmark, Setting
from bcnmf_dask.benchmarking.overhead import timed_fit
from bcnmf_dask.benchmarking.runs import Measurement, Verdict, verdict
from bcnmf_dask.benchmarking.synthetic import dense_chunk
from bcnmf_dask.fitting.checkpointing import Checkpointing

EVERY = 25
SWEEPS = 2 * EVERY + 1
ALLOWED = 0.02
"""Share of the time."""
ROWS, FEATURES, COMPONENTS = 50_000, 2_000, 20


def measure(setting: Setting) -> Iterator[Measurement]:
    """1e8 dense values, both losses."""
    rows = dense_chunk(setting.rows(ROWS), FEATURES, (0,))
    for loss in ("kullback-leibler", "frobenius"):
        with TemporaryDirectory(dir=setting.folder, prefix=".checkpoint-") as folder:
            saving = Checkpointing(folder, EVERY, resume=False)
            history = timed_fit(setting.client, rows, SWEEPS, loss, COMPONENTS, saving)
        # A checkpoint falls into the interval that ends with the next sweep.
        after = history.iteration % EVERY == 1
        sweep = float(history.interval[~after].median())
        cost = float(history.interval[after].mean()) - sweep
        figures = {"sweep_seconds": sweep, "checkpoint_seconds": cost, "share_of_time": cost / (EVERY * sweep)}
        case = f"{rows.size:.2g} values, {loss}"
        yield Measurement(case, setting.workers, setting.threads, setting.label, figures)


def judge(measurements: Sequence[Measurement]) -> list[Verdict]:
    """Each against its share of the time."""
    return [
        verdict(
            f"checkpoints every {EVERY} sweeps, {one.case}, {one.workers} workers ({one.label})",
            f"{one.figures['share_of_time']:.1%} of the time",
            f"under {ALLOWED:.0%}",
            one.figures["share_of_time"] < ALLOWED,
        )
        for one in measurements
    ]


CHECKPOINT = Benchmark(
    "checkpoint",
    f"What a checkpoint every {EVERY} sweeps costs, at 1e8 values. On a running cluster, --out must be a folder that "
    "all workers share.",
    (2,),
    {"rows": ROWS, "features": FEATURES, "components": COMPONENTS, "every": EVERY, "sweeps": SWEEPS},
    measure,
    judge,
)
