"""Peers that follow the same rule go the same way; when one has arrived."""

import numpy as np
import pandas as pd
import peer_sweeps
import pytest
import race
import scipy.sparse as sp
from race_figure import figure
from refitting import Evaluator

from bcnmf_dask.plots import save

N_COMPONENTS = 3


@pytest.fixture(scope="module")
def sides():
    draw = np.random.default_rng(0)
    programs = draw.gamma(0.3, 1.0, (4, 50))
    means = [draw.dirichlet(np.full(4, 0.3), size) @ programs for size in (300, 150)]
    return [sp.csr_array(draw.poisson(mean).astype(np.float32)) for mean in means]


def run(name, layout, loss, alpha, sides, sweeps):
    target, background = sides if layout == "csr" else [rows.toarray() for rows in sides]
    runner = peer_sweeps.PEERS[name].make(target, background if alpha else None, loss, alpha, N_COMPONENTS)
    assert runner.advance(sweeps) > 0
    return runner


@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
@pytest.mark.parametrize(("name", "layout", "alpha"), [
    ("bcnmf_dask", "dense", 1),
    ("published, lean NumPy", "dense", 0),
    ("published, lean NumPy", "dense", 1),
    ("dask.array", "dense", 0),
])  # fmt: skip
def test_peers_that_follow_the_published_rule_go_our_way(name, layout, alpha, loss, sides):
    ours = run(peer_sweeps.OURS, "csr", loss, alpha, sides, 6).basis()
    theirs = run(name, layout, loss, alpha, sides, 6).basis()
    assert theirs / theirs.sum(axis=0) == pytest.approx(ours, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("layout", ["csr", "dense"])
def test_the_frobenius_rule_of_scikit_learn_is_the_published_one(layout, sides):
    ours = run(peer_sweeps.OURS, "csr", "frobenius", 0, sides, 6).basis()
    theirs = run("scikit-learn mu", layout, "frobenius", 0, sides, 6).basis()
    assert theirs / theirs.sum(axis=0) == pytest.approx(ours, rel=1e-2, abs=1e-5)


def test_every_peer_here_comes_closer(sides):
    for name, peer in peer_sweeps.PEERS.items():
        if peer.measured == "sweeps":
            continue
        for layout, loss, alpha in peer.cases(["frobenius"]):
            target, background = sides
            evaluate = Evaluator(target, background if alpha else None, loss, alpha, N_COMPONENTS)
            before, after = (evaluate(run(name, layout, loss, alpha, sides, n).basis()) for n in (1, 12))
            assert after < before, name


def test_the_online_solver_ends(sides):
    runner = run(f"{peer_sweeps.OURS}, online", "csr", "frobenius", 0, sides, 1000)
    assert runner.over()
    assert runner.advance(5) == 0


def test_looks_grow_and_end_with_the_race():
    looks = race.looks(300)
    assert looks[:3] == [1, 2, 3]
    assert looks[-1] == 300
    assert np.all(np.diff(looks) > 0)


CURVE = pd.DataFrame({"sweeps": [0, 1, 2], "seconds": [0.0, 0.5, 1.0], "objective": [9.0, 5.04, 4.0]})


@pytest.mark.parametrize(("goal", "sweeps"), [(5.0, 1), (4.0, 2), (-4.0, None)])
def test_who_is_within_a_hundredth_of_the_goal_has_arrived(goal, sweeps):
    figures = race.outcome(CURVE, goal)
    assert figures.get("arrived_sweeps") == sweeps
    shown = race.cells(figures | {"not_finite": 0.0}, 0.25)
    assert shown == {1: ("0.5", "2", "1"), 2: ("1", "4", "2"), None: ("not reached in 1", "+200.0% above", "2")}[sweeps]


def test_the_picture(tmp_path):
    events = [(loss, alpha) for loss in ("frobenius", "kullback-leibler") for alpha in (0, 1)]
    columns = [{"peer": "bcnmf_dask", "layout": "csr", "loss": loss, "alpha": alpha} for loss, alpha in events]
    save(figure(pd.concat([CURVE.assign(**column) for column in columns])), tmp_path / "race.png")
    assert (tmp_path / "race.png").stat().st_size > 0
