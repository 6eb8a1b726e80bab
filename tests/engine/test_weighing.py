"""Weighting by deviance in both engines, with every solver: the same bits wherever the rows are."""

import pytest
import zarr
from cases import counts

from bcnmf_dask import BCNMF
from bcnmf_dask.engine.memory import Stays
from bcnmf_dask.fitting.parameters import SOLVERS
from bcnmf_dask.updates.losses import LOSSES


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_bits_on_any_number_of_workers_and_from_a_store(loss, solver, start_client, tmp_path, monkeypatch):
    paths = [tmp_path / "x.zarr", tmp_path / "y.zarr"]
    for path, side in zip(paths, counts(), strict=True):
        zarr.create_array(path, data=side, chunks=(64, side.shape[1]))

    def fitted(client, name):
        model = BCNMF(3, 1.5, weighting="deviance", loss=loss, solver=solver, max_iter=5, tol=0)
        model.fit(paths[0], background=paths[1], client=client, out=tmp_path / name)
        kept = {name: part for name, part in model.run_.items() if name.startswith("deviance")}
        return kept, model.result_.parameters["effective_alpha"], model.components_.tobytes()

    alone = fitted(False, "alone")
    for n_workers in (1, 3):
        assert fitted(start_client(n_workers), f"there-{n_workers}") == alone
    monkeypatch.setattr("bcnmf_dask.engine.local.resident", lambda *_: Stays())
    assert fitted(False, "streamed") == alone
