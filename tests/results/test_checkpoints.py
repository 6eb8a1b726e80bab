import errno
import json
import math
import os
import re
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.checkpoints import CheckpointStore, SavedFit
from bcnmf_dask.results.factors import create_usages, read_usages, writable_usages

IDENTITY = {"data": "5f1c", "alpha": [1.0, 0.1], "nested": {"seed": 3, "damping": None}}
BASIS = "fit-0.basis.npy"


@pytest.fixture(params=["local", "memory"])
def location(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path / "saved")
        return
    url = f"memory://{uuid4().hex}/saved"
    yield url
    files, path = fsspec.core.url_to_fs(url)
    if files.exists(path):
        files.rm(path, recursive=True)


@pytest.fixture
def store(location):
    return CheckpointStore(location)


def usages_of(sweep):
    return np.random.default_rng(sweep).random((10, 3), dtype=np.float32)


def make_fit(usages, key="fit-0", seed=0, dtype=np.float32):
    generator = np.random.default_rng(seed)
    return SavedFit(
        key=key,
        basis=generator.random((4, 3)).astype(dtype),
        scales=generator.random(3),
        history=[{"iteration": 1, "objective": 0.1 + 0.2, "background_divergence": math.nan}],
        usages=usages,
        checksums={"target:0": 2**32 - 1, "background:0": 7},
        stamp=1,
        solver={"accepted": generator.random((4, 3)), "fallen_back": np.asarray(True)},
    )


def attempt(store, sweep, n_fits=1):
    """What workers and driver do before a commit: the location of the generation, and its fits."""
    generation, fits = store.begin(sweep), []
    for number in range(n_fits):
        usages = store.usages_location(generation, f"fit-{number}")
        create_usages(usages, "target", 10, 3, 4, np.float32)
        writable_usages(usages, "target")[:] = usages_of(sweep)
        fits.append(make_fit(usages, f"fit-{number}", seed=sweep + number))
    return generation, fits


def save(store, sweep, n_fits=1):
    generation, fits = attempt(store, sweep, n_fits)
    store.commit(generation, sweep, IDENTITY, fits)
    return generation


def path_of(generation, *parts):
    files, path = fsspec.core.url_to_fs("/".join([generation, *parts]))
    return files, path


def read(generation, *parts):
    files, path = path_of(generation, *parts)
    return files.cat_file(path)


def overwrite(content, generation, *parts):
    files, path = path_of(generation, *parts)
    files.pipe_file(path, content)


def remove(generation, *parts):
    files, path = path_of(generation, *parts)
    files.rm(path, recursive=True)


def exists(generation, *parts):
    files, path = path_of(generation, *parts)
    return files.exists(path)


