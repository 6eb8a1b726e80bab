"""The refitted objective: the basis is kept, and the usages of all rows are fitted to it anew, to the end."""

import numpy as np

from bcnmf_dask.data.draws import Draw
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.orders import Sample
from bcnmf_dask.fitting.loop import objective
from bcnmf_dask.updates.initialise import normalise
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps

REFIT = Steps(75, 1.25)


class Evaluator:
    """The refitted objective of any basis on given rows, by the same steps for whoever made it."""

    def __init__(self, target, background, loss, alpha, n_components):
        inputs = read_inputs(target, background)
        plan = plan_shards(inputs)
        self._engine = LocalEngine(RunSpec(inputs, plan, "float32", [n_components]))
        self._engine.load()
        self._everything = Draw((0,), 0, 1, inputs.n_rows, plan.block_rows)
        self._loss = LOSSES[loss]
        self._alpha = alpha

    def __call__(self, basis):
        basis = np.ascontiguousarray(normalise(basis)[0], dtype=np.float32)
        (record,), _ = self._engine.sample([Sample(basis, REFIT, self._loss.name, self._everything)])
        divergences = {role: self._loss.divergence(sums, basis.astype(float)) for role, sums in record.items()}
        return objective(divergences, self._alpha)
