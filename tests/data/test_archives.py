"""The names in an ``.npz`` are used as names: whatever they are called and however they are written."""

import pickle
import zipfile

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bcnmf_dask import BCNMF, ingest
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import InputError

GENES = [f"génè{column}" for column in range(7)]
CELLS = [f"cell{row}" for row in range(23)]


@pytest.fixture
def archive(matrix, tmp_path):
    """``archive(name, **names)``: the matrix as CSR (or of another format), with these names beside it."""

    def written(name="m.npz", rows=matrix, kind="csr", **names):
        packed = getattr(sp, f"{kind}_array")(rows)
        parts = {"data": packed.data, "indices": packed.indices, "indptr": packed.indptr, "shape": packed.shape}
        np.savez(tmp_path / name, **parts, format=np.array(kind.encode()), **names)
        return tmp_path / name

    return written


WRITTEN = {
    "str": np.array(GENES),
    "objects, as pandas gives them": pd.Index(GENES, dtype=object).to_numpy(),
    "bytes": np.array([name.encode() for name in GENES]),
    "objects of bytes": np.array([name.encode() for name in GENES], dtype=object),
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("key", ["genes", "features", "var_names", "gene_names", "adata.var_names", "var/_index"])
def test_names_of_features(key, written, archive):
    inputs = read_inputs(archive(**{key: WRITTEN[written]}), None)
    assert inputs.features.tolist() == GENES
    assert inputs.row_names["target"] is None


@pytest.mark.parametrize("key", ["barcodes", "cells", "obs_names", "matrix/barcodes"])
def test_names_of_rows(key, archive):
    inputs = read_inputs(archive(**{key: CELLS}), None)
    assert inputs.row_names["target"].read(3, 6).tolist() == CELLS[3:6]
    assert inputs.features is None


def test_of_several_names_those_that_fit_are_used(archive):
    inputs = read_inputs(archive(genes=np.array(3), features=["a", "b"], gene_names=GENES), None)
    assert inputs.features.tolist() == GENES


def test_numbers_are_names_too(archive):
    assert read_inputs(archive(genes=np.arange(10, 17)), None).features.tolist() == [str(i) for i in range(10, 17)]


def test_two_files_whose_genes_come_in_other_orders_are_aligned_by_name(archive, matrix, adata):
    order = np.random.default_rng(1).permutation(7)
    target = archive("t.npz", genes=GENES)
    shuffled = archive("b.npz", rows=matrix[5:][:, order], genes=np.array(GENES)[order])
    adata.var_names = GENES
    fits = [
        BCNMF(2, max_iter=4, tol=0).fit(*rows, client=False, background=background)
        for rows, background in (((target,), shuffled), ((adata,), adata[5:].copy()))
    ]
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)
    assert fits[0].feature_names_in_.tolist() == GENES
    np.testing.assert_array_equal(
        np.asarray(fits[0].transform(shuffled)), np.asarray(fits[1].transform(adata[5:].copy()))
    )


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_names_are_ingested(kind, archive, matrix, tmp_path):
    ingest(archive(kind=kind, genes=GENES, barcodes=CELLS), tmp_path / "out.zarr")
    found = anndata.read_zarr(tmp_path / "out.zarr")
    np.testing.assert_array_equal(found.X.toarray(), matrix)
    assert (found.var_names.tolist(), found.obs_names.tolist()) == (GENES, CELLS)


MISFITS = {
    "too few": ({"genes": GENES[:5]}, r"'genes' of shape \(5,\)\. Expected one name for each of the 7 features"),
    "of rows": ({"genes": CELLS}, r"'genes' of shape \(23,\), as many as there are rows: the matrix looks transposed"),
    "of features": ({"cells": GENES}, "as many as there are features: the matrix looks transposed"),
    "a table": ({"features": np.array([GENES, GENES])}, r"'features' of shape \(2, 7\)"),
    "several": ({"genes": GENES[:5], "features": GENES[:6]}, r"'genes' of shape \(5,\); 'features' of shape \(6,\)"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_names_that_do_not_fit_are_refused(case, archive, tmp_path):
    names, message = MISFITS[case]
    path = archive(**names)
    with pytest.raises(InputError, match=rf"target: '.*m\.npz' has names that do not fit its matrix of 23.*{message}"):
        read_inputs(path, None)
    with pytest.raises(InputError, match=rf"source: .*{message}"):
        ingest(path, tmp_path / "out.zarr")


def test_names_that_are_not_utf8_are_refused(archive):
    with pytest.raises(InputError, match="It holds text that is not UTF-8: write its names and labels again"):
        read_inputs(archive(genes=np.array([b"g\xe9ne%d" % i for i in range(7)])), None)


def test_nothing_but_text_is_unpickled(archive, matrix):
    class Harmful:
        def __reduce__(self):
            return print, ("this must not run",)

    genes = np.array([Harmful()] * 7, dtype=object)
    with pytest.raises(InputError, match=r"It holds Python objects.*are not read, since that may run any code"):
        read_inputs(archive(genes=genes), None)


def test_values_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "m.npz", data=np.array([1.0], object), indices=[0], indptr=[0, 1], shape=[1, 1])
    with pytest.raises(InputError, match="It holds Python objects"):
        read_inputs(tmp_path / "m.npz", None)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_text_of_any_protocol(protocol, archive):
    path = archive(names=["unused"])
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (7,), }"
    header += " " * (64 - (10 + len(header) + 1) % 64) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("genes.npy", content + pickle.dumps(np.array(GENES, object), protocol=protocol))
    assert read_inputs(path, None).features.tolist() == GENES