def assert_same_bits(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def assert_skipped(store, caplog, reason):
    (sentence,) = store.skipped
    assert re.search(rf"checkpoint of sweep 2 at .* is skipped: .*{reason}", sentence)
    assert sentence in [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_what_is_saved_comes_back_to_the_bit(store, location):
    generation, fits = attempt(store, 12, n_fits=2)
    store.commit(generation, 12, IDENTITY, fits)
    found = CheckpointStore(location).newest()
    assert (found.location, found.sweep, found.identity) == (generation, 12, IDENTITY)
    assert [fit.key for fit in found.fits] == ["fit-0", "fit-1"]
    for fit, expected in zip(found.fits, fits, strict=True):
        assert_same_bits(fit.basis, expected.basis)
        assert_same_bits(fit.scales, expected.scales)
        assert (fit.usages, fit.checksums) == (expected.usages, expected.checksums)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_odd_floats_keep_their_bits(store, dtype):
    generation, (fit,) = attempt(store, 1)
    odd = np.array([[-0.0, np.nan, np.inf], [np.finfo(dtype).tiny / 2, np.finfo(dtype).max, 0.1]], dtype)
    history = [{"a": math.nan, "b": math.inf, "c": -0.0, "d": 5e-324, "e": 0.1 + 0.2, "f": 1}, {"a": np.float64(1 / 3)}]
    store.commit(generation, 1, {}, [SavedFit("fit-0", odd, np.array([5e-324]), history, fit.usages, {}, 1, {})])
    (found,) = store.newest().fits
    assert_same_bits(found.basis, odd)
    assert_same_bits(found.scales, np.array([5e-324]))
    assert [[repr(float(x)) for x in row.values()] for row in found.history] == [
        [repr(float(x)) for x in row.values()] for row in history
    ]


def test_numbers_of_numpy_are_saved_as_plain_ones(store):
    generation, fits = attempt(store, 1)
    store.commit(generation, np.int64(1), {"seed": np.uint32(4), "alpha": np.float32(0.1)}, fits)
    found = store.newest()
    assert (found.sweep, found.identity) == (1, {"seed": 4, "alpha": float(np.float32(0.1))})


def test_usages_written_by_workers_are_read_from_where_they_were_written(store):
    save(store, 12)
    (fit,) = store.newest().fits
    assert_same_bits(read_usages(fit.usages, "target").compute(), usages_of(12))


def test_an_empty_store_has_nothing(store):
    assert store.newest() is None
    assert store.skipped == ()


def test_a_folder_is_made_only_with_the_first_generation(tmp_path):
    store = CheckpointStore(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    assert Path(store.begin(0)).is_dir()


def test_the_newest_wins_and_the_one_before_is_kept(store):
    save(store, 1)
    save(store, 2)
    newest = store.newest()
    assert newest.sweep == 2
    older = store.before(newest)
    assert older.sweep == 1
    assert store.before(older) is None


def test_names_are_never_used_again(store):
    names = {store.begin(7).rpartition("/")[2] for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"generation-00000007-[0-9a-f]{8}", name) for name in names)


def test_the_last_commit_wins_whatever_its_sweep(store):
    """A fit that resumed from an older generation passes the sweeps of the altered one again."""
    save(store, 10)
    altered = save(store, 20)
    again = save(store, 15)
    assert (store.newest().location, store.before(store.newest()).location) == (again, altered)
    same_sweep = save(store, 20)
    assert store.newest().location == same_sweep
    assert not exists(altered)


def test_an_attempt_that_was_not_committed_does_not_exist(store):
    save(store, 1)
    attempt(store, 2)
    assert store.newest().sweep == 1
    assert store.skipped == ()


def test_an_abandoned_attempt_leaves_nothing_and_its_late_writers_disturb_nobody(store):
    save(store, 1)
    generation, (fit,) = attempt(store, 2)
    store.abandon(generation)
    assert not exists(generation)
    create_usages(fit.usages, "target", 10, 3, 4, np.float32)
    assert store.newest().sweep == 1
    save(store, 2)
    assert not exists(generation)


def test_abandon_never_raises_and_removes_nothing_but_generations(store, monkeypatch):
    kept = save(store, 1)
    store.abandon("")
    store.abandon(store.location)
    store.abandon(f"{store.location}/generation-00000099-00000000")
    monkeypatch.setattr(LocalFileSystem, "rm_file", refuse)
    monkeypatch.setattr(MemoryFileSystem, "rm_file", refuse)
    store.abandon(kept)
    assert store.newest().location == kept


def refuse(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_missing_manifest_means_no_generation(store):
    save(store, 1)
    remove(save(store, 2), "manifest.json")
    assert store.newest().sweep == 1
    assert store.skipped == ()


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_truncated_manifest_is_skipped(store, caplog, length):
    save(store, 1)
    generation = save(store, 2)
    overwrite(read(generation, "manifest.json")[:length], generation, "manifest.json")
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, "manifest.json is cut short or cannot be read")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"format": "other", "checksum": "", "content": {}}', "was altered"),
    ],
)
def test_what_is_no_manifest_is_skipped(store, caplog, content, reason):
    save(store, 1)
    overwrite(content, save(store, 2), "manifest.json")
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, reason)


