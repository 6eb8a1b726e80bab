"""How much memory a fit adds to a process that holds the rows already (budgets of the design)."""

import subprocess
import sys
from pathlib import Path

import pytest

FIT = """
import sys
from pathlib import Path
from bcnmf_dask import BCNMF
from bcnmf_dask.benchmarking.synthetic import csr_chunk

def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

target, background = (csr_chunk(n_rows, 2000, 200, (0, n_rows)) for n_rows in (120_000, 80_000))
Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
before = most()
BCNMF(10, loss=sys.argv[1], max_iter=3, tol=0).fit(target, background=background, client=False)
print(most() - before, 8 * (target.nnz + background.nnz))
"""


def resets_its_high_water_mark():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not resets_its_high_water_mark(), reason="this system does not reset the high-water mark of memory")
@pytest.mark.parametrize("loss", ["frobenius", "kullback-leibler"])
def test_a_fit_of_csr_rows_copies_none_of_them(loss):
    done = subprocess.run([sys.executable, "-c", FIT, loss], capture_output=True, text=True, check=True)
    added, rows = map(int, done.stdout.split())
    factors = 4 * 10 * (200_000 + 2000)
    statistics = 2 * 8 * 10 * 2010 * (64 + 8)  # threads (64 at most here) and the levels of the tree over the blocks
    allowed = 200e6 + 3 * factors + statistics
    assert allowed < rows, "else a copy would not be noticed"
    assert added < allowed
