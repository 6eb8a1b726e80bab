"""The accelerated solver when its steps are too long: it says so once, and the record of the run tells it."""

import logging

import numpy as np
import pytest

from bcnmf_dask import BCNMF
from bcnmf_dask.solvers import accelerated


def fit(solver="accelerated", **options):
    draw = np.random.default_rng(0)
    target, background = (draw.poisson(draw.gamma(1.0, 2.0, (n, 12))) for n in (60, 40))
    model = BCNMF(3, 0.2, solver=solver, loss="frobenius", max_iter=12, tol=0)
    return model.fit(target, background=background, client=False, **options)


@pytest.fixture
def too_long(monkeypatch):
    """Steps that are taken for too long ones at the second look, which comes soon."""
    monkeypatch.setattr(accelerated, "TOLERANCE", -10.0)
    monkeypatch.setattr(accelerated, "FIRST_LOOK", 2)


def test_it_is_said_once_and_noted(too_long, caplog, tmp_path):
    fitted = fit(checkpoint=tmp_path / "saved", checkpoint_every=6)
    assert fitted.run_["fallen_back"] is True
    (said,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "steps of solver='accelerated' are too long" in said.getMessage()
    caplog.clear()
    again = fit(checkpoint=tmp_path / "saved", checkpoint_every=6, resume=True)
    assert again.run_["fallen_back"] is True
    assert not caplog.records, "it was said before the fit was resumed"


def test_steps_that_are_borne_are_noted_too(caplog):
    fitted = fit()
    assert fitted.run_["fallen_back"] is False
    assert not caplog.records


@pytest.mark.parametrize("solver", ["published", "online"])
def test_other_solvers_have_nothing_to_fall_back_on(solver):
    assert "fallen_back" not in fit(solver).run_