def test_an_altered_manifest_is_skipped(store, caplog):
    save(store, 1)
    generation = save(store, 2)
    manifest = json.loads(read(generation, "manifest.json"))
    manifest["content"]["sweep"] = 3
    overwrite(json.dumps(manifest).encode(), generation, "manifest.json")
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, r"manifest.json was altered \(its checksum differs\)")


def test_another_format_version_is_skipped(store, caplog, monkeypatch):
    save(store, 1)
    with monkeypatch.context() as later:
        later.setattr("bcnmf_dask.results.generations.FORMAT_VERSION", 2)
        save(store, 2)
    assert store.newest() is None
    assert_skipped(store, caplog, "format version 2, not 1")


def altered(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("name", [BASIS, "fit-0.scales.npy"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-1], "bytes instead of"),
        (lambda content: content + b"\0", "bytes instead of"),
        (lambda content: b"", "0 bytes instead of"),
        (altered, "was altered"),
    ],
)
def test_a_damaged_array_is_skipped(store, caplog, name, damage, reason):
    save(store, 1)
    generation = save(store, 2)
    overwrite(damage(read(generation, name)), generation, name)
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, f"{re.escape(name)}.*{reason}")


def test_a_missing_array_is_skipped(store, caplog):
    save(store, 1)
    remove(save(store, 2), BASIS)
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, f"{re.escape(BASIS)}' is missing")


def test_missing_usages_are_skipped(store, caplog):
    save(store, 1)
    remove(save(store, 2), "fit-0")
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, "usages of fit 'fit-0' are missing")


def test_unreadable_usages_are_skipped(store, caplog):
    save(store, 1)
    overwrite(b"{", save(store, 2), "fit-0", "target_usages", "zarr.json")
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, "usages of fit 'fit-0' are missing or cannot be read")


def test_usages_of_another_shape_are_skipped(store, caplog):
    save(store, 1)
    create_usages(store.usages_location(save(store, 2), "fit-0"), "target", 11, 3, 4, np.float32)
    assert store.newest().sweep == 1
    assert_skipped(store, caplog, r"usages of fit 'fit-0' are .*\[11, 3\].* instead of .*\[10, 3\]")


def test_with_all_damaged_there_is_none_and_each_is_named(store):
    for generation in (save(store, 1), save(store, 2)):
        remove(generation, BASIS)
    assert store.newest() is None
    assert [sentence.split(" at ")[0] for sentence in store.skipped] == [
        "The checkpoint of sweep 2",
        "The checkpoint of sweep 1",
    ]


def test_damage_met_on_the_way_back_is_told_and_the_next_search_starts_afresh(store):
    remove(save(store, 1), BASIS)
    save(store, 2)
    newest = store.newest()
    assert store.skipped == ()
    assert store.before(newest) is None
    assert len(store.skipped) == 1
    store.newest()
    assert store.skipped == ()


def test_only_the_newest_two_are_kept(store):
    generations = [save(store, sweep) for sweep in (1, 2, 3, 4)]
    assert [exists(generation) for generation in generations] == [False, False, True, True]


def test_a_damaged_generation_does_not_count_as_one_of_the_two(store):
    generations = [save(store, sweep) for sweep in (1, 2)]
    remove(generations[1], BASIS)
    save(store, 3)
    assert store.before(store.newest()).location == generations[0]
    save(store, 4)
    assert not any(map(exists, generations))


def test_older_attempts_and_broken_manifests_are_removed_and_later_ones_stay(store):
    older, later = attempt(store, 1)[0], attempt(store, 9)[0]
    broken = save(store, 2)
    overwrite(b"{", broken, "manifest.json")
    same = attempt(store, 3)[0]
    save(store, 3)
    assert [exists(generation) for generation in (older, broken, same, later)] == [False, False, False, True]


def test_what_else_lies_in_the_store_is_left_alone(store):
    others = ("notes.txt", "generation-1/manifest.json", "generation-00000001-abc/manifest.json")
    store.begin(0)
    for other in others:
        files, path = path_of(store.location, other)
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        files.pipe_file(path, b"{")
    for sweep in (1, 2, 3):
        save(store, sweep)
    assert [read(store.location, other) for other in others] == [b"{"] * 3
    assert store.newest().sweep == 3
    assert store.skipped == ()


