"""Rows that this process holds already are computed where they are, whole numbers of any size without a copy."""

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask import split
from bcnmf_dask.backend import parts_of
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.limits import room_here
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.memory import Footprint, held_here
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.settings import Settings

N, F, K = 700, 30, 3
SOLVERS = ("published", "accelerated", "online")


def counts(seed=0):
    return np.random.default_rng(seed).poisson(0.7, (N, F)).astype(np.int64)


def huge():
    """Counts of which some are no float32: 2**24 + 1 is the first."""
    rows = counts()
    rows[::5, 3] += 2**24 + 1
    rows[::7, 9] += 2**40 + 2**10 + 1
    return rows


def labelled(rows, shuffled):
    labels = np.repeat(["stim", "ctrl"], [N // 2, N - N // 2])
    if shuffled:
        labels = np.random.default_rng(1).permutation(labels)
    cells = anndata.AnnData(sp.csr_matrix(rows), obs={"condition": labels})
    return split(cells, "condition", "stim", "ctrl"), cells.X


def held(inputs, dtype="float32"):
    """The arrays of all blocks that the engine of this process holds."""
    engine = LocalEngine(RunSpec(inputs, plan_shards(inputs), dtype, [K]), n_threads=1)
    engine.load()
    found = [part for one in engine._residency._held() for block in one.blocks for part in block.parts.values()]
    engine.close()
    return found


def footprint(inputs, dtype="float32"):
    """Bytes that the rows are said to add to this process."""
    plan = plan_shards(inputs)
    counted = Footprint(RunSpec(inputs, plan, dtype, [K]), held_here(inputs, plan, dtype, room_here(1)))
    return sum(counted.rows(shard) for shard in plan.shards)


@pytest.mark.parametrize("stored", ["int64", "uint64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.csr_matrix, lambda x: anndata.AnnData(sp.csr_matrix(x))])
def test_whole_numbers_are_not_copied(form, stored):
    given = form(counts().astype(stored))
    inputs = read_inputs(given, None)
    rows = given.X if isinstance(given, anndata.AnnData) else given
    source = [rows] if isinstance(rows, np.ndarray) else [rows.indices, rows.data]
    for part in held(inputs):
        for ours, theirs in zip(parts_of(part)[-2:], source, strict=True):  # pointers are counted from 0 anew
            assert np.shares_memory(ours, theirs)
    assert footprint(inputs) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_sorted_labels_are_not_copied_but_at_the_border(dtype):
    given, rows = labelled(counts(), shuffled=False)
    inputs = read_inputs(*given)
    copies = [part for part in held(inputs, dtype) if not np.shares_memory(part.data, rows.data)]
    assert len(copies) <= 2
    assert all(one.dtype.itemsize == np.dtype(dtype).itemsize for one in copies)
    assert 0 < footprint(inputs, dtype) < rows.data.nbytes / 2


def test_rows_of_shuffled_labels_are_copied_smaller_and_counted():
    given, rows = labelled(counts(), shuffled=True)
    inputs = read_inputs(*given)
    found = held(inputs)
    assert {one.dtype for one in found} == {np.dtype(np.float32)}
    taken = sum(part.nbytes for one in found for part in parts_of(one))
    assert not any(np.shares_memory(one.data, rows.data) for one in found)
    assert footprint(inputs) == pytest.approx(taken, rel=0.05)


@pytest.mark.parametrize(
    "given",
    [
        counts().astype(np.float64),
        np.asfortranarray(counts()),
        counts().astype(">i8"),
        counts().astype(">i4"),
        np.repeat(counts(), 2, axis=1)[:, ::2],
    ],
    ids=["float64", "fortran", "big-endian", "small-big-endian", "strided"],
)
def test_what_must_be_copied_is_made_small_and_counted(given):
    inputs = read_inputs(given, None)
    found = held(inputs)
    assert all(one.dtype.isnative and one.dtype.itemsize == 4 and one.flags.c_contiguous for one in found)
    assert footprint(inputs) == 4 * N * F == sum(one.nbytes for one in found)


def test_chosen_features_are_copied_small_and_counted():
    cells = anndata.AnnData(counts(), var={"variable": np.arange(F) % 2 == 0})
    inputs = read_inputs(cells, None, mask_var="variable")
    assert {one.dtype for one in held(inputs)} == {np.dtype(np.float32)}
    assert footprint(inputs) == 4 * N * F // 2


@pytest.mark.parametrize(("stored", "dtype"), [("int64", "float32"), ("int32", "float32"), ("int16", "float64")])
def test_entries_that_are_stored_twice_become_their_sum_in_the_type_of_the_run(stored, dtype):
    rows = sp.csr_array(counts().astype(stored))
    twice = sp.csr_array(
        (np.repeat(rows.data, 2), np.repeat(rows.indices, 2), 2 * rows.indptr), shape=rows.shape, dtype=stored
    )
    found = held(read_inputs(twice, None), dtype)
    assert {one.dtype for one in found} == {np.dtype(dtype)}
    assert (sp.vstack(found).toarray() == 2 * counts()).all()


def bits(fits):
    return [
        (*(np.asarray(part).tobytes() for part in (one.components, one.target_usages)), one.divergences.target)
        for one in fits
    ]


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("dtype", "where"), [("float32", "local"), ("float64", "local"), ("float32", "cluster")])
def test_they_give_the_bits_of_floats_wherever_they_are(form, dtype, where, client_of):
    chosen = [
        Settings(K, 0.0, "mean", loss, None, 4, 0.0, seed, solver=solver)
        for loss in ("frobenius", "kullback-leibler")
        for solver in SOLVERS
        for seed in (3, 4)  # so many that they are swept together
    ]
    floats, whole = (read_inputs(form(one), None) for one in (huge().astype(dtype), huge()))
    expected = bits(factorize(floats, chosen, dtype=dtype, client=False))
    assert bits(factorize(whole, chosen, dtype=dtype, client=client_of[where]())) == expected
