"""The scaling model: its terms, and what it refuses."""

from dataclasses import replace

import pytest

from bcnmf_dask.benchmarking.machines import load_machine, reference_machine, save_machine
from bcnmf_dask.benchmarking.model import TERMS, Machine, Workload, merge_levels, predict, units
from bcnmf_dask.errors import InputError

WORKLOAD = Workload(10**9, 10**6, 2000, 20, "frobenius", sparse=True)
MACHINE = Machine(
    name="made up, 2 cores",
    measured="2026-01-01",
    by_kind={"frobenius, csr": {"values": 1e-9, "value_components": 2e-10, "row_components": 1e-9}},
    seconds={
        "read": 1e-9,
        "merge_levels": 0.002,
        "merge_bytes": 1e-10,
        "scheduler": 1e-4,
        "round_trip": 0.01,
    },
    relative_error=0.1,
    checked="made up",
)


def test_a_prediction_is_the_sum_of_its_parts_by_hand():
    found = predict(replace(WORKLOAD, streamed_bytes=8 * 10**9, n_fits=3), 16, 2, MACHINE)
    expected = {
        "values": 3e9 / 32 * 1e-9,
        "value_components": 3e9 * 20 / 32 * 2e-10,
        "row_components": 3e6 * 20 / 32 * 1e-9,
        "read": 8e9 / 16 * 1e-9,
        "merge_levels": 2 * 0.002,
        "merge_bytes": 2 * 8 * 3 * 2 * (2000 * 20 + 20 * 20) * 1e-10,
        "scheduler": 16e-4,
        "round_trip": 0.01,
    }
    assert found.parts == pytest.approx(expected)
    assert found.seconds_per_sweep == pytest.approx(sum(expected.values()))
    assert found.relative_error == 0.1
    assert list(found.parts) == list(TERMS)


@pytest.mark.parametrize(
    ("workers", "levels"), [(1, 0), (2, 1), (8, 1), (9, 2), (16, 2), (32, 2), (64, 2), (65, 3), (512, 3), (4096, 4)]
)
def test_the_levels_of_the_merge(workers, levels):
    assert merge_levels(workers) == levels


@pytest.mark.parametrize("field", ["stored_values", "n_rows", "n_features", "n_components", "streamed_bytes", "n_fits"])
def test_more_of_anything_takes_longer(field):
    workload = replace(WORKLOAD, streamed_bytes=10**9)
    more = replace(workload, **{field: 2 * getattr(workload, field)})
    assert predict(more, 4, 1, MACHINE).seconds_per_sweep > predict(workload, 4, 1, MACHINE).seconds_per_sweep


def test_shared_work_falls_with_workers_and_threads_and_coordination_does_not():
    found = [predict(WORKLOAD, workers, 1, MACHINE).parts for workers in (1, 2, 4, 8, 16, 32)]
    for shared in ("values", "value_components", "row_components"):
        times = [parts[shared] for parts in found]
        assert times == sorted(times, reverse=True)
        assert times[0] == pytest.approx(32 * times[-1])
    for coordination in ("merge_levels", "merge_bytes", "scheduler", "round_trip"):
        times = [parts[coordination] for parts in found]
        assert times == sorted(times)
    assert predict(WORKLOAD, 2, 4, MACHINE).parts["values"] == predict(WORKLOAD, 8, 1, MACHINE).parts["values"]


def test_the_whole_falls_with_workers_where_there_is_enough_to_compute():
    times = [predict(WORKLOAD, workers, 1, MACHINE).seconds_per_sweep for workers in (1, 2, 4, 8, 16)]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stored_values": -1}, r"stored_values: got -1\. Expected a whole number of at least 0"),
        ({"n_rows": 0}, "n_rows: got 0"),
        ({"n_components": 2.5}, r"n_components: got 2\.5"),
        ({"n_features": float("nan")}, "n_features: got nan"),
        ({"n_fits": True}, "n_fits: got True"),
        ({"streamed_bytes": float("inf")}, "streamed_bytes: got inf"),
    ],
)
def test_workloads_that_are_none_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(WORKLOAD, **changes)


@pytest.mark.parametrize(("workers", "threads", "name"), [(0, 1, "workers"), (-3, 1, "workers"), (1, 0, "threads")])
def test_predictions_for_nobody_are_refused(workers, threads, name):
    with pytest.raises(InputError, match=f"{name}: got .* at least 1"):
        predict(WORKLOAD, workers, threads, MACHINE)


def test_what_was_not_measured_is_not_predicted():
    with pytest.raises(InputError, match=r"loss: got 'kullback-leibler, dense', .* one of \['frobenius, csr'\]"):
        predict(replace(WORKLOAD, loss="kullback-leibler", sparse=False), 1, 1, MACHINE)
    seconds = {term: value for term, value in MACHINE.seconds.items() if term != "read"}
    with pytest.raises(InputError, match=r"machine: 'made up, 2 cores' has no seconds per byte read from storage"):
        predict(replace(WORKLOAD, streamed_bytes=1), 1, 1, replace(MACHINE, seconds=seconds))


def test_a_stand_in_computes_nothing():
    stand_in = replace(WORKLOAD, stored_values=0, loss="stand-in")
    parts = predict(stand_in, 4, 1, MACHINE).parts
    assert parts["values"] == parts["value_components"] == parts["row_components"] == 0
    assert parts["merge_bytes"] == predict(WORKLOAD, 4, 1, MACHINE).parts["merge_bytes"]


def test_a_unit_of_each_term_is_counted():
    assert units(WORKLOAD, 1, 1).keys() == TERMS.keys()


def test_machines_are_files(tmp_path):
    save_machine(MACHINE, tmp_path / "machine.json")
    assert load_machine(tmp_path / "machine.json") == MACHINE
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', None])
def test_other_files_are_no_machines(tmp_path, text):
    if text is not None:
        (tmp_path / "machine.json").write_text(text)
    with pytest.raises(InputError, match=r"machine: '.*machine\.json' is not a machine of the scaling model"):
        load_machine(tmp_path / "machine.json")


def test_the_reference_machine_knows_both_losses():
    machine = reference_machine()
    for loss in ("kullback-leibler", "frobenius"):
        for sparse in (True, False):
            found = predict(replace(WORKLOAD, loss=loss, sparse=sparse), 64, 1, machine)
            assert found.seconds_per_sweep > found.parts["values"] + found.parts["value_components"] > 0
