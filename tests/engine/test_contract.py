"""Both engines, every kind of input: the published updates, to rounding."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from cases import CASES, KINDS, SWEEPS, N, expected, settings

from bcnmf_dask.backend import no_device
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.fitting.factorize import factorize

ENGINES = ["local", "cluster", *(pytest.param(f"{name}-cuda", marks=pytest.mark.gpu) for name in ("local", "cluster"))]


def place(engine, client_of):
    """Where an engine runs, as `factorize` takes it."""
    name, _, device = engine.partition("-")
    if device and (missing := no_device()) is not None:
        pytest.skip(missing)
    return {"client": client_of[name](), "device": device or "cpu"}


def reconstructions(result):
    usages = (np.asarray(result.target_usages), np.asarray(result.background_usages))
    return [one.astype(np.float64) @ result.components.astype(np.float64) for one in usages]


def worst(result, case, kind):
    """Largest relative difference (of the largest entry) between a result and the oracle, over both reconstructions."""
    basis, target, background, _ = expected("roles" if kind.startswith("roles") else "pair", *case)
    wanted = (target @ basis.T, background @ basis.T)
    pairs = zip(reconstructions(result), wanted, strict=True)
    return max(np.abs(got - want).max() / want.max() for got, want in pairs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_case_agrees_with_the_oracle(kind, engine, client_of, tmp_path):
    inputs = read_inputs(*KINDS[kind](tmp_path))
    where = place(engine, client_of)
    results = factorize(inputs, [settings(kind, *case) for case in CASES], dtype="float64", **where)
    for case, result in zip(CASES, results, strict=True):
        assert worst(result, case, kind) < 1e-9, case
        history = expected("roles" if kind.startswith("roles") else "pair", *case)[3]
        got = result.history[["target_divergence", "background_divergence"]].to_numpy()
        np.testing.assert_allclose(got, history, rtol=1e-9)
        assert len(result.history) == SWEEPS
    if engine.startswith("cluster"):
        assert sum(count > 0 for count in results[0].run["shards_per_worker"].values()) > 1 or kind == "dask-one-chunk"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["numpy", "csr-array", "roles-csr"])
def test_float32_stays_within_a_thousandth(kind, engine, client_of, tmp_path):
    inputs = read_inputs(*KINDS[kind](tmp_path))
    chosen = [settings(kind, *case) for case in CASES]
    results = factorize(inputs, chosen, dtype="float32", **place(engine, client_of))
    for case, result in zip(CASES, results, strict=True):
        assert result.components.dtype == np.float32
        assert np.asarray(result.target_usages).dtype == np.float32
        assert worst(result, case, kind) < 1e-3, case


@pytest.mark.parametrize(("kind", "form"), [("numpy", np.ndarray), ("xarray", xr.DataArray), ("zarr", da.Array)])
def test_usages_come_back_as_the_kind_that_went_in(kind, form, tmp_path):
    (result,) = factorize(
        read_inputs(*KINDS[kind](tmp_path)), [settings(kind, *CASES[0])], dtype="float64", client=False
    )
    assert isinstance(result.target_usages, form)
    assert isinstance(result.background_usages, form)
    assert result.target_usages.shape == (N, 4)
