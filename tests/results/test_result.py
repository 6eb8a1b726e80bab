import errno
import json
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from bcnmf_dask.errors import InputError
from bcnmf_dask.results import layout, result
from bcnmf_dask.results.factors import HeldNames, StoredNames
from bcnmf_dask.results.provenance import Provenance
from bcnmf_dask.results.result import load_result, save_result


def assert_equal_arrays(loaded, saved):
    if saved is None:
        assert loaded is None
    else:
        np.testing.assert_array_equal(loaded, np.asarray(saved), strict=True)


def assert_equal_names(loaded, saved):
    for role, names in saved.items():
        if names is None:
            assert loaded[role] is None
        else:
            assert loaded[role].read(0, len(names)).tolist() == names.read(0, len(names)).tolist()


def assert_same(loaded, saved):
    for field in ("components", "target_usages", "background_usages", "target_signal", "background_signal"):
        assert_equal_arrays(getattr(loaded, field), getattr(saved, field))
    assert_equal_arrays(loaded.features, saved.features)
    assert_equal_names(loaded.row_names, saved.row_names)
    pd.testing.assert_frame_equal(loaded.history, saved.history)
    np.testing.assert_equal(loaded.divergences, saved.divergences)
    assert loaded.status == saved.status
    assert (loaded.parameters, loaded.versions, loaded.run) == (saved.parameters, saved.versions, saved.run)
    assert loaded.provenance == saved.provenance


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.zarr"


@pytest.fixture
def saved(path, make_result):
    save_result(make_result(), path)
    return path


def test_every_field_comes_back(path, make_result):
    save_result(make_result(), path)
    assert_same(load_result(path), make_result())


def test_plain_nmf_of_unnamed_data_comes_back(path, plain_result):
    save_result(plain_result, path)
    loaded = load_result(path)
    assert_same(loaded, plain_result)
    assert list(loaded.row_names) == ["target"]


def test_a_loaded_result_can_be_saved_again(saved, tmp_path, make_result):
    save_result(load_result(saved), tmp_path / "again.zarr")
    assert_same(load_result(tmp_path / "again.zarr"), make_result())


def test_a_fit_of_no_sweep_comes_back(path, make_result):
    empty = make_result(history=make_result().history.iloc[:0])
    save_result(empty, path)
    assert_same(load_result(path), empty)


def test_names_are_read_lazily_from_the_store(saved):
    names = load_result(saved).row_names["background"]
    assert names == StoredNames(str(saved), "background_cell")
    assert names.read(3, 5).tolist() == ["ctrl-3", "ctrl-4"]


def test_numpy_seeds_are_recorded_as_numbers(path, make_result):
    save_result(make_result(parameters={"random_state": np.int64(3), "alpha": np.float32(0.5)}), path)
    assert load_result(path).parameters == {"random_state": 3, "alpha": 0.5}


@pytest.mark.parametrize("wrap", [da.from_array, xr.DataArray], ids=["dask", "xarray"])
def test_usages_of_any_kind_are_saved(path, make_result, wrap):
    values = make_result().target_usages
    save_result(make_result(target_usages=wrap(values)), path)
    np.testing.assert_array_equal(load_result(path).target_usages, values)


def test_usages_and_names_are_written_in_pieces(path, make_result, monkeypatch):
    monkeypatch.setattr(layout, "PIECE_ROWS", 3)
    save_result(make_result(), path)
    assert zarr.open_array(path, path="target_usages", mode="r").chunks == (3, 3)
    assert zarr.open_array(path, path="target_cell", mode="r").chunks == (3,)
    assert_same(load_result(path), make_result())


def test_large_usages_stay_in_their_store(saved, make_result, monkeypatch):
    monkeypatch.setattr(result, "EAGER_BYTES", 7 * 3 * 4)
    loaded = load_result(saved)
    assert isinstance(loaded.target_usages, da.Array)
    assert isinstance(loaded.background_usages, np.ndarray)
    np.testing.assert_array_equal(loaded.target_usages.compute(), make_result().target_usages)


