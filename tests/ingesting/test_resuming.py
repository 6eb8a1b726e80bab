"""An ingest that ends early goes on where it was, to the same checksums; damage does not pass for data."""

import os
import signal
import subprocess
import sys
import threading

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask import BCNMF, ingest
from bcnmf_dask.errors import InputError, OutputError
from bcnmf_dask.ingesting import crew, writing

from .conftest import untidy_csr

SOURCES = {
    "CSR": lambda: sp.csr_array(untidy_csr(200, 9, 1).toarray()),
    "CSR with duplicates": lambda: untidy_csr(200, 9, 1),
    "CSC": lambda: sp.csc_array(untidy_csr(200, 9, 1).toarray()),
    "dense": lambda: untidy_csr(200, 9, 1).toarray(),
}


class Stop(Exception):
    """Something from outside."""


def stop_at(step, done):
    def tell(found, count, _):
        if (found, count) == (step, done):
            raise Stop

    return tell


@pytest.fixture(autouse=True)
def a_few_at_once(monkeypatch):
    monkeypatch.setattr(crew, "FEWEST_AT_ONCE", 2)
    monkeypatch.setattr(crew, "AT_ONCE_PER_THREAD", 1)


def times_written(path):
    return {file: file.stat().st_mtime_ns for file in path.rglob("c/*")}


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("CSR", "pieces"),
        ("CSR with duplicates", "runs"),
        ("CSC", "spread"),
        ("CSC", "runs"),
        ("CSC", "pieces"),
        ("dense", "pieces"),
    ],
)
def test_it_goes_on_to_the_same(kind, step, tmp_path):
    whole = ingest(SOURCES[kind](), tmp_path / "whole.zarr")
    with pytest.raises(Stop):
        ingest(SOURCES[kind](), tmp_path / "out.zarr", tell=stop_at(step, 5))
    assert not (tmp_path / "out.zarr").exists()
    heard = []
    report = ingest(SOURCES[kind](), tmp_path / "out.zarr", resume=True, tell=lambda *told: heard.append(told))
    assert next(done for found, done, _ in heard if found == step) >= 5
    assert (report.checksum, report.piece_checksums) == (whole.checksum, whole.piece_checksums)
    assert report.duplicate_entries == whole.duplicate_entries
    found = [anndata.read_zarr(tmp_path / name).X for name in ("whole.zarr", "out.zarr")]
    np.testing.assert_array_equal(*(rows if kind == "dense" else rows.toarray() for rows in found))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "whole.zarr"]


def test_it_goes_on_after_duplicates_were_found(tmp_path):
    whole = ingest(SOURCES["CSR with duplicates"](), tmp_path / "whole.zarr")
    heard = []

    def tell(step, done, _):
        heard.append(step)
        if "runs" in heard and (step, done) == ("pieces", 5):
            raise Stop

    with pytest.raises(Stop):
        ingest(SOURCES["CSR with duplicates"](), tmp_path / "out.zarr", tell=tell)
    again = []
    report = ingest(
        SOURCES["CSR with duplicates"](), tmp_path / "out.zarr", resume=True, tell=lambda *told: again.append(told)
    )
    assert again[0][:2] == ("pieces", 6)
    assert report.checksum == whole.checksum
    assert report.duplicate_entries == whole.duplicate_entries > 0


def begun(tmp_path, source):
    with pytest.raises(Stop):
        ingest(source, tmp_path / "out.zarr", tell=stop_at("pieces", 9))
    return tmp_path / ".out.zarr.ingest"


def test_what_is_whole_is_not_written_again_and_what_is_not_is(tmp_path):
    aside = begun(tmp_path, SOURCES["CSR"]())
    before = times_written(aside / "store/X/data")
    assert len(before) >= 18
    damaged = aside / "store/X/data/c/4"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    (aside / "store/X/data/c/9.0123.partial").write_bytes(b"of a process that was killed")
    report = ingest(SOURCES["CSR"](), tmp_path / "out.zarr", resume=True)
    after = times_written(tmp_path / "out.zarr/X/data")
    again = {path.name for path, when in before.items() if after[tmp_path / "out.zarr/X/data/c" / path.name] != when}
    assert again == {"4", "5"}  # the two files of its piece
    assert report.checksum == ingest(SOURCES["CSR"](), tmp_path / "whole.zarr").checksum


def test_one_that_did_not_end_is_not_begun_anew(tmp_path):
    begun(tmp_path, SOURCES["CSR"]())
    with pytest.raises(InputError, match=r"out: an ingest to .*out.zarr' was begun and did not end.*resume=True"):
        ingest(SOURCES["CSR"](), tmp_path / "out.zarr")


