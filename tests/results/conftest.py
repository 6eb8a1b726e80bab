from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bcnmf_dask.results.provenance import FeatureMatch, Origin, Provenance, Selection
from bcnmf_dask.results.record import Divergences, FitResult, Side, Status
from bcnmf_dask.results.separation import Separation

N_TARGET, N_BACKGROUND, N_COMPONENTS, N_FEATURES = 7, 5, 3, 4


@dataclass(frozen=True)
class Names:
    """Row names made when they are read, as a source of 1e8 cells would give them."""

    prefix: str
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> NDArray[np.object_]:
        return np.array([f"{self.prefix}-{row}" for row in range(start, stop)], dtype=object)


def provenance(*roles: str) -> Provenance:
    """Of a fit of rows of one store, chosen by their condition."""
    labels = {"target": ("stim",), "background": ("ctrl", "sham")}
    return Provenance(
        citation="arXiv:2602.22387",
        started="2026-01-02T03:04:05Z",
        ended="2026-01-02T03:04:15Z",
        command="bcnmf-dask fit cells.h5ad --out fit.zarr",
        system="Linux x86_64",
        given={"alpha": None},
        sources=(Origin("AnnData .h5ad file", "/data/cells.h5ad", "layers/counts", 12, N_FEATURES, 4096),),
        sides={role: Selection(0, "condition", labels[role], None, N_FEATURES) for role in roles},
        matching=FeatureMatch("strict", "name", N_FEATURES) if len(roles) > 1 else None,
        derived_from=None,
    )


def history(n_sweeps: int = 2) -> pd.DataFrame:
    sweeps = np.arange(1, n_sweeps + 1)
    return pd.DataFrame(
        {
            "iteration": sweeps,
            "data_visits": sweeps * 1.0,
            "target_divergence": 10.0 / sweeps,
            "background_divergence": 8.0 / sweeps,
            "objective": 2.0 / sweeps,
            "basis_change": 0.5 / sweeps,
            "seconds": 0.25 * sweeps,
            "compute_seconds": 0.15 * sweeps,
            "read_seconds": 0.05 * sweeps,
            "merge_seconds": 0.01 * sweeps,
            "scheduler_seconds": 0.07 * sweeps,
            "driver_seconds": 0.02 * sweeps,
        }
    )


def side(usages: NDArray[np.floating], total: float) -> Side:
    """Of these usages, a tenth of which is left to the mean profile."""
    signal = usages.sum(axis=0, dtype=np.float64)
    return Side(len(usages), total, signal, np.append(0.9 * signal, 0.1 * signal.sum()), np.full(len(signal), 2.0))


@pytest.fixture
def make_result() -> Callable[..., FitResult]:
    """A small fit, any field of which can be given."""

    def make(**fields: object) -> FitResult:
        generator = np.random.default_rng(0)
        components = generator.random((N_COMPONENTS, N_FEATURES), dtype=np.float32)
        target = generator.random((N_TARGET, N_COMPONENTS), dtype=np.float32)
        background = generator.random((N_BACKGROUND, N_COMPONENTS), dtype=np.float32)
        defaults = {
            "components": components,
            "target_usages": target,
            "background_usages": background,
            "sides": {"target": side(target, 50.0), "background": side(background, 40.0)},
            "separation": Separation(np.array([0.9, 0.5, 0.25]), 0.0),
            "profile": np.array([0.4, 0.3, 0.2, 0.1]),
            "floor": np.full(N_FEATURES, 1e-16, np.float32),
            "history": history(),
            "divergences": Divergences(1.5, 2.5, -1.0),
            "status": Status("converged", "The fit converged after 2 sweeps.", True),
            "features": np.array(["ISG15", "IFI6", "β-actin", "MX1"], dtype=object),
            "row_names": {"target": Names("stim", N_TARGET), "background": Names("ctrl", N_BACKGROUND)},
            "parameters": {"alpha": 1.0, "loss": "frobenius", "random_state": 0, "damping": None},
            "versions": {"numpy": "2.4.6"},
            "run": {"resumed_from": 12, "shards_per_worker": {"a": 2}},
            "provenance": provenance("target", "background"),
        }
        return FitResult(**(defaults | fields))

    return make


@pytest.fixture
def plain_result(make_result) -> FitResult:
    """Plain NMF of unnamed data: no background, no names."""
    return make_result(
        background_usages=None,
        sides={"target": side(np.ones((N_TARGET, N_COMPONENTS)), 50.0)},
        separation=Separation(np.full(N_COMPONENTS, np.nan), 0.0),
        divergences=Divergences(1.5, float("nan"), 1.5),
        features=None,
        row_names={"target": None},
        history=history().assign(background_divergence=np.nan),
        run={},
        provenance=provenance("target"),
    )