def test_xarray_shows_it_as_one_labelled_data_set(saved, make_result):
    with xr.open_zarr(saved) as data:
        assert {name: variable.dims for name, variable in data.data_vars.items()} == {
            "components": ("component", "feature"),
            "target_usages": ("target_cell", "component"),
            "background_usages": ("background_cell", "component"),
            "target_signal": ("component",),
            "background_signal": ("component",),
            "target_explained": ("component_or_profile",),
            "background_explained": ("component_or_profile",),
            "target_carriers": ("component",),
            "background_carriers": ("component",),
            "auroc": ("component",),
            "mean_profile": ("feature",),
            "floor": ("feature",),
            "history_data_visits": ("iteration",),
            "history_target_divergence": ("iteration",),
            "history_background_divergence": ("iteration",),
            "history_objective": ("iteration",),
            "history_basis_change": ("iteration",),
            **{
                f"history_{part}seconds": ("iteration",)
                for part in ("", "compute_", "read_", "merge_", "scheduler_", "driver_")
            },
        }
        assert set(data.coords) == {"component", "feature", "target_cell", "background_cell", "iteration"}
        assert data.component.values.tolist() == [0, 1, 2]
        assert data.iteration.values.tolist() == [1, 2]
        expected = make_result().components[1, 2]
        assert data.components.sel(component=1, feature="β-actin") == expected
        assert data.target_usages.sel(target_cell="stim-6", component=0) == make_result().target_usages[6, 0]


def test_xarray_counts_what_has_no_name(path, plain_result):
    save_result(plain_result, path)
    with xr.open_zarr(path) as data:
        assert "background_usages" not in data
        assert data.feature.values.tolist() == [0, 1, 2, 3]
        assert data.target_cell.values.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_attributes_are_plain_or_json(saved, make_result):
    with xr.open_zarr(saved) as data:
        provenance = data.attrs.pop("provenance")
        assert Provenance.of(json.loads(provenance)) == make_result().provenance
        assert data.attrs == {
            "format": "bcnmf_dask.fit",
            "format_version": 3,
            "status": "converged",
            "status_sentence": "The fit converged after 2 sweeps.",
            "converged": True,
            "resumed_from": 12,
            "auroc_error": 0.0,
            "totals": '{"target": 50.0, "background": 40.0}',
            "n_rows": '{"target": 7, "background": 5}',
            "divergences": '{"target": 1.5, "background": 2.5, "objective": -1.0}',
            "parameters": '{"alpha": 1.0, "loss": "frobenius", "random_state": 0, "damping": null}',
            "versions": '{"numpy": "2.4.6"}',
            "run": '{"resumed_from": 12, "shards_per_worker": {"a": 2}}',
        }


def test_without_usages_all_else_is_saved(path, make_result):
    names = {"target": HeldNames(np.array([f"c{i}" for i in range(7)], dtype=object)), "background": None}
    bare = make_result(target_usages=None, background_usages=None, row_names=names)
    bare.save(path)
    again, whole = load_result(path), make_result()
    assert (again.target_usages, again.background_usages) == (None, None)
    assert again.row_names == {"target": None, "background": None}
    assert {role: side.n_rows for role, side in again.sides.items()} == {"target": 7, "background": 5}
    np.testing.assert_array_equal(again.components, whole.components)
    with xr.open_zarr(path) as data:
        assert not {"target_cell", "background_cell"} & set(data.variables)
    assert not again.described()["usages_saved"]


def test_a_fresh_fit_resumed_from_sweep_zero(path, make_result):
    save_result(make_result(run={}), path)
    assert zarr.open_group(path, mode="r").attrs["resumed_from"] == 0


def test_metadata_are_consolidated(saved):
    metadata = zarr.open_group(saved, mode="r", use_consolidated=True).metadata
    assert metadata.zarr_format == 3
    assert "target_usages" in metadata.consolidated_metadata.metadata


def test_a_new_process_opens_it_silently(saved):
    code = f"import xarray; print(xarray.open_zarr({str(saved)!r}).load().sizes['target_cell'])"
    opened = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (opened.stdout, opened.stderr, opened.returncode) == ("7\n", "", 0)


