"""Two roles of one labelled store."""

import anndata
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bcnmf_dask import split
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError


@pytest.fixture(params=["memory", "a.zarr", "a.h5ad", "backed"])
def store(request, adata, write):
    if request.param == "memory":
        return adata
    if request.param == "backed":
        return anndata.read_h5ad(write(adata, "b.h5ad"), backed="r")
    return write(adata, request.param)


def rows_with(adata, *labels):
    return adata.obs["condition"].isin(labels).to_numpy()


def test_one_store_with_a_mask_for_each_role(store, adata):
    inputs = read_inputs(*split(store, key="condition", target=["stim"], background="ctrl"))
    (only,) = inputs.stores
    assert only.name == "store"
    np.testing.assert_array_equal(only.masks["target"], rows_with(adata, "stim"))
    np.testing.assert_array_equal(only.masks["background"], rows_with(adata, "ctrl"))
    assert inputs.n_rows == {"target": 9, "background": 8}
    assert inputs.row_names["background"].read(1, 3).tolist() == ["cell10", "cell11"]
    assert inputs.row_names["target"].read(4, 4).size == 0
    assert inputs.lazy == (not isinstance(store, anndata.AnnData) or store.isbacked)


def test_a_row_may_have_both_roles_or_none(store, adata):
    inputs = read_inputs(*split(store, "condition", ["stim", "both"], ["ctrl", "both"]))
    masks = inputs.stores[0].masks
    np.testing.assert_array_equal(masks["target"] & masks["background"], rows_with(adata, "both"))
    np.testing.assert_array_equal(~masks["target"] & ~masks["background"], adata.obs["condition"].isna())
    assert inputs.row_names["target"].read(8, 11).tolist() == ["cell8", "cell17", "cell18"]


def test_layer_and_features_are_chosen_once(store, matrix):
    roles = split(store, "condition", "stim", "ctrl", layer="counts", mask_var="variable")
    inputs = read_inputs(*roles)
    assert inputs.features.tolist() == ["gene0", "gene2", "gene3", "gene5", "gene6"]
    assert inputs.stores[0].columns.tolist() == [0, 2, 3, 5, 6]
    np.testing.assert_array_equal(inputs.stores[0].source.read(0, 4).toarray(), 2 * matrix[:4])


def test_labels_that_are_numbers_may_be_given_as_text(adata):
    for label in (1, "1"):
        target, background = split(adata, "batch", label, 0)
        np.testing.assert_array_equal(target.rows, adata.obs["batch"] == 1)
        assert background.n_rows == 12


def test_a_data_array_is_split_by_a_coordinate(matrix):
    sex = np.where(np.arange(23) % 3 == 0, "f", "m")
    coords = {"sex": ("mouse", sex), "age": ("mouse", range(23))}
    array = xr.DataArray(matrix, dims=("mouse", "protein"), coords=coords)
    inputs = read_inputs(*split(array, "sex", "f", "m"))
    assert inputs.n_rows == {"target": 8, "background": 15}
    usages = inputs.wraps["target"](np.zeros((8, 2)))
    assert usages.dims == ("mouse", "component")
    assert usages["age"].values.tolist() == list(range(0, 23, 3))
    assert inputs.row_names == {"target": None, "background": None}


def test_the_same_label_may_serve_as_both(adata):
    inputs = read_inputs(*split(adata, "condition", "stim", "stim"))
    assert inputs.n_rows == {"target": 9, "background": 9}


def test_one_part_may_be_used_alone_or_with_other_data(adata, matrix):
    target, background = split(adata, "condition", "stim", "ctrl")
    alone = read_inputs(target, None)
    assert [store.name for store in alone.stores] == ["target"]
    assert alone.n_rows == {"target": 9}
    mixed = read_inputs(matrix, background)
    assert [store.name for store in mixed.stores] == ["target", "background"]
    assert mixed.n_rows == {"target": 23, "background": 8}


def test_parts_of_two_stores_stay_two_stores(adata):
    target, _ = split(adata, "condition", "stim", "ctrl", mask_var=[True] * 6 + [False])
    _, background = split(adata[:, ::-1].copy(), "condition", "stim", "ctrl", mask_var=[True] * 6 + [False])
    inputs = read_inputs(target, background)
    assert inputs.features.tolist() == [f"gene{column}" for column in range(1, 6)]
    assert [store.columns.tolist() for store in inputs.stores] == [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]


def test_a_part_says_what_it_is(adata, write):
    target, _ = split(write(adata, "a.h5ad"), "condition", "stim", "ctrl", mask_var="variable")
    assert repr(target).startswith("Labelled(9 of 23 rows of /")
    assert repr(target).endswith("a.h5ad, 5 features)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "status"}, "store: key='status' is not a column .* The columns are: condition, batch"),
        ({"target": "treated"}, r"target: 'treated' .*: stim \(9 rows\), ctrl \(8 rows\), both \(3 rows\)"),
        ({"background": ["ctrl", "none"]}, "background: 'none' is not a label in column 'condition'"),
        ({"target": []}, r"target: no row .* labels \[\]"),
        ({"layer": "raw"}, "store: layer='raw' is not in the AnnData; its layers are"),
        ({"mask_var": "hvg"}, "store: mask_var='hvg' is not a column .* The columns are: variable"),
    ],
)
def test_what_the_store_does_not_have_is_refused(store, arguments, message):
    with pytest.raises(InputError, match=message):
        split(store, **{"key": "condition", "target": "stim", "background": "ctrl", **arguments})


def test_a_label_without_rows_is_refused(adata):
    adata.obs["condition"] = adata.obs["condition"].cat.add_categories("lost")
    with pytest.raises(InputError, match=r"background: no row of the store has one of the labels \['lost'\]"):
        split(adata, "condition", "stim", "lost")


@pytest.mark.parametrize("arguments", [{"layer": "counts"}, {"mask_var": "variable"}])
def test_layer_and_features_of_a_part_belong_to_split(adata, arguments):
    with pytest.raises(InputError, match=r"target: layer and mask_var .* give them to split instead"):
        read_inputs(*split(adata, "condition", "stim", "ctrl"), **arguments)


def test_a_layer_of_a_data_array_is_refused(matrix):
    array = xr.DataArray(matrix, dims=("mouse", "protein"), coords={"sex": ("mouse", ["f"] * 23)})
    with pytest.raises(InputError, match=r"store: layer='counts' was given, but only an AnnData has layers"):
        split(array, "sex", "f", "f", layer="counts")


@pytest.mark.parametrize("plain", [np.ones((3, 2)), pd.DataFrame({"a": [1.0], "b": [2.0]})])
def test_a_store_without_labels_is_refused(plain):
    with pytest.raises(InputError, match=r"store: key='condition' is not a column .* The columns are: none"):
        split(plain, "condition", "stim", "ctrl")
