from collections.abc import Callable

import numpy as np
import pytest

from bcnmf_dask.data.inputs import Inputs, read_inputs
from bcnmf_dask.fitting.settings import Settings

DEFAULTS = {
    "n_components": 3,
    "alpha": 1.0,
    "weighting": "mean",
    "loss": "frobenius",
    "damping": None,
    "max_iter": 20,
    "tol": 0.0,
    "seed": 0,
}


@pytest.fixture
def make_settings() -> Callable[..., Settings]:
    """Settings of a fit, any of which can be given."""
    return lambda **given: Settings(**DEFAULTS | given)


@pytest.fixture
def both_sides() -> Inputs:
    """40 x 8 target and 20 x 8 background counts."""
    draw = np.random.default_rng(0)
    return read_inputs(draw.poisson(2.0, (40, 8)).astype(float), draw.poisson(2.0, (20, 8)).astype(float))


@pytest.fixture
def target_alone() -> Inputs:
    """40 x 8 target counts."""
    return read_inputs(np.random.default_rng(0).poisson(2.0, (40, 8)).astype(float), None)
