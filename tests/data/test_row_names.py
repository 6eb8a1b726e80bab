"""Names of rows are those of the rows that were fitted, whatever happens to their origin; and nothing but names."""

import pickle

import numpy as np
import pytest

from bcnmf_dask import split
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError

CELLS = [f"cell{row}" for row in range(23)]


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_names_of_a_store_that_took_the_place_of_the_first_are_refused(adata, write, name):
    names = read_inputs(write(adata, name), None).row_names["target"]
    assert pickle.loads(pickle.dumps(names)).read(0, 23).tolist() == CELLS
    adata.obs_names = [f"other{row}" for row in range(23)]
    write(adata, name)
    with pytest.raises(InputError, match=rf"{name}' has changed since .* Leave a store alone"):
        names.read(0, 3)


def test_a_store_to_which_something_is_added_keeps_its_names(adata, write):
    path = write(adata, "a.zarr")
    names = read_inputs(path, None).row_names["target"]
    (path / "obs" / "note").mkdir()
    assert names.read(0, 2).tolist() == CELLS[:2]


def test_names_in_memory_are_those_of_the_moment_the_rows_were_given(adata):
    whole = read_inputs(adata, None).row_names["target"]
    part = read_inputs(*split(adata, "condition", "stim", "ctrl")).row_names["background"]
    adata.obs_names = [f"other{row}" for row in range(23)]
    assert whole.read(0, 23).tolist() == CELLS
    assert part.read(0, 8).tolist() == CELLS[9:17]


def test_what_else_is_known_about_the_rows_does_not_travel_with_their_names(adata):
    adata.obs["patient"] = "a name that must not leak"
    for inputs in (read_inputs(adata, None), read_inputs(*split(adata, "condition", "stim", "ctrl"))):
        assert b"leak" not in pickle.dumps(inputs.row_names["target"])
    np.testing.assert_array_equal(inputs.row_names["target"].read(0, 9), CELLS[:9])
