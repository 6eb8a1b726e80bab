"""Fits on a device are those on CPUs: in every place that rows may be, and with all that surrounds a fit."""

import sys

import dask
import numpy as np
import pytest
import scipy.sparse as sp
from cases import KINDS, K, counts
from device_fits import EVERYWHERE, NO_MEMORY, NO_ROOM, close, fitted

from bcnmf_dask import BCNMF
from bcnmf_dask.engine.shelf import Shelf
from bcnmf_dask.updates import device_csr

LOSSES = ("frobenius", "kullback-leibler")
FORMS = {"csr": sp.csr_array, "dense": np.asarray, "integers": lambda rows: sp.csr_array(rows.astype(np.uint8))}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_fit_is_that_on_cpus(loss, form, where, device):
    x, y = map(FORMS[form], counts())
    expected = fitted(x, y, "cpu", loss)
    with dask.config.set(EVERYWHERE[where]):
        found = fitted(x, y, device, loss)
    close(found, expected)
    assert (found.run_["device"], expected.run_["device"]) == ("cuda", "cpu")


def test_float32_is_near(device):
    x, y = map(sp.csr_array, counts())
    close(fitted(x, y, device, dtype="float32"), fitted(x, y, "cpu"), rtol=2e-3)


@pytest.mark.parametrize("kind", ["zarr", "anndata-zarr-csr", "anndata-h5ad-dense", "roles-zarr", "dask-csr"])
@pytest.mark.parametrize("limits", [{}, NO_MEMORY, NO_MEMORY | EVERYWHERE["some of both"], NO_MEMORY | NO_ROOM])
def test_rows_of_stores_and_dask_arrays(kind, limits, tmp_path, device):
    """Rows on the device need no memory of the host; what finds room on neither goes from the store to the device."""
    given = KINDS[kind](tmp_path)
    expected = fitted(*given, "cpu")
    with dask.config.set(limits if kind != "dask-csr" else {}):
        found = fitted(*given, device)
    streamed, shards = found.run_["shards_streamed"], found.run_["shards"]
    assert streamed == 0 or "bcnmf-dask.device-memory-limit" in limits
    assert streamed == shards or limits != NO_MEMORY | NO_ROOM or kind == "dask-csr"
    close(found, expected)


@pytest.mark.parametrize("solver", ["accelerated", "online"])
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("form", ["csr", "dense"])
def test_other_solvers(form, where, solver, device, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.solvers.accelerated.FIRST_LOOK", 1)
    monkeypatch.setattr("bcnmf_dask.solvers.accelerated.SAMPLE_ROWS", 100)
    x, y = map(FORMS[form], counts())
    more = {"solver": solver, "sweeps": 2, "batch_size": 100 if solver == "online" else None}
    expected = fitted(x, y, "cpu", **more)
    with dask.config.set(EVERYWHERE[where]):
        close(fitted(x, y, device, **more), expected, rtol=1e-8)


def test_new_rows_are_transformed(device):
    x, y = map(sp.csr_array, counts())
    model = fitted(x, y, "cpu")
    expected = model.transform(y, client=False, device="cpu")
    np.testing.assert_allclose(model.transform(y, client=False, device=device), expected, 1e-9, 1e-12)


class Killed(Exception):
    pass


def kill(record):
    if record.iteration == 3:
        raise Killed


def going_on(places, folder, **more):
    """A fit that is killed on the first of two devices and goes on on the other; and one on CPUs, undisturbed."""
    x, y = map(sp.csr_array, counts())
    with pytest.raises(Killed):
        fitted(x, y, places[0], checkpoint=folder, checkpoint_every=1, callbacks=[kill], **more)
    found = fitted(x, y, places[1], checkpoint=folder, resume=True, **more)
    assert found.run_["resumed_from"] == 2
    return found, fitted(x, y, "cpu", **more)


PLACES = pytest.mark.parametrize("places", [("cpu", "cuda"), ("cuda", "cpu")], ids=" then ".join)


@PLACES
@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_fit_goes_on_where_there_is_no_device_and_the_other_way(where, places, tmp_path, device):
    with dask.config.set(EVERYWHERE[where]):
        close(*going_on(places, tmp_path / "checkpoints"))


@PLACES
@pytest.mark.parametrize("more", [{"solver": "accelerated"}, {"solver": "online", "batch_size": 40}])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_solvers_remember_goes_along(loss, more, places, tmp_path, device, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.solvers.accelerated.FIRST_LOOK", 1)
    close(*going_on(places, tmp_path / "checkpoints", loss=loss, **more), rtol=1e-8)


@PLACES
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_remembered_of_a_role_that_few_batches_have(loss, places, tmp_path, device, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.data.draws.PIECES", 1)
    x, y = map(sp.csr_array, counts())
    monkeypatch.setattr(sys.modules[__name__], "counts", lambda: (x.toarray(), y.toarray()[:30]))
    more = {"solver": "online", "batch_size": 12, "loss": loss}
    close(*going_on(places, tmp_path / "checkpoints", **more), rtol=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_lines_that_are_much_longer_have_a_team_of_their_own(loss, device, monkeypatch):
    """Genes that every cell has, and cells with many more counts than others."""
    x, y = counts()
    x[:, 3], x[20], y[:, 5] = 7, 1, 2
    rows = [sp.csr_array(part) for part in (x, y)]
    monkeypatch.setattr(device_csr, "LONG", 30)
    close(fitted(*rows, device, loss), fitted(*rows, "cpu", loss))
    block = device_csr.csr_to_device(rows[0])
    assert [team for team, _, _ in block.rows.teams] == [16, 1]
    assert [team for team, _, _ in block.columns.teams] == [16, 1]
    assert sum(n_lines for _, n_lines, _ in block.columns.teams) == x.shape[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_twice(dtype, device):
    """Every sum has one owner and a fixed order, so that a shard that is replayed is the one that was lost."""
    x, y = map(sp.csr_array, counts())
    found = [fitted(x, y, device, dtype=dtype) for _ in range(2)]
    assert len({one.components_.tobytes() + one.target_usages_.tobytes() for one in found}) == 1


def test_the_same_bits_wherever_the_rows_are(device):
    x, y = map(sp.csr_array, counts())
    found = set()
    for where in EVERYWHERE.values():
        with dask.config.set(where):
            found.add(fitted(x, y, device, dtype="float32").components_.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("device", ["emulated"], indirect=True)
@pytest.mark.parametrize(("asked", "said"), [("1", "cuda, TF32"), ("0", "cuda"), ("", "cuda")])
def test_products_in_19_bits_are_reported(asked, said, device, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", asked)
    assert fitted(counts()[0], counts()[1], device, sweeps=1).run_["device"] == said


def test_an_online_fit_that_is_stopped_over_rows_that_are_read(tmp_path, device, monkeypatch):
    """Its last sweep finds blocks that were kept for draws: they come first, and must not be joined so."""
    monkeypatch.setattr("bcnmf_dask.data.draws.PIECES", 2)
    monkeypatch.setattr("bcnmf_dask.engine.local.Shelf", lambda _: Shelf(1e9))
    given = KINDS["anndata-zarr-csr"](tmp_path)
    fits = []
    for where in ("cpu", device):
        model = BCNMF(K, 0.5, solver="online", batch_size=20, dtype="float64", max_iter=3)
        with dask.config.set(NO_MEMORY | NO_ROOM):
            model.fit(
                *given[:1], background=given[1], client=False, device=where, callbacks=[lambda one: one.iteration == 3]
            )
        fits.append(model)
    close(*fits, rtol=1e-8)
