"""Sweeps of a fit with the clock running, without the reading of inputs and the writing of results around them."""

from typing import Any

import numpy as np
import pandas as pd

from bcnmf_dask.benchmarking.model import Workload
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import FitSpec, RunSpec
from bcnmf_dask.engine.clients import open_engine
from bcnmf_dask.errors import ClusterError
from bcnmf_dask.fitting.loop import FitProgress, run_fits
from bcnmf_dask.fitting.stopping import Convergence, SweepRecord
from bcnmf_dask.solvers.published import Published
from bcnmf_dask.updates.initialise import draw_basis, normalise
from bcnmf_dask.updates.losses import LOSSES

WARM_UP = 2
"""First sweeps that do not count: kernels are compiled, connections between workers made."""
SPLIT = ("seconds", "compute_seconds", "read_seconds", "merge_seconds", "scheduler_seconds", "driver_seconds")
"""Columns of the history that say where the time of a sweep went."""


def sweep_seconds(
    client: Any, inputs: Inputs, workload: Workload, sweeps: int, device: str = "cpu"
) -> dict[str, float]:
    """Median seconds of a sweep of one fit in float32, and of its parts.

    Parameters
    ----------
    client : Client or False
        As `open_engine` takes it.
    inputs : Inputs
    workload : Workload
        Its loss and number of components are fitted.
    sweeps : int
        That count.
    device : {"cpu", "cuda", "auto"}
        What the workers compute on.

    Returns
    -------
    dict
        ``sweep_seconds``, and the parts as in the history.

    Raises
    ------
    ClusterError
        If a worker owns no rows: the figures would be those of fewer workers.
    """
    history = pd.DataFrame(_history(client, inputs, workload, WARM_UP + sweeps, device))
    medians = history.loc[WARM_UP:, list(SPLIT)].median()
    return {"sweep_seconds" if name == "seconds" else name: float(medians[name]) for name in SPLIT}


def _history(client: Any, inputs: Inputs, workload: Workload, sweeps: int, device: str) -> list[SweepRecord]:
    spec = FitSpec("fit", workload.loss, workload.n_components, 0)
    basis, scales = normalise(draw_basis(spec.seed, inputs.n_features, spec.n_components))
    fit = FitProgress(
        spec=spec,
        solver=Published(spec.loss, 0.0, LOSSES[spec.loss].default_damping),
        alpha=0.0,
        max_iter=sweeps,
        convergence=Convergence(0.0, "float32"),
        basis=basis.astype(np.float32),
        scales=scales,
    )
    run = RunSpec(inputs, plan_shards(inputs), "float32", [spec.n_components], device=device)
    with open_engine(client, run) as engine:
        engine.load()
        engine.start(spec, {})
        run_fits(engine, [fit], ())
        idle = [owner for owner, count in engine.describe().get("shards_per_worker", {}).items() if not count]
    if idle:
        raise ClusterError(f"{len(idle)} workers own no rows. Expected rows for all: raise --scale.")
    return fit.history
