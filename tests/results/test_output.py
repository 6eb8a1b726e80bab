import pickle
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from bcnmf_dask.errors import InputError, NameTakenError, OutputError
from bcnmf_dask.results.factors import create_usages, read_usages, writable_usages
from bcnmf_dask.results.output import Output
from bcnmf_dask.results.result import load_result
from bcnmf_dask.results.temporaries import TemporaryFolder


def test_result_appears_only_when_it_is_finished(tmp_path, make_result):
    path = tmp_path / "fit.zarr"
    output = Output.at(path)
    assert Path(output.location).is_dir()
    assert Path(output.location).parent == path.parent
    assert not path.exists()
    output.finish(make_result())
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.zarr"]


def test_paths_are_absolute_for_workers_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = Output.at("fit.zarr")
    assert output.path == str(tmp_path / "fit.zarr")
    assert Path(output.location).is_absolute()


def test_usages_that_workers_wrote_are_left_as_they_are(tmp_path, make_result):
    written = np.full((7, 3), 42, np.float32)
    output = Output.at(tmp_path / "fit.zarr")
    create_usages(output.location, "target", 7, 3, 4, np.float32)
    writable_usages(output.location, "target")[:] = written
    result = make_result(target_usages=read_usages(output.location, "target"))
    output.finish(result)
    stored = read_usages(output.path, "target")
    assert stored.chunks[0] == (4, 3)
    np.testing.assert_array_equal(stored.compute(), written)
    # The background was not written by workers.
    np.testing.assert_array_equal(read_usages(output.path, "background").compute(), result.background_usages)


def test_discard_removes_everything_aside(tmp_path):
    output = Output.at(tmp_path / "fit.zarr")
    create_usages(output.location, "target", 7, 3, 4, np.float32)
    output.discard()
    output.discard()
    assert list(tmp_path.iterdir()) == []


def test_discard_leaves_a_finished_result(tmp_path, make_result):
    output = Output.at(tmp_path / "fit.zarr")
    output.finish(make_result())
    output.discard()
    assert load_result(output.path).status.word == "converged"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return TemporaryFolder.made(lambda: False)


def test_a_result_in_a_temporary_folder_lasts_as_long_as_that(folder, make_result):
    output = Output.within(folder)
    output.finish(make_result())
    output.discard()
    assert Path(output.path).parent == Path(folder.path)
    assert load_result(output.path).status.word == "converged"


def test_discard_removes_the_temporary_folder(tmp_path, folder):
    Output.within(folder).discard()
    assert list(tmp_path.iterdir()) == []


def make_link(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, make_link], ids=["folder", "file", "dangling link"])
def test_an_existing_output_is_refused(tmp_path, make):
    path = tmp_path / "fit.zarr"
    make(path)
    with pytest.raises(InputError, match=r"out: '.*fit\.zarr' already exists.*Remove it or give another path"):
        Output.at(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.zarr"]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no folder '.*results'\. Create that folder"):
        Output.at(tmp_path / "results" / "fit.zarr")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no folder '.*notes\.txt'"):
        Output.at(tmp_path / "notes.txt" / "fit.zarr")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    # Root, as which tests may run, can write everywhere: the system's answer is played.
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"out: .* cannot be written .*\(Permission denied\)\. Give a path"):
        Output.at(tmp_path / "fit.zarr")


def test_a_name_taken_meanwhile_is_not_overwritten_and_the_fit_is_kept(tmp_path, make_result):
    output = Output.at(tmp_path / "fit.zarr")
    (tmp_path / "fit.zarr").mkdir()
    (tmp_path / "fit.rescued.zarr").mkdir()
    with pytest.raises(NameTakenError, match=r"come into being while the fit ran.*is whole, at '.*rescued-2") as ended:
        output.finish(make_result())
    output.discard()
    assert list((tmp_path / "fit.zarr").iterdir()) == list((tmp_path / "fit.rescued.zarr").iterdir()) == []
    assert ended.value.location == str(tmp_path / "fit.rescued-2.zarr")
    assert load_result(ended.value.location).status.word == "converged"
    sent = pickle.loads(pickle.dumps(ended.value))
    assert (str(sent), sent.location) == (str(ended.value), ended.value.location)


@pytest.mark.parametrize("name", ["n" * 256, "a\0b"])
def test_a_name_that_cannot_be_is_refused_at_once(tmp_path, name):
    with pytest.raises(InputError, match=r"^out: .* cannot be written .*(too long|null byte).*plain name"):
        Output.at(tmp_path / name)


def test_a_disk_without_room_is_refused(tmp_path, folder):
    output = Output.at(tmp_path / "fit.zarr")
    output.refuse_lack_of_room(1000)
    with pytest.raises(InputError, match=r"^out: '.*fit\.zarr' is on a disk with .*, but the usages take up to 888"):
        output.refuse_lack_of_room(10**18)
    with pytest.raises(InputError, match=r"^out: none was given, and the temporary directory is on a disk"):
        Output.within(folder).refuse_lack_of_room(10**18)


def test_a_fit_that_cannot_be_written_leaves_nothing(tmp_path, make_result):
    def fail(block):
        raise OSError("worker lost")

    usages = da.ones((7, 3)).map_blocks(fail, meta=np.ones((0, 0)))
    output, result = Output.at(tmp_path / "fit.zarr"), make_result(target_usages=usages)
    with pytest.raises(OutputError, match=r"worker lost"):
        output.finish(result)
    output.discard()
    assert list(tmp_path.iterdir()) == []


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_with_place_and_repair_and_the_result_is_kept(tmp_path, make_result, monkeypatch):
    output, result = Output.at(tmp_path / "fit.zarr"), make_result()
    monkeypatch.setattr("bcnmf_dask.results.layout.create_array", full)
    words = r"out: the result cannot be written to '.*fit\.zarr' \(No space left on device\)\. Free space there or"
    with pytest.raises(OutputError, match=words):
        output.finish(result)
    output.discard()
    assert list(tmp_path.iterdir()) == []


def test_the_error_can_be_sent_between_processes():
    error = OutputError("disk full")
    error.results = ("a result",)
    sent = pickle.loads(pickle.dumps(error))
    assert (str(sent), sent.result) == ("disk full", "a result")
