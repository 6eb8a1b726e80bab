"""A small count data set with names, and a quick estimator for it."""

import numpy as np
import pandas as pd

from bcnmf_dask import BCNMF

N, M, F, K = 60, 30, 12, 3
GENES = [f"gene-{i}" for i in range(F)]


def draw_counts():
    draw = np.random.default_rng(0)
    programs = draw.gamma(0.5, 4.0, (K, F))
    x, y = (draw.poisson(draw.gamma(0.7, 2.0, (n, K)) @ programs).astype(float) for n in (N, M))
    return x + (draw.random((N, F)) < 0.2), y


X, Y = draw_counts()


def make(**given):
    """A quick estimator that does not stop early, and so does not warn."""
    return BCNMF(**{"n_components": K, "alpha": 0.2, "loss": "frobenius", "max_iter": 20, "tol": 0} | given)


def frame(matrix, names=GENES):
    return pd.DataFrame(matrix, columns=names, index=[f"cell-{i}" for i in range(len(matrix))])
