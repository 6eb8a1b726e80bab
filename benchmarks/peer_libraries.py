"""NMF of other libraries; none has a contrast."""

from itertools import count

import numpy as np
from peer_runners import Runner, by_sweeps, clocked, start
from sklearn.decomposition import MiniBatchNMF, non_negative_factorization

from bcnmf_dask.engine.threads import usable_cores


def by_calls(call, target, n_components):
    """A peer that goes on from the factors of its last call; what a call costs without a sweep is not counted.

    ``call(usages, components, sweeps)`` returns both factors.
    """
    basis, usages = start(target, None, n_components)
    factors = [usages, np.ascontiguousarray(basis.T)]

    def trial(sweeps):
        copies = [one.copy() for one in factors]
        return clocked(call, *copies, sweeps)

    trial(1)
    one, four = (min(trial(sweeps) for _ in range(3)) for sweeps in (1, 4))
    aside = max((4 * one - four) / 3, 0.0)

    def go_on(sweeps):
        factors[:] = call(*factors, sweeps)

    return Runner(lambda sweeps: max(clocked(go_on, sweeps) - aside, 1e-9), lambda: factors[1].T, stride=4)


def scikit_learn(solver):
    """`sklearn.decomposition.NMF` by this solver."""

    def run(target, background, loss, alpha, n_components):
        options = {"n_components": n_components, "init": "custom", "solver": solver, "beta_loss": loss, "tol": 0}

        def call(usages, components, sweeps):
            return non_negative_factorization(target, usages, components, max_iter=sweeps, **options)[:2]

        return by_calls(call, target, n_components)

    return run


def mini_batch(target, background, loss, alpha, n_components):
    """`sklearn.decomposition.MiniBatchNMF`; a sweep is one pass."""
    options = {"init": "custom", "beta_loss": loss, "tol": 0, "max_no_improvement": None}

    def call(usages, components, passes):
        model = MiniBatchNMF(n_components, max_iter=passes, **options)
        return model.fit_transform(target, W=usages, H=components), model.components_

    return by_calls(call, target, n_components)


def nmf_torch(target, background, loss, alpha, n_components):
    """``nmf-torch``, multiplicative updates, with a look at its loss every ten sweeps, as its own loop has."""
    import torch
    from nmf.nmf_models import NMFBatchMU

    basis, usages = start(target, None, n_components)

    class Started(NMFBatchMU):
        def _initialize_H_W(self):
            self.H, self.W = torch.tensor(usages), torch.tensor(basis.T.copy())

    names = ("alpha_W", "l1_ratio_W", "alpha_H", "l1_ratio_H")
    options = dict.fromkeys(names, 0.0) | {"fp_precision": "float", "device_type": "cpu", "n_jobs": usable_cores()}
    beta = {"frobenius": 2, "kullback-leibler": 1}[loss]
    model = Started(n_components, "random", beta, tol=0.0, random_state=0, max_iter=0, **options)
    model.fit(target)
    numbers = count(1)

    def sweep():
        model._update_H()
        model._update_W()
        if next(numbers) % 10 == 0:
            model._loss()

    return by_sweeps(sweep, lambda: model.W.numpy().T)