@pytest.mark.parametrize("kind", ["memory", "path"])
def test_something_else_is_refused(kind, tmp_path):
    source = SOURCES["CSR"]()
    given, layer = source, None
    if kind == "path":
        given, layer = tmp_path / "a.h5ad", "other"
        anndata.AnnData(source, layers={"other": source}).write_h5ad(given)
    aside = begun(tmp_path, given)
    before = sorted(aside.rglob("*"))
    with pytest.raises(InputError, match=r"resume: the ingest in .* was one of something else \(.*values: \w+ then"):
        ingest(2 * source if kind == "memory" else given, tmp_path / "out.zarr", resume=True, layer=layer)
    assert sorted(aside.rglob("*")) == before
    ingest(given, tmp_path / "out.zarr", resume=True)


def test_resuming_what_was_never_begun_begins(tmp_path):
    assert ingest(SOURCES["CSC"](), tmp_path / "out.zarr", resume=True).n_cells == 200


def test_a_full_disk_keeps_what_is_done(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "consolidate", full)
        with pytest.raises(OutputError, match=r"out: the store cannot be written \(No space left.*resume=True"):
            ingest(SOURCES["CSR"](), tmp_path / "out.zarr")
    assert ingest(SOURCES["CSR"](), tmp_path / "out.zarr", resume=True).n_cells == 200


@pytest.mark.parametrize("kind", ["CSR", "dense"])
def test_a_flipped_bit_is_detected_by_any_reader(kind, tmp_path):
    ingest(SOURCES[kind](), tmp_path / "out.zarr")
    chunk = tmp_path / "out.zarr" / ("X/data/c/3" if kind == "CSR" else "X/c/2/0")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 3] ^= 4
    chunk.write_bytes(content)
    with pytest.raises(Exception, match="checksum"):
        anndata.read_zarr(tmp_path / "out.zarr")
    with pytest.raises(InputError, match=r"could not be read.*checksum"):
        BCNMF(2, alpha=0.0, max_iter=2, tol=0).fit(tmp_path / "out.zarr")


DRIVER = """
import sys
from bcnmf_dask import ingest
from bcnmf_dask.ingesting import chunks, crew, writing

chunks.CHUNK_VALUES, chunks.SHARD_VALUES, writing.PIECE_VALUES, crew.FEWEST_AT_ONCE = 8, 16, 32, 2

def tell(step, done, tasks):
    print(step, done, flush=True)

if __name__ == "__main__":
    report = ingest(sys.argv[1], sys.argv[2], client=sys.argv[3] == "local" and "local", resume=True, tell=tell)
    print(report.checksum)
"""


@pytest.mark.chaos
@pytest.mark.parametrize("client", ["threads", "local"])
@pytest.mark.parametrize("step", ["spread", "runs", "pieces"])
def test_killed_and_run_again(client, step, tmp_path):
    source = tmp_path / "a.h5ad"
    anndata.AnnData(sp.csc_array(untidy_csr(500, 9, 1).toarray())).write_h5ad(source)
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, "driver.py", source, "out.zarr", client]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as driver:
        for line in driver.stdout:
            if line.split() == [step, "10"]:
                os.killpg(driver.pid, signal.SIGKILL)
                break
    notes = list((tmp_path / ".out.zarr.ingest" / step).glob("*.json"))
    assert len(notes) >= 10
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=True)
    assert int(next(line for line in ended.stdout.splitlines() if line.startswith(step)).split()[1]) >= 10
    assert ended.stdout.splitlines()[-1] == ingest(source, tmp_path / "whole.zarr").checksum


@pytest.mark.chaos
def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    from distributed import Client

    from bcnmf_dask.engine.clusters import local_cluster

    source = tmp_path / "a.h5ad"
    anndata.AnnData(sp.csc_array(untidy_csr(500, 9, 1).toarray())).write_h5ad(source)
    timers = []

    def tell(step, done, _):
        if (step, done) == ("pieces", 0):
            pid = next(iter(client.run(os.getpid).values()))
            timers.append(threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)))
            timers[0].start()

    with local_cluster(2) as cluster, Client(cluster, set_as_default=False) as client:
        report = ingest(source, tmp_path / "out.zarr", client=client, tell=tell)
    assert timers[0].finished.is_set()
    assert report.checksum == ingest(source, tmp_path / "whole.zarr", client=False).checksum
