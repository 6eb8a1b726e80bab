"""``bcnmf-dask plan``, and what a fit says of itself before and while it runs."""

import re

import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask.benchmarking.model import Machine
from bcnmf_dask.cli.plan import lasting, plan_lines, size
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.limits import DeviceRoom, Room
from bcnmf_dask.engine.memory import Footprint
from bcnmf_dask.fitting.course import sweeps
from bcnmf_dask.planning import plan_fit

SMALL = ("--n-components", 3, "--max-iter", 8, "--tol", 0)
AMPLE = Room(1e12, 1e12, 1)


def planned(inputs, rooms=(AMPLE,), dtype="float32", loss="frobenius", here=False):
    return plan_fit(inputs, dtype, 3, loss, rooms, here=here)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bytes_of_the_plan_are_those_of_the_rows(cells, dtype):
    dense = cells.X[:30].toarray()
    assert planned(read_inputs(dense, None), dtype=dtype).row_bytes == dense.astype(dtype).nbytes
    rows = cells.X[:30].astype(dtype)
    parts = rows.data.nbytes + rows.indices.nbytes + rows.indptr.nbytes
    assert planned(read_inputs(cells.X[:30], None), dtype=dtype).row_bytes == parts


def test_rows_that_this_process_holds_already_are_not_counted_twice(cells):
    rows = cells.X[:30].astype(np.float32)
    there, here = (planned(read_inputs(rows, None), here=here).worker_bytes for here in (False, True))
    assert there - here == rows.data.nbytes + rows.indices.nbytes + rows.indptr.nbytes


def test_more_workers_need_less_memory_each_and_less_time(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((20_000, 50), np.float32))
    inputs = read_inputs(tmp_path / "rows.npy", None)
    one, four = planned(inputs), planned(inputs, [AMPLE] * 4)
    assert 0.2 < four.worker_bytes / one.worker_bytes < 0.5
    assert four.prediction.parts["values"] == pytest.approx(one.prediction.parts["values"] / 4)
    assert (one.streamed_bytes, four.streamed_bytes) == (0, 0)


