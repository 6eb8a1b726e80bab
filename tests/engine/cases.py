"""One small data set in every form the engines accept, and its oracle."""

import warnings
from functools import cache
from itertools import product

import anndata as ad
import dask.array as da
import numpy as np
import oracle
import scipy.sparse as sp
import xarray as xr
import zarr

from bcnmf_dask import split
from bcnmf_dask.fitting.settings import Settings

N, M, F, K, SWEEPS = 301, 203, 40, 4, 25
LOSSES, ALPHAS, DAMPINGS = ("frobenius", "kullback-leibler"), (0.0, 1.0), (1.0, 0.5)
CASES = list(product(LOSSES, ALPHAS, DAMPINGS))


@cache
def counts():
    draw = np.random.default_rng(5)
    programs = draw.gamma(0.5, 2.0, (6, F))
    x = draw.poisson(draw.gamma(0.3, 1.0, (N, 6)) @ programs).astype(float)
    y = draw.poisson(draw.gamma(0.3, 1.0, (M, 4)) @ programs[:4]).astype(float)
    x[7], x[:, 11], y[:, 11] = 0, 0, 0
    return x, y


@cache
def overlapping():
    """Labels of one store: target, background, both and neither, shuffled."""
    rows = np.vstack(counts())
    labels = np.random.default_rng(6).choice(["stim", "ctrl", "shared", "junk"], len(rows), p=[0.5, 0.3, 0.1, 0.1])
    return rows, labels


def pair(kind):
    """(x, y) as dense float64 arrays: what the oracle sees of a kind of input."""
    if not kind.startswith("roles"):
        return counts()
    rows, labels = overlapping()
    return rows[np.isin(labels, ["stim", "shared"])], rows[np.isin(labels, ["ctrl", "shared"])]


@cache
def expected(kind_of_data, loss, alpha, damping):
    x, y = pair(kind_of_data)
    return oracle.fit(x, y, oracle.start(len(x), len(y), F, K), loss=loss, alpha=alpha, damping=damping, sweeps=SWEEPS)


def settings(kind, loss, alpha, damping):
    x, y = pair(kind)
    basis, target, background = oracle.start(len(x), len(y), F, K)
    start = {"components": basis.T, "target_usages": target, "background_usages": background}
    return Settings(K, alpha, "sum", loss, damping, SWEEPS, 0.0, 0, start=start)


def _dask(chunks, sparse=False):
    def make(_):
        arrays = [da.from_array(rows, chunks=(chunks, F)) for rows in counts()]
        return [array.map_blocks(sp.csr_matrix) if sparse else array for array in arrays]

    return make


def _zarr(folder):
    paths = [folder / "x.zarr", folder / "y.zarr"]
    for path, rows in zip(paths, counts(), strict=True):
        zarr.create_array(path, data=rows, chunks=(64, F))
    return paths


def write(table, path):
    with warnings.catch_warnings(), ad.settings.override(zarr_write_format=3):
        warnings.simplefilter("ignore")  # anndata announces coming defaults of Zarr writing
        table.write_zarr(path) if path.suffix == ".zarr" else table.write_h5ad(path)


def _anndata(suffix, form):
    def make(folder):
        paths = [folder / f"x.{suffix}", folder / f"y.{suffix}"]
        for path, rows in zip(paths, counts(), strict=True):
            table = ad.AnnData(form(rows))
            table.obs_names, table.var_names = [f"c{i}" for i in range(len(rows))], [f"g{j}" for j in range(F)]
            write(table, path)
        return paths

    return make


def _labelled(form):
    rows, labels = overlapping()
    table = ad.AnnData(form(rows))
    table.obs["condition"] = labels
    table.var_names, table.obs_names = [f"g{j}" for j in range(F)], [f"c{i}" for i in range(len(rows))]
    return table


def _roles(form, path=None):
    def make(folder):
        store = _labelled(form)
        if path is not None:
            write(store, folder / path)
            store = folder / path
        return split(store, "condition", ["stim", "shared"], ["ctrl", "shared"])

    return make


KINDS = {
    "numpy": lambda _: counts(),
    "numpy-fortran": lambda _: [np.asfortranarray(rows) for rows in counts()],
    "integers": lambda _: [rows.astype(np.int16) for rows in counts()],
    "csr-array": lambda _: [sp.csr_array(rows) for rows in counts()],
    "csr-matrix": lambda _: [sp.csr_matrix(rows) for rows in counts()],
    "dask-one-chunk": _dask(-1),
    "dask-50": _dask(50),
    "dask-uneven": _dask(97),
    "dask-csr": _dask(60, sparse=True),
    "xarray": lambda _: [xr.DataArray(rows, dims=("cell", "gene")) for rows in counts()],
    "xarray-dask": lambda _: [xr.DataArray(rows, dims=("cell", "gene")).chunk(cell=80) for rows in counts()],
    "zarr": _zarr,
    "anndata": lambda _: [ad.AnnData(sp.csr_matrix(rows)) for rows in counts()],
    "anndata-zarr-csr": _anndata("zarr", sp.csr_matrix),
    "anndata-h5ad-csr": _anndata("h5ad", sp.csr_matrix),
    "anndata-h5ad-dense": _anndata("h5ad", np.asarray),
    "roles-dense": _roles(np.asarray),
    "roles-csr": _roles(sp.csr_matrix),
    "roles-zarr": _roles(sp.csr_matrix, "roles.zarr"),
}
