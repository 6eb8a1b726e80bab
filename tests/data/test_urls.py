"""Stores at URLs that fsspec knows; ``memory://`` is seen by this process alone."""

import pickle

import anndata
import fsspec
import numpy as np
import pytest
import scipy.sparse as sp
import zarr

from bcnmf_dask import BCNMF, ingest, split
from bcnmf_dask.data.locations import absolute, exists, is_url, shown
from bcnmf_dask.data.stored import AnnDataSource, ZarrArraySource
from bcnmf_dask.errors import InputError

ROOT = "memory://bcnmf-tests"


@pytest.fixture
def at_url(tmp_path):
    """``at_url(path)``: the URL of a copy in memory."""
    files = fsspec.filesystem("memory")

    def copy(path):
        files.put(str(path), f"/bcnmf-tests/{path.name}", recursive=True)
        return f"{ROOT}/{path.name}"

    yield copy
    files.rm("/bcnmf-tests", recursive=True)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_fit_of_a_store_at_a_url_has_the_bits_of_one_of_the_same_store_here(adata, write, at_url, zarr_format):
    path = write(adata, "a.zarr", zarr_format)
    fits = []
    for place in (path, at_url(path) + "/"):
        target, background = split(place, "condition", "stim", "ctrl")
        model = BCNMF(2, max_iter=5, tol=0, random_state=0)
        fits.append(model.fit(target, background=background, client=False))
    assert fits[0].components_.tobytes() == fits[1].components_.tobytes()
    assert list(fits[1].feature_names_in_) == list(adata.var_names)


def test_a_dense_array_at_a_url(matrix, tmp_path, at_url):
    zarr.create_array(tmp_path / "rows", data=matrix, chunks=(5, 7))
    source = pickle.loads(pickle.dumps(ZarrArraySource(at_url(tmp_path / "rows"))))
    np.testing.assert_array_equal(source.read(3, 11), matrix[3:11])
    assert source.location == source.path == f"{ROOT}/rows"


def test_a_rewritten_store_at_a_url_is_not_read_through_an_old_handle(adata, write, at_url):
    url = at_url(write(adata, "a.zarr"))
    old = AnnDataSource(url, "X")
    fsspec.filesystem("memory").rm("/bcnmf-tests/a.zarr", recursive=True)
    at_url(write(adata[3:].copy(), "a.zarr"))
    assert (old.shape[0], AnnDataSource(url, "X").shape[0]) == (23, 20)


def test_a_lost_chunk_at_a_url_is_refused(adata, write, at_url):
    url = at_url(write(adata, "a.zarr"))
    fsspec.filesystem("memory").rm("/bcnmf-tests/a.zarr/X/data/c/0")
    with pytest.raises(InputError, match=r"memory://.*a\.zarr' is truncated: 1 chunk"):
        AnnDataSource(url, "X")


def test_a_store_at_a_url_is_ingested(adata, write, at_url, tmp_path):
    report = ingest(at_url(write(adata, "a.zarr")), tmp_path / "out.zarr", layer="by_column")
    assert (report.n_cells, report.n_features) == adata.shape
    np.testing.assert_array_equal(anndata.read_zarr(tmp_path / "out.zarr").X.toarray(), adata.X.toarray())


def test_file_urls_are_paths(matrix, tmp_path):
    np.save(tmp_path / "m.npy", matrix)
    url = f"file://{tmp_path}/m.npy"
    assert not is_url(url)
    assert absolute(url) == str(tmp_path / "m.npy")
    assert exists(url)
    assert BCNMF(2, alpha=0.0, max_iter=2, tol=0).fit(url, client=False).n_features_in_ == 7


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"{ROOT}/none.zarr", r"none\.zarr' does not exist, or may not be read from here. Check the URL"),
        (f"{ROOT}/m.npy", r"m\.npy' is no Zarr store, and of URLs nothing else is read. Copy the file here"),
        ("nonsense://a/b.zarr", r"nonsense://a/b\.zarr' cannot be opened \(Protocol not known: nonsense.*fsspec"),
    ],
)
@pytest.mark.parametrize("use", ["fit", "ingest"])
def test_urls_that_cannot_be_read_are_refused_in_words(url, message, use, matrix, tmp_path, at_url):
    np.save(tmp_path / "m.npy", matrix)
    at_url(tmp_path / "m.npy")
    with pytest.raises(InputError, match=rf"(target|source): '.*{message}"):
        BCNMF(2, alpha=0.0).fit(url, client=False) if use == "fit" else ingest(url, tmp_path / "out.zarr")


def test_passwords_and_tokens_are_not_shown():
    assert shown("https://user:secret@host/a.zarr?token=secret") == "https://host/a.zarr"
    assert shown("s3://bucket/a.zarr") == "s3://bucket/a.zarr"
    assert shown("a?b@c.zarr") == "a?b@c.zarr"
    with pytest.raises(InputError, match=r"target: 'nonsense://host/b\.zarr' cannot be opened") as raised:
        BCNMF(2, alpha=0.0).fit("nonsense://user:secret@host/b.zarr", client=False)
    assert "secret" not in str(raised.value)


def test_results_are_not_written_to_urls(matrix):
    with pytest.raises(InputError, match=r"out: 's3://b/out\.zarr' is a URL, but results are written to local folders"):
        BCNMF(2, alpha=0.0).fit(matrix, client=False, out="s3://b/out.zarr")


def test_an_npz_at_a_file_url(matrix, tmp_path):
    sp.save_npz(tmp_path / "m.npz", sp.csr_matrix(matrix))
    assert BCNMF(2, alpha=0.0, max_iter=2, tol=0).fit(f"file://{tmp_path}/m.npz", client=False).n_features_in_ == 7
