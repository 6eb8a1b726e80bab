"""All benchmarks by name, in the order in which they are run and reported. One more needs a line here, no more."""

from collections.abc import Mapping

from bcnmf_dask.benchmarking.benchmark import Benchmark
from bcnmf_dask.benchmarking.checkpoint import CHECKPOINT
from bcnmf_dask.benchmarking.orchestration import ORCHESTRATION_ONLY
from bcnmf_dask.benchmarking.overhead import OVERHEAD
from bcnmf_dask.benchmarking.scaling import COMPUTE, STRONG, WEAK

BENCHMARKS: Mapping[str, Benchmark] = {
    one.name: one for one in (OVERHEAD, CHECKPOINT, COMPUTE, STRONG, WEAK, ORCHESTRATION_ONLY)
}
