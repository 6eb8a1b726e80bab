"""The code blocks of the README run as they stand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import LocalCluster

README = (Path(__file__).parents[1] / "README.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", README, re.S)
PYTHON = re.findall(r"<!-- test: python -->\n```python\n(.*?)```", README, re.S)


@pytest.fixture
def atlas(tmp_path):
    draw = np.random.default_rng(0)
    counts = sp.csr_array(draw.poisson(0.5, (400, 60)).astype(np.float32))
    table = ad.AnnData(counts, layers={"counts": counts})
    table.obs["condition"] = ["stim", "ctrl"] * 200
    table.write_h5ad(tmp_path / "atlas.h5ad")
    return tmp_path


def run(script, folder):
    (folder / "script.py").write_text(script)
    return subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=200)


def test_the_fit_on_an_anndata(atlas):
    ended = run(PYTHON[0], atlas)
    assert ended.returncode == 0, ended.stderr
    assert "log2_fold_change" in ended.stdout
    assert (atlas / "fit.zarr").is_dir()


def test_the_fit_on_a_cluster(atlas):
    with LocalCluster(2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        ended = run(PYTHON[1].replace("tcp://127.0.0.1:8786", cluster.scheduler_address), atlas)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("tcp://127.0.0.1") == 2


def test_the_shell_blocks_come_first_one_command_per_line():
    assert README.split("```")[1].startswith("sh\n")
    assert README.split("```")[3].startswith("sh\n")
    assert len(SHELL) == 2
    for line in "".join(SHELL).splitlines():
        assert line.startswith(("python3 -m venv .venv", ".venv/bin/"))


COMMANDS = re.findall(r"```console\nbcnmf-dask (.*?)\n```", README)


WRITTEN = {"fit": ("fit.zarr", ["--max-iter", "5"]), "ingest": ("atlas.zarr", []), "plan": (".", [])}
"""What each subcommand leaves behind, and what makes it quick."""


def test_there_are_command_lines():
    assert [command.split()[0] for command in COMMANDS] == ["fit", "ingest", "plan", "fit"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_lines(command, atlas):
    out, quick = WRITTEN[command.split()[0]]
    ended = subprocess.run(
        [sys.executable, "-m", "bcnmf_dask", *shlex.split(command), *quick],
        cwd=atlas,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    assert (atlas / out).is_dir()
