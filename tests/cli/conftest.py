import re
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner, Result

from bcnmf_dask.cli.main import app

N_TARGET, N_BACKGROUND, N_FEATURES = 30, 20, 12
WIDE = {"COLUMNS": "300", "NO_COLOR": "1"}


@pytest.fixture
def run(monkeypatch, tmp_path) -> Callable[..., Result]:
    """Run the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def runner(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=WIDE)

    return runner


@pytest.fixture
def plain() -> Callable[[str], str]:
    """Output without the boxes and line breaks that the command line library draws."""
    return lambda text: re.sub(r"[\s│]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


def counts(n_rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(1.0, (n_rows, N_FEATURES)).astype(np.float32)


@pytest.fixture
def cells() -> anndata.AnnData:
    """30 stimulated and 20 control cells, 12 genes, of which 8 are variable; raw counts in X and in a layer."""
    rows = sp.csr_matrix(np.vstack([counts(N_TARGET, 1), counts(N_BACKGROUND, 2)]))
    condition = pd.Categorical(["stim"] * N_TARGET + ["ctrl"] * N_BACKGROUND)
    names = [f"cell{i}" for i in range(rows.shape[0])]
    var = pd.DataFrame({"variable": [True] * 8 + [False] * 4}, index=[f"gene{i}" for i in range(N_FEATURES)])
    return anndata.AnnData(
        rows, obs=pd.DataFrame({"condition": condition}, index=names), var=var, layers={"halves": rows / 2}
    )


@pytest.fixture
def h5ad_pair(cells, tmp_path) -> tuple[Path, Path]:
    stim, ctrl = tmp_path / "stim.h5ad", tmp_path / "ctrl.h5ad"
    cells[:N_TARGET].copy().write_h5ad(stim)
    cells[N_TARGET:].copy().write_h5ad(ctrl)
    return stim, ctrl


@pytest.fixture
def store(cells, tmp_path) -> Path:
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    return path
