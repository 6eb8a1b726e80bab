"""All benchmarks by name, in the order in which they are run and reported. One more needs a line here, no more."""

from collections.abc import Mapping
from pathlib import Path

from bcnmf_dask.benchmarking.benchmark import Benchmark, judged
from bcnmf_dask.benchmarking.checkpoint import CHECKPOINT
from bcnmf_dask.benchmarking.orchestration import ORCHESTRATION_ONLY
from bcnmf_dask.benchmarking.overhead import OVERHEAD
from bcnmf_dask.benchmarking.runs import Run, read_all
from bcnmf_dask.benchmarking.scaling import COMPUTE, STRONG, WEAK
from bcnmf_dask.benchmarking.streaming import STREAMING

BENCHMARKS: Mapping[str, Benchmark] = {
    one.name: one for one in (OVERHEAD, CHECKPOINT, COMPUTE, STRONG, WEAK, STREAMING, ORCHESTRATION_ONLY)
}


def results_in(folder: Path) -> list[Run]:
    """The runs in a folder, those of one benchmark, machine and parameters pooled and judged together.

    Raises
    ------
    InputError
        If there are none, or a file is not one.
    """
    return [judged(BENCHMARKS[run.benchmark], run) for run in read_all(folder, list(BENCHMARKS))]
