"""Checkpoints that cannot be written, or are damaged, and those of other fits."""

import shutil
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr
from chaos import at_sweep, bits, left_in_peace, model, rows

from bcnmf_dask.errors import CheckpointError, CheckpointWarning, InputError, ResultWarning

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


def fit(client, saved, callbacks=(), sweeps=8, **options):
    target, background = rows()
    options = {"checkpoint_every": 2} | options
    return model(max_iter=sweeps).fit(
        target, background=background, client=client, checkpoint=saved, callbacks=callbacks, **options
    )


def generations(saved):
    return sorted(Path(saved).glob("generation-*"))


def assert_not_saved(caught):
    """Exactly the checkpoints of sweeps 6 and 8 failed, each with a warning in words."""
    caught = [warning for warning in caught if warning.category is not ResultWarning]  # random rows have no more
    assert [warning.category for warning in caught] == [CheckpointWarning] * 2
    for sweep, warning in zip((6, 8), caught, strict=True):
        assert f"sweep {sweep} could not be saved" in str(warning.message)
        assert "The fit goes on; the one before stays." in str(warning.message)


@pytest.fixture(params=["local", "cluster"])
def client(request, workers):
    return False if request.param == "local" else workers(2)


def test_a_store_that_can_no_longer_be_written(client, tmp_path):
    saved, aside = tmp_path / "saved", tmp_path / "aside"

    def break_it():
        saved.rename(aside)
        saved.write_text("a file now")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit(client, saved, [at_sweep(5, break_it)])
    assert_not_saved(caught)
    assert bits(fitted) == left_in_peace()
    saved.unlink()
    aside.rename(saved)
    again = fit(client, saved, resume=True)
    assert again.run_["resumed_from"] == 4
    assert bits(again) == left_in_peace()


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for a few checkpoints of the fit (1.2 MB each)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk(client, small_disk):
    filler = small_disk / "filler"

    def fill():
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit(client, small_disk / "saved", [at_sweep(5, fill)])
    assert_not_saved(caught)
    assert bits(fitted) == left_in_peace()
    filler.unlink()
    again = fit(client, small_disk / "saved", resume=True)
    assert again.run_["resumed_from"] == 4
    assert bits(again) == left_in_peace()


def cut_manifest(generation):
    manifest = generation / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])


def alter_manifest(generation):
    manifest = generation / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sweep": 6', '"sweep": 7'))


def alter_usages(generation):
    usages = zarr.open_array(str(generation / "fit-0"), path="target_usages")
    usages[17:18] = usages[17:18] * np.float32(1.5)


def lose_usages(generation):
    shutil.rmtree(generation / "fit-0" / "background_usages")


def cut_usages(generation):
    largest = max((generation / "fit-0" / "target_usages").rglob("c/*/*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])


@pytest.mark.parametrize("damage", [cut_manifest, alter_manifest, alter_usages, lose_usages, cut_usages])
def test_a_damaged_checkpoint_is_passed_over(client, tmp_path, damage):
    fit(client, tmp_path / "saved", sweeps=6)
    _, newest = generations(tmp_path / "saved")
    damage(newest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        again = fit(client, tmp_path / "saved", resume=True)
    assert again.run_["resumed_from"] == 4
    assert bits(again) == left_in_peace()


def test_only_damaged_checkpoints(client, tmp_path):
    fit(client, tmp_path / "saved", sweeps=4)
    for generation in generations(tmp_path / "saved"):
        cut_manifest(generation)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole"):
        fit(client, tmp_path / "saved", resume=True)


def test_other_fits_are_refused(client, tmp_path):
    saved = tmp_path / "saved"
    fit(client, saved, sweeps=2)
    target, background = rows()
    changed = target.copy()
    changed[5, 7] += 1
    options = {"background": background, "client": client, "checkpoint": saved, "resume": True}
    with pytest.raises(CheckpointError, match="the rows and values of the data differ"):
        model().fit(changed, **options)
    with pytest.raises(CheckpointError, match=r"n_components was 8 and is now 9.*random_state was 1 and is now 2"):
        model(n_components=9, random_state=2).fit(target, **options)
    with pytest.raises(InputError, match="holds checkpoints already"):
        model().fit(target, **options | {"resume": False})