@pytest.mark.parametrize("full_at", [BASIS, "fit-0.scales.npy", "manifest.json"])
def test_a_full_disk_is_reported_and_the_generation_before_stays_valid(store, monkeypatch, full_at):
    save(store, 1)
    generation, fits = attempt(store, 2)
    with monkeypatch.context() as full:
        for filesystem in (LocalFileSystem, MemoryFileSystem):
            full.setattr(filesystem, "pipe_file", until_full(filesystem.pipe_file, full_at))
        with pytest.raises(OSError, match="No space left") as error:
            store.commit(generation, 2, IDENTITY, fits)
    assert error.value.errno == errno.ENOSPC
    assert store.newest().sweep == 1
    store.abandon(generation)
    assert not exists(generation)
    save(store, 3)
    assert (store.newest().sweep, store.before(store.newest()).sweep) == (3, 1)


def until_full(write, full_at):
    """A write that stores half of one file before it fails."""

    def pipe_file(self, path, value, **options):
        if path.endswith(full_at):
            write(self, path, value[: len(value) // 2], **options)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, path, value, **options)

    return pipe_file


def test_usages_that_were_not_written_cannot_be_committed(store):
    generation = store.begin(1)
    with pytest.raises(FileNotFoundError):
        store.commit(generation, 1, IDENTITY, [make_fit(store.usages_location(generation, "fit-0"))])
    assert store.newest() is None


def test_an_unwritable_folder_is_reported_by_begin(tmp_path):
    store = CheckpointStore(tmp_path / "saved")
    (tmp_path / "saved").write_text("a file that came in between")
    with pytest.raises(OSError, match="saved"):
        store.begin(1)


def test_the_manifest_is_written_after_all_else_is_on_the_disk(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path / "saved")
    generation, fits = attempt(store, 1)
    flushed, write, flush = [], LocalFileSystem.pipe_file, os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink())), flush(handle))
    )
    before_manifest = []

    def pipe_file(self, path, value, **options):
        if path.endswith("manifest.json"):
            before_manifest.extend(flushed)
        return write(self, path, value, **options)

    monkeypatch.setattr(LocalFileSystem, "pipe_file", pipe_file)
    store.commit(generation, 1, IDENTITY, fits)
    files = {str(path) for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    assert files - set(before_manifest) == {f"{generation}/manifest.json"}
    assert f"{generation}/manifest.json" in flushed


def test_a_store_can_be_moved(tmp_path):
    save(CheckpointStore(tmp_path / "saved"), 5)
    (tmp_path / "saved").rename(tmp_path / "moved")
    (fit,) = CheckpointStore(tmp_path / "moved").newest().fits
    assert fit.usages.startswith(str(tmp_path / "moved"))
    assert_same_bits(read_usages(fit.usages, "target").compute(), usages_of(5))


def test_local_locations_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CheckpointStore("saved").location == str(tmp_path / "saved")
    assert CheckpointStore("~/saved").location == str(tmp_path / "saved")
    assert CheckpointStore(f"file://{tmp_path}/saved/").location == str(tmp_path / "saved")


def test_a_slash_at_the_end_of_a_url_does_not_matter(store, location):
    save(store, 3)
    assert CheckpointStore(f"{location}/").newest().location == store.newest().location


def test_a_missing_parent_folder_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"checkpoint: .*/no/saved' cannot be made, because there is no folder '.*/no'"
    ):
        CheckpointStore(tmp_path / "no" / "saved")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "saved").touch()
    with pytest.raises(InputError, match=r"checkpoint: .*saved' is a file\. Give the path of a folder"):
        CheckpointStore(tmp_path / "saved")


@pytest.mark.parametrize("url", ["nonsense://bucket/fit", "simplecache::memory://fit"])
def test_urls_that_cannot_be_used_are_refused(url):
    with pytest.raises(InputError, match=f"checkpoint: '{url}'"):
        CheckpointStore(url)