def test_what_does_not_stay_is_read_in_each_sweep_and_takes_a_time_that_is_not_known(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", np.ones((20_000, 50), np.float32))
    inputs = read_inputs(tmp_path / "rows.npy", None)
    machine = Machine("here", "today", {}, {}, 0.0, "never")
    monkeypatch.setattr("bcnmf_dask.planning.reference_machine", lambda: machine)
    plan = planned(inputs, [Room(2e6, 2e6, 1)])
    assert 0 < plan.streamed_bytes <= plan.row_bytes
    assert plan.prediction is None
    lines = dict(plan_lines(inputs, plan, "float32", "there", sweeps(100)))
    assert "do not fit in memory and are read in each sweep" in lines["rows"]
    assert lines["time"] == "known after the first sweeps: this package was not measured for such a fit"


def test_rows_stay_on_devices_as_far_as_there_is_room(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((20_000, 50), np.float32))
    inputs = read_inputs(tmp_path / "rows.npy", None)
    footprint = Footprint(RunSpec(inputs, plan_shards(inputs), "float32", [3]))
    needs = footprint.besides_on_device() + 20_000 * 3 * 4

    def on_device(n_bytes, planned_here=1e12):
        room = Room(planned_here, planned_here, 1, DeviceRoom(needs + n_bytes))
        plan = planned(inputs, [room])
        return plan, dict(plan_lines(inputs, plan, "float32", "there", sweeps(100)))["rows"]

    whole, words = on_device(1e9)
    assert (whole.device_bytes, whole.streamed_bytes) == (whole.row_bytes, 0)
    assert whole.worker_bytes < planned(inputs).worker_bytes, "they take no memory of the host"
    assert words.endswith("all stay on the device")
    half, words = on_device(whole.row_bytes / 2)
    assert 0 < half.device_bytes < half.row_bytes
    assert re.search(
        r"of which \S+ MB stay on the device, \S+ MB stay in memory and move to the device in each sweep$", words
    )
    least, words = on_device(whole.row_bytes / 2, planned_here=2e6)
    assert least.device_bytes == half.device_bytes
    assert 0 < least.streamed_bytes < half.row_bytes - half.device_bytes, "some stay on the host"
    assert words.endswith("do not fit in memory and are read in each sweep")
    assert whole.prediction is None


def test_shards_that_wait_for_their_way_to_a_device_are_planned(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((20_000, 50), np.float32))
    inputs = read_inputs(tmp_path / "rows.npy", None)
    one, eight = (planned(inputs, [Room(1e12, 1e12, threads, DeviceRoom(1e12))]) for threads in (1, 8))
    assert eight.device_bytes == eight.row_bytes
    shard = eight.row_bytes / len(eight.shards.shards)
    assert eight.worker_bytes - one.worker_bytes > 7 * shard


def test_usages_that_a_device_cannot_hold_are_refused(run, h5ad_pair):
    sizes = ("--workers", 1, "--memory", "64 GB", "--device-memory", "80")
    done = run("plan", *h5ad_pair, *sizes)
    assert done.exit_code == 1
    words = " ".join(done.stderr.split())
    assert re.search(r"error: --device: usages, sums and blocks under way need .*take fewer components", words)


def test_where_nothing_stays_on_a_device_all_rows_move(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((20_000, 50), np.float32))
    inputs = read_inputs(tmp_path / "rows.npy", None)
    plan = planned(inputs, [Room(1e12, 1e12, 1, DeviceRoom(1e12, most_rows=1))])
    words = dict(plan_lines(inputs, plan, "float32", "there", sweeps(100)))["rows"]
    assert words.endswith("all stay in memory and move to the device in each sweep")


def test_a_plan_of_data_in_memory(cells):
    inputs = read_inputs(cells.X[:30], cells.X[30:].toarray())
    lines = dict(plan_lines(inputs, planned(inputs), "float32", "here", sweeps(10)))
    assert lines["target"] == "30 rows from memory"
    assert lines["values"].endswith("dense and sparse (CSR)")
    assert lines["runs"] == "here"
    assert lines["rows"].endswith("all stay in memory")
    assert re.search(r"s per sweep, .* for 10 sweeps: a prediction", lines["time"])


def test_without_a_worker_yet_only_the_data_are_planned(cells):
    inputs = read_inputs(cells.X[:30], cells.X[30:])
    plan = planned(inputs, rooms=())
    assert plan.row_bytes == planned(inputs).row_bytes
    lines = dict(plan_lines(inputs, plan, "float32", "there", sweeps(10)))
    assert lines["rows"].endswith("known once there are workers")
    assert lines["time"] == "known after the first sweeps: the cluster has no worker yet"
    assert "memory" not in lines


def test_the_command_plans_for_this_machine(run, h5ad_pair):
    done = run("plan", *h5ad_pair)
    assert done.exit_code == 0, done.output
    assert re.search(r"target +30 rows", done.stderr)
    assert re.search(r"runs +in this process", done.stderr)


def test_the_command_plans_for_a_cluster_that_is_not_there(run, h5ad_pair):
    done = run("plan", *h5ad_pair, "--workers", 16, "--threads", 4, "--memory", "64 GB")
    assert done.exit_code == 0, done.output
    assert re.search(r"runs +on 16 workers of 4 threads and 64 GB", done.stderr)


def test_a_fit_that_cannot_fit_is_refused_with_what_is_missing(run, h5ad_pair):
    done = run("plan", *h5ad_pair, "--workers", 2, "--memory", "10 MB")
    assert done.exit_code == 1
    assert re.search(r"more than it can give", done.stderr)
    assert "error: memory: this fit does not fit" in done.stderr


def test_the_command_plans_for_devices_that_are_not_there(run, h5ad_pair):
    done = run("plan", *h5ad_pair, "--workers", 4, "--memory", "64 GB", "--device-memory", "80 GB")
    assert done.exit_code == 0, done.output
    assert re.search(r"runs +on 4 workers .*, each with a CUDA device of 80 GB", " ".join(done.stderr.split()))
    assert "all stay on the device" in done.stderr
    assert "not measured for such a fit" in " ".join(done.stderr.split())


NO_SIZES = [(option, size) for option in ("--memory", "--device-memory") for size in ("much", "0", "1e400", "", "GB")]


@pytest.mark.parametrize("wrong", [*NO_SIZES, ("--workers", 0)])
def test_sizes_that_are_none_are_refused(run, h5ad_pair, wrong):
    done = run("plan", *h5ad_pair, "--workers", 2, *wrong)
    assert done.exit_code == 2
    assert wrong[0] in done.stderr


def test_a_fit_within_a_limit_streams_and_says_so(run, tmp_path):
    rows = sp.random_array((3000, 200), density=0.2, rng=np.random.default_rng(0), format="csr").toarray()
    np.save(tmp_path / "a.npy", rows.astype(np.float32))
    done = run("fit", "a.npy", "--alpha", 0, "--loss", "frobenius", "--out", "f.zarr", "--memory-limit", "1 MB", *SMALL)
    assert done.exit_code == 0, done.output
    assert "do not fit in memory and are read in each sweep" in done.stderr
    assert re.search(r"time +\S+ s per sweep as measured.*: at most \S+ s more", done.stderr)


def test_words_of_sizes_and_times():
    assert [size(n) for n in (12, 4.2e6, 3e13)] == ["12.0 B", "4.2 MB", "30.0 TB"]
    assert [lasting(s) for s in (0.5, 61, 90_000)] == ["0.5 s", "0:01:01", "1 day, 1:00:00"]


@pytest.mark.parametrize("limit", ["", "0", "much"])
def test_a_limit_that_is_no_size_is_refused(limit, run, h5ad_pair):
    done = run("plan", *h5ad_pair, "--memory-limit", limit)
    assert done.exit_code == 1
    assert f"memory limit: got {limit!r}. Expected bytes" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", 4], "give --workers, how many, too"),
        (["--memory", "8 GB"], "give --workers, how many, too"),
        (["--device-memory", "8 GB"], "give --workers, how many, too"),
        (["--workers", 2, "--memory-limit", "8 GB"], "--memory says what each of --workers has"),
        (["--workers", 2, "--device", "cuda"], "--device-memory gives each of --workers a CUDA device"),
        (["--workers", 2, "--device-memory", "1 GB", "--device", "cpu"], "--device-memory gives each of --workers a"),
        (["--workers", 2, "--local"], "leave it out to plan for one that is"),
    ],
)
def test_options_of_a_cluster_that_is_not_there_belong_together(options, message, run, h5ad_pair):
    done = run("plan", *h5ad_pair, *options)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
