"""Reading a stored array block by block, again and again, each stored chunk once."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from bcnmf_dask.data.strips import CsrStrip, DenseStrip, Values, sorted_rows


class Chunked:
    """An array in chunks that notes which of them are read."""

    def __init__(self, values, chunk):
        self.values, self.chunks, self.shape = values, (chunk, *values.shape[1:]), values.shape
        self.read = []

    def __getitem__(self, places):
        start, stop, _ = places.indices(len(self.values))
        self.read += range(start // self.chunks[0], -(-stop // self.chunks[0])) if stop > start else []
        return self.values[places].copy()


@st.composite
def cut_arrays(draw):
    """An array, the ranges of its strips, bounds of the blocks of each, and the process that reads each."""
    length, chunk = draw(st.integers(1, 60)), draw(st.integers(1, 25))
    ends = sorted(draw(st.sets(st.integers(1, length), max_size=4)) | {0, length})
    inner = [sorted(draw(st.sets(st.integers(*pair), max_size=4)) | set(pair)) for pair in pairwise(ends)]
    processes = draw(st.lists(st.integers(0, 2), min_size=len(inner), max_size=len(inner)))
    return Chunked(np.arange(length) + 100, chunk), inner, processes


@given(cut_arrays())
def test_every_pass_gives_the_values_and_from_the_second_on_reads_each_chunk_once(case):
    array, bounds, processes = case
    leftovers = [{}, {}, {}]
    pieces = [Values(array, one[0], leftovers[number]) for one, number in zip(bounds, processes, strict=True)]
    for number in range(3):
        array.read.clear()
        for values, places in zip(pieces, bounds, strict=True):
            found = list(values.between(places))
            expected = [array.values[start:stop] for start, stop in pairwise(places)]
            assert [list(part) for part in found] == [list(part) for part in expected]
        if number:
            assert sorted(array.read) == list(range(-(-array.shape[0] // array.chunks[0])))


@given(cut_arrays(), st.randoms())
def test_values_are_right_in_any_order_of_strips_and_from_any_block_on(case, random):
    array, bounds, _ = case
    leftovers = {}
    strips = [(Values(array, one[0], leftovers), one) for one in bounds]
    for _ in range(3):
        random.shuffle(strips)
        for values, places in strips:
            places = places[random.randrange(len(places)) :]
            expected = [array.values[start:stop] for start, stop in pairwise(places)]
            assert [list(part) for part in values.between(places)] == [list(part) for part in expected]


def test_blocks_do_not_keep_the_chunk_they_came_from():
    values = Values(Chunked(np.arange(1000), 500), 0, {})
    assert all(part.base is None for part in values.between([0, 100, 200, 600, 1000]))


def test_dense_rows_of_an_array_without_chunks():
    rows = np.arange(24.0).reshape(8, 3)
    strip = DenseStrip(rows, {}, 2)
    assert [strip.rows(parts, 0, 0).tolist() for parts in strip.parts([2, 4, 7])] == [
        rows[2:4].tolist(),
        rows[4:7].tolist(),
    ]


def test_rows_come_sorted_from_unsorted_csr():
    strip = CsrStrip((np.array([1.0, 2, 3]), {}), (np.array([2, 0, 1]), {}), np.array([0, 2, 3]), 3, 0)
    (parts,) = strip.parts([0, 2])
    assert strip.rows(parts, 0, 2).toarray().tolist() == [[2, 0, 1], [0, 3, 0]]


def test_column_numbers_that_contradict_are_refused():
    strip = CsrStrip((np.ones(2), {}), (np.array([0, 0]), {}), np.array([0, 2]), 3, 0)
    (parts,) = strip.parts([0, 1])
    with pytest.raises(ValueError, match="stores the same feature more than once"):
        strip.rows(parts, 0, 1)


class Endless:
    """An array too long to exist, whose values are their places."""

    def __init__(self, length):
        self.shape, self.chunks = (length,), (2**17,)

    def __getitem__(self, places):
        return np.arange(*places.indices(self.shape[0]))


def test_places_beyond_two_to_the_31st():
    n_features, n_rows, per_row = 2000, 3_000_000, 1000
    indptr = np.arange(n_rows + 1, dtype=np.int64) * per_row
    data = Endless(n_rows * per_row)

    class Columns(Endless):
        def __getitem__(self, places):
            return (super().__getitem__(places) % per_row).astype(np.int32)

    first = n_rows - 300
    assert indptr[first] > 2**31
    strip = CsrStrip((data, {}), (Columns(n_rows * per_row), {}), indptr, n_features, first)
    for _ in range(2):
        rows = [
            strip.rows(parts, *pair)
            for parts, pair in zip(
                strip.parts([first, first + 100, n_rows]), [(first, first + 100), (first + 100, n_rows)], strict=True
            )
        ]
        stacked = sp.vstack(rows)
        assert stacked.data.tolist() == list(range(first * per_row, n_rows * per_row))
        assert stacked.indices.dtype == np.int32


def test_column_numbers_too_are_left_to_the_next_strip():
    data, indices = Chunked(np.arange(20.0), 20), Chunked(np.arange(20) % 4, 20)
    shared = (data, {}), (indices, {})
    strips = [CsrStrip(*shared, np.arange(0, 21, 4), 4, row) for row in range(5)]
    for row, strip in enumerate(strips):
        list(strip.parts([row, row + 1]))
    assert (data.read, indices.read) == ([0], [0])


def test_rows_that_are_sorted_are_the_same_unsorted_ones_in_the_next_pass():
    """Also where a block is all that a strip has of a chunk, and nothing was left to it."""
    data, indices = Chunked(np.arange(6.0), 6), Chunked(np.array([0, 1, 2, 2, 0, 1]), 6)
    strip = CsrStrip((data, {}), (indices, {}), np.array([0, 3, 6]), 3, 1)
    for _ in range(3):
        (parts,) = strip.parts([1, 2])
        assert [part.tolist() for part in parts] == [[3, 4, 5], [2, 0, 1]]
        assert strip.rows(parts, 1, 2).toarray().tolist() == [[4, 5, 3]]


def test_wide_column_numbers_take_no_more_memory_than_others():
    rows = sorted_rows(np.ones(2), np.array([2, 0], np.int64), np.array([0, 1, 2]), 3, 0, 2)
    assert (rows.indices.dtype, rows.indptr.dtype) == (np.int32, np.int32)
    with pytest.raises(ValueError, match="stores a feature beyond the 3 there are"):
        sorted_rows(np.ones(1), np.array([2**32]), np.array([0, 1]), 3, 0, 1)