def test_a_failing_save_leaves_nothing(path, make_result):
    with pytest.raises(TypeError):
        save_result(make_result(parameters={"init": object()}), path)
    assert list(path.parent.iterdir()) == []


def test_saving_over_something_is_refused(saved, make_result):
    with pytest.raises(InputError, match=r"already exists, and is not overwritten"):
        save_result(make_result(), saved)


def test_a_missing_path_is_refused(path):
    with pytest.raises(InputError, match=r"nothing at '.*fit\.zarr'\. Give the folder of a saved fit"):
        load_result(path)


def make_file(path):
    path.write_text("counts")


def make_empty_folder(path):
    path.mkdir()


def make_other_group(path):
    zarr.create_group(path, attributes={"encoding-type": "anndata"})


def make_array(path):
    zarr.create_array(path, data=np.ones(3))


@pytest.mark.parametrize("make", [make_file, make_empty_folder, make_other_group, make_array])
def test_what_is_not_a_fit_is_refused(path, make):
    make(path)
    with pytest.raises(InputError, match=r"'.*fit\.zarr' is not a fit saved by bcnmf-dask .* Give the folder"):
        load_result(path)


@pytest.mark.parametrize("version", [1, 2, 4])
def test_another_format_version_is_refused(saved, version):
    zarr.open_group(saved, mode="a").attrs["format_version"] = version
    expected = rf"format version {version}, but this bcnmf-dask reads version 3\. Load it with"
    with pytest.raises(InputError, match=expected):
        load_result(saved)


def test_a_fit_of_the_first_format_is_not_called_damaged(saved):
    """It lacks what a summary is made of now: to copy it again, as is advised of damage, would not help."""
    group = zarr.open_group(saved, mode="a")
    del group.attrs["totals"], group["auroc"], group["floor"], group["mean_profile"]
    group.attrs["format_version"] = 1
    with pytest.raises(InputError, match="format version 1") as refused:
        load_result(saved)
    assert "damaged" not in str(refused.value)


def drop_chunk(path):
    (path / "target_usages" / "c" / "0" / "0").unlink()


def truncate_chunk(path):
    chunk = path / "components" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-5])


def drop_array(path):
    shutil.rmtree(path / "history_objective")


def truncate_array_metadata(path):
    metadata = path / "background_signal" / "zarr.json"
    metadata.write_bytes(metadata.read_bytes()[:40])


def drop_attribute(path):
    del zarr.open_group(path, mode="a").attrs["run"]


@pytest.mark.parametrize("damage", [drop_chunk, truncate_chunk, drop_array, truncate_array_metadata, drop_attribute])
def test_a_damaged_fit_is_refused(saved, damage):
    damage(saved)
    with pytest.raises(InputError, match=r"the fit at '.*fit\.zarr' is damaged or was copied only in part"):
        load_result(saved)


@pytest.mark.parametrize("where", ["open_group", "open_array"])
def test_a_fit_that_may_not_be_read_is_not_called_damaged(where, saved, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(*((zarr, where, fail) if where == "open_group" else (result, where, fail)))
    with pytest.raises(
        InputError, match=r"path: '.*fit\.zarr' could not be read .*may not be read by .*chmod"
    ) as refused:
        load_result(saved)
    assert "damaged" not in str(refused.value)


def test_a_truncated_group_is_refused(saved):
    (saved / "zarr.json").write_text('{"zarr_format": 3')
    with pytest.raises(InputError, match=r"is not a fit saved by bcnmf-dask \(it cannot be opened as a Zarr group"):
        load_result(saved)


def test_results_are_compared_by_identity_not_by_ambiguous_arrays(make_result):
    assert make_result() != make_result()


def test_refusals_of_save_name_its_own_argument(tmp_path, plain_result):
    with pytest.raises(InputError, match=r"^path: .* already exists"):
        save_result(plain_result, tmp_path)


def test_saving_in_threads_leaves_the_filters_of_warnings_as_they_were(tmp_path, plain_result):
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: save_result(plain_result, tmp_path / f"{i}.zarr"), range(12)))
    assert list(warnings.filters) == before
