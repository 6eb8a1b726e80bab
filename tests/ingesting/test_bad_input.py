"""What cannot be ingested is refused in words, and nothing is left behind."""

import anndata
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bcnmf_dask import ingest
from bcnmf_dask.errors import InputError

GOOD = np.eye(3, 4)


def damaged(kind):
    matrix = kind(GOOD)
    matrix.indices[1] = 9
    return matrix


def too_many():
    return sp.csr_array((np.array([200, 100], np.uint8), [1, 1], [0, 2]), shape=(1, 3))


CASES = {
    "a list": ([[1]], {}, "source: got an object of type list"),
    "no file": ("absent.h5ad", {}, "source: 'absent.h5ad' does not exist"),
    "COO": (sp.coo_array(GOOD), {}, "source: got a sparse matrix in COO format"),
    "empty CSC": (sp.csc_array((0, 4)), {}, "source: got an empty matrix"),
    "complex CSC": (sp.csc_array(GOOD + 1j), {}, "source: got values of type complex128"),
    "damaged CSR": (damaged(sp.csr_array), {}, "source: got a damaged CSR"),
    "damaged CSC": (
        damaged(sp.csc_array),
        {},
        "source: got a damaged CSC matrix: it has 3 rows",
    ),
    "sums that do not fit": (too_many(), {}, "adds up to 300, which does not fit its type uint8.*sum_duplicates"),
    "a layer of an array": (GOOD, {"layer": "counts"}, "source: layer='counts' was given, but only an AnnData has"),
    "no such layer": (anndata.AnnData(GOOD), {"layer": "counts"}, "source: layer='counts' is not in the AnnData"),
    "other types than declared": (
        da.from_array(GOOD).map_blocks(lambda block: block.astype("float32"), dtype=float, meta=GOOD[:0]),
        {},
        "declares values of type float64 but holds float32",
    ),
    "a column that cannot be written": (
        anndata.AnnData(GOOD, obs=pd.DataFrame({"when": pd.to_datetime(["2020"] * 3)}, index=list("abc"))),
        {},
        "source: AnnData cannot write obs .*Drop the column",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case, tmp_path):
    source, options, message = CASES[case]
    with pytest.raises(InputError, match=message):
        ingest(source, tmp_path / "out.zarr", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("taken", "out: .*taken' already exists, and is not overwritten"),
        ("absent/out.zarr", "out: .* cannot be made, because there is no folder"),
    ],
)
def test_places_that_cannot_be_written(out, message, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match=message):
        ingest(GOOD, tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_that_lost_its_end(tmp_path):
    source = tmp_path / "a.h5ad"
    anndata.AnnData(sp.csc_array(np.ones((200, 90)))).write_h5ad(source)
    with h5py.File(source, "r+") as file:
        del file["X/data"]
        file["X/data"] = np.ones(5)
    with pytest.raises(InputError, match=r"a\.h5ad' could not be read.*do not fit its stored values"):
        ingest(source, tmp_path / "out.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5ad"]


def test_a_name_taken_meanwhile_is_not_overwritten(tmp_path):
    def tell(*_):
        (tmp_path / "out.zarr").mkdir(exist_ok=True)

    with pytest.raises(InputError, match=r"has come into being during the ingest.*The store is whole, at"):
        ingest(GOOD, tmp_path / "out.zarr", tell=tell)
    np.testing.assert_array_equal(anndata.read_zarr(tmp_path / ".out.zarr.ingest" / "store").X, GOOD)
