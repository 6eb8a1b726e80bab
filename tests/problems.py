"""Small random factorization problems, and the hypothesis strategies that draw them."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Counts and start factors of both sides, dense float64."""

    target: Matrix
    background: Matrix
    basis: Matrix
    target_usages: Matrix
    background_usages: Matrix

    @property
    def sides(self):
        return (self.target, self.target_usages), (self.background, self.background_usages)

    @property
    def size(self):
        return float((self.target**2).sum() + (self.background**2).sum() + 1.0)


def make_problem(seed=0, n=13, m=9, f=7, k=3):
    draw = np.random.default_rng(seed)
    return Problem(
        target=draw.poisson(draw.gamma(1.0, 2.0, (n, f))).astype(float),
        background=draw.poisson(draw.gamma(1.0, 2.0, (m, f))).astype(float),
        basis=draw.random((f, k)) + 0.1,
        target_usages=draw.random((n, k)) + 0.1,
        background_usages=draw.random((m, k)) + 0.1,
    )


def with_zeros(problem):
    """The first row of each side and the first feature all zero, the last component dead."""
    target, background, basis = problem.target.copy(), problem.background.copy(), problem.basis.copy()
    target[0] = background[0] = 0
    target[:, 0] = background[:, 0] = 0
    basis[:, -1] = 0
    return replace(problem, target=target, background=background, basis=basis)


problems = st.builds(
    make_problem,
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    f=st.integers(1, 9),
    k=st.integers(1, 4),
)
alphas = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
dampings = st.one_of(st.just(1.0), st.floats(0.05, 1.0))


def csr(matrix, dtype=None):
    return sp.csr_array(matrix if dtype is None else matrix.astype(dtype))
