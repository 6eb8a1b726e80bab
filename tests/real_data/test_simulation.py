"""The authors' simulated counts: two target programs under a background that is up to 16 times as strong."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from bcnmf_dask import BCNMF

N_GENES, N_CELLS = 3000, 1000
N_SHARED, N_SHARED_GENES, N_TARGET_GENES = 5, 250, 120
SEEDS = range(3)


def simulate(beta, seed):
    """Counts of target and background cells, and the target program of each target cell."""
    draw = np.random.default_rng(seed)
    shared = programs(draw, N_SHARED, N_SHARED_GENES, 0, strength=0.6, leak=0.01)
    first = N_SHARED * N_SHARED_GENES
    specific = programs(draw, 2, N_TARGET_GENES, first, strength=0.9, leak=0.005)
    gene_noise = draw.gamma(1.0, 1.0, N_GENES)
    labels = draw.permutation(np.repeat([0, 1], N_CELLS // 2))

    def counts(extra):
        mean = 10 * beta * shared[draw.integers(N_SHARED, size=N_CELLS)] + extra
        mean += 0.02 + 0.01 * np.outer(draw.gamma(1.0, 1.0, N_CELLS), gene_noise)
        return draw.poisson(mean * draw.lognormal(0.0, 0.35, (N_CELLS, 1)))

    return counts(0.15 * specific[labels]), counts(0.0), labels


def programs(draw, count, n_genes, first, strength, leak):
    """Programs on disjoint sets of genes, and a little everywhere."""
    loadings = draw.gamma(0.5, leak, (count, N_GENES))
    for number, program in enumerate(loadings):
        start = first + number * n_genes
        program[start : start + n_genes] += draw.gamma(2.0, strength, n_genes)
    return loadings


def log_normalised(counts):
    return np.log1p(counts * (1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1)))


def agreement(beta, alpha, seed):
    target, background, labels = simulate(beta, seed)
    model = BCNMF(2, alpha, weighting="sum", loss="frobenius", max_iter=300, tol=0, random_state=seed)
    usages = model.fit_transform(log_normalised(target), background=log_normalised(background))
    return adjusted_rand_score(labels, KMeans(2, n_init=10, random_state=0).fit_predict(usages))


def test_target_programs_are_found_under_a_background_sixteen_times_as_strong():
    assert np.mean([agreement(beta=16, alpha=2.0, seed=seed) for seed in SEEDS]) >= 0.93


@pytest.mark.parametrize(("alpha", "least", "most"), [(0.0, -0.05, 0.05), (2.0, 0.97, 1.0)])
def test_plain_factorization_fails_where_the_contrast_does_not(alpha, least, most):
    assert least <= agreement(beta=4, alpha=alpha, seed=0) <= most
