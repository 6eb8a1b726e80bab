"""Tables of text are read as pandas reads them, and what is no table of numbers is refused with its place."""

import gzip

import anndata
import numpy as np
import pandas as pd
import pytest

from bcnmf_dask import BCNMF, ingest, split
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.errors import DataWarning, InputError

GENES = [f"génè{column}" for column in range(7)]
CELLS = [f"cell{row}" for row in range(23)]
SEPARATORS = {
    "m.csv": ",",
    "m.tsv": "\t",
    "m.txt": "\t",
    "comma.txt": ",",
    "m.CSV": ",",
    "m.v1.csv.gz": ",",
    "m.tsv.gz": "\t",
}


@pytest.fixture
def frame(matrix):
    return pd.DataFrame(matrix, index=CELLS, columns=GENES)


@pytest.fixture
def table(tmp_path):
    """``table(text)``: the path of a file that holds it."""

    def written(text, name="m.csv"):
        path = tmp_path / name
        content = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return written


def read(path):
    inputs = read_inputs(path, None)
    return inputs, inputs.stores[0].source.read(0, inputs.n_rows["target"])


@pytest.mark.parametrize("as_type", [int, float, bool])
@pytest.mark.parametrize("name", SEPARATORS)
def test_values_and_names_are_those_that_pandas_wrote(name, as_type, frame, table):
    frame = (frame / 3 if as_type is float else frame).astype(as_type)
    inputs, rows = read(table(frame.to_csv(sep=SEPARATORS[name]), name))
    np.testing.assert_array_equal(rows, frame.to_numpy())
    assert rows.dtype == frame.to_numpy().dtype
    assert rows.flags.c_contiguous
    assert inputs.features.tolist() == GENES
    assert inputs.row_names["target"].read(0, 23).tolist() == CELLS
    assert inputs.lazy


HEADS = {
    "blank": ("", CELLS, CELLS),
    "named": ("CellName", CELLS, CELLS),
    "numbers under a blank": ("", range(100, 123), [str(i) for i in range(100, 123)]),
    "numbers under a name of names": ("Barcode", range(100, 123), [str(i) for i in range(100, 123)]),
    "leading zeros": ("cell_id", [f"{i:03}" for i in range(23)][::-1], [f"{i:03}" for i in range(23)][::-1]),
    "pandas' default": ("", range(23), None),
    "read and written again by pandas": ("Unnamed: 0", range(23), None),
    "the name NA": ("index", ["NA", *CELLS[1:]], ["NA", *CELLS[1:]]),
}


@pytest.mark.parametrize("case", HEADS)
def test_the_first_column_may_name_the_rows(case, frame, table):
    header, index, expected = HEADS[case]
    inputs, rows = read(table(frame.set_axis(index).to_csv(index_label=header)))
    np.testing.assert_array_equal(rows, frame.to_numpy())
    names = inputs.row_names["target"]
    assert (names and names.read(0, 23).tolist()) == expected


def test_without_row_names_every_column_is_a_feature(frame, table):
    thirds = frame.astype(float) / 3
    inputs, rows = read(table(thirds.to_csv(index=False)))
    np.testing.assert_array_equal(rows, thirds.to_numpy())
    assert inputs.features.tolist() == GENES
    assert inputs.row_names["target"] is None


def test_whole_numbers_without_row_names_stay_whole(frame, table):
    assert read(table(frame.astype(int).to_csv(index=False)))[1].dtype == np.int64


def test_a_table_as_r_writes_it(frame, table):
    header, *lines = frame.astype(int).to_csv(sep="\t", quoting=2).splitlines()
    inputs, rows = read(table("\r\n".join([header.removeprefix('""\t'), *lines, ""]), "m.tsv"))
    np.testing.assert_array_equal(rows, frame.to_numpy())
    assert inputs.row_names["target"].read(0, 2).tolist() == CELLS[:2]


def test_default_names_are_none(frame, table):
    inputs, _ = read(table(frame.set_axis(range(7), axis=1).to_csv()))
    assert inputs.features is None


def test_numbers_may_name_features_where_the_header_is_certain(frame, table):
    entrez = [str(7157 + 3 * i) for i in range(7)]
    inputs, _ = read(table(frame.set_axis(entrez, axis=1).to_csv()))
    assert inputs.features.tolist() == entrez


def test_a_mark_of_byte_order_and_blank_lines_are_not_read(table):
    inputs, rows = read(table("\ufeff\n,a,b\n\nx,1,2\n\ny,3,4\n\n\n"))
    assert inputs.features.tolist() == ["a", "b"]
    assert rows.tolist() == [[1, 2], [3, 4]]


def test_whole_numbers_of_any_size(table):
    assert read(table(",a\nx,1\ny,99999999999999999999999\n"))[1].tolist() == [[1.0], [1e23]]


REFUSED = {
    "nothing": ("", r"holds nothing\. Expected a header"),
    "a header alone": (",a,b\n", "holds no row after its header"),
    "names alone": ("cell\nx\ny\n", "has row names, but no column of numbers"),
    "text": (",a,b\nx,1,2\n\ny,3,high\n", r"has in line 4, column 3 \('b'\) 'high', which is no number.*labels"),
    "blank": (",a,b\nx,1,\ny,3,4\n", r"has in line 2, column 3 \('b'\) no value: it is blank.*0 where there is none"),
    "decimal comma": (',a,b\nx,"1,5",2\n', r"has in line 2, column 2 \('a'\) '1,5', a number with a comma.*a point"),
    "too many columns": (",a,b\nx,1,2\ny,1,2,3\n", "has 4 columns in line 3, but 3 in its header"),
    "too many columns at once": (",a,b\nx,1,2,3,4\n", "has 5 columns in line 2, but 3 in its header"),
    "too few columns": (",a,b\nx,1\n", "has 2 columns in line 2, but 3 in its header"),
    "too few columns later": (
        ",a,b\nx,1,2\ny,1\n",
        r"has in line 3, column 3 \('b'\) no value: .* the line ends before",
    ),
    "repeated": (",a,b,a\nx,1,2,3\n", r"names two features 'a' in its header, in the columns 2 and 4\. .* rename"),
    "blank name": (",a,,b\nx,1,2,3\n", "has no name in column 3 of its header"),
    "blank row name": (",a\nx,1\n,3\n", "has no row name in line 3"),
    "no header": ("5,1,2\n3,4,4\n", r"has numbers in its header \(line 1: 5, 1, 2, \.\.\.\)\. Expected the names"),
    "counting": ("X,a,b\n1,5,6\n2,7,8\n", "has a first column, 'X', that counts the rows: it may name the rows or be"),
    "mixed": ("a,b\n1,2\n1,2\n3x,4\n", "has a first column, 'a', that holds numbers and, in line 4, '3x'"),
    "semicolons": (";a;b\nx;1,5;2\n", "has a header without commas, but with semicolons"),
    "tabs": ("\ta\tb\nx\t1\t2\n", "has a header without commas, but with tabs"),
    "spaces": ("cell a b\nx 1 2\n", "has a header without commas, but with spaces"),
    "open quote": (',a\nx,1\n"y,2\n', "is no table of text .*See whether a quote in it is never closed"),
    "not UTF-8": (b",a\nx,1\ncaf\xe9,2\n", r"is not UTF-8 in line 3 \(byte 0xe9 after b'caf'\)\. .*iconv -f latin1"),
    "UTF-16": (",a\nx,1\n".encode("utf-16"), "is not a table of text, but text in UTF-16; save it as UTF-8"),
    "a page": (b"<!DOCTYPE html><html>", "is not a table of text, but a web page; the download has failed"),
    "gzip under another name": (gzip.compress(b",a\nx,1\n"), "is not a table of text, but packed by gzip"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, table, tmp_path):
    text, message = REFUSED[case]
    path = table(text)
    with pytest.raises(InputError, match=rf"target: '.*m\.csv' {message}"):
        read_inputs(path, None)
    with pytest.raises(InputError, match=rf"source: '.*m\.csv' {message}"):
        ingest(path, tmp_path / "out.zarr")


def test_a_truncated_archive_is_damaged(table):
    path = table(",a,b\n" + "x,1,2\n" * 1000, "m.csv.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"m\.csv\.gz' could not be read .*It is truncated or damaged"):
        read_inputs(path, None)
    path.write_text(",a\nx,1\n")
    with pytest.raises(InputError, match=r"It is not packed by gzip, but text that begins with ',a"):
        read_inputs(path, None)


@pytest.mark.parametrize("word", ["NA", "nan", "NULL"])
def test_missing_values_are_refused_by_fits_and_reported_by_ingest(word, table, tmp_path):
    path = table(f",a,b\nx,1,2\ny,{word},4\n")
    with pytest.raises(InputError, match=r"target: .*NaN"):
        BCNMF(1, alpha=0.0).fit(path, client=False)
    assert ingest(path, tmp_path / "out.zarr").nan == 1


def test_two_files_whose_genes_come_in_other_orders_are_aligned_by_name(frame, table, adata):
    order = np.random.default_rng(1).permutation(7)
    target, background = table(frame.to_csv()), table(frame[5:].iloc[:, order].to_csv(sep="\t"), "b.tsv")
    adata.X, adata.var_names = frame.to_numpy(), GENES
    of_text = BCNMF(2, max_iter=4, tol=0).fit(target, background=background, client=False)
    of_adata = BCNMF(2, max_iter=4, tol=0).fit(adata, background=adata[5:].copy(), client=False)
    np.testing.assert_array_equal(of_text.components_, of_adata.components_)
    np.testing.assert_array_equal(of_text.transform(background), of_adata.transform(adata[5:].copy()))


def test_a_table_is_ingested_with_its_names(frame, table, tmp_path):
    report = ingest(table(frame.to_csv(), "m.csv.gz"), tmp_path / "out.zarr")
    found = anndata.read_zarr(tmp_path / "out.zarr")
    np.testing.assert_array_equal(found.X, frame.to_numpy())
    assert (found.var_names.tolist(), found.obs_names.tolist(), report.matrix) == (GENES, CELLS, "dense")


def test_a_table_has_no_labels_and_no_layers(frame, table):
    path = table(frame.to_csv())
    with pytest.raises(InputError, match=r"key='condition' is not a column .* none\. Only obs of an AnnData .* labels"):
        split(path, "condition", "stim", "ctrl")
    with pytest.raises(InputError, match="layer='counts' was given, but no input is an AnnData"):
        read_inputs(path, None, layer="counts")


TURNED = {
    "background": (False, True, "The background looks transposed: its rows have the names of the target's features"),
    "target": (True, False, "The target looks transposed: its rows have the names of the background's features"),
    "both": (True, True, "Both look transposed: it is their rows that have the same names"),
}


@pytest.mark.parametrize("case", TURNED)
def test_genes_in_rows_are_noticed(case, frame, table):
    *turned, message = TURNED[case]
    sides = [frame[:15], frame[15:]]
    paths = [
        table((side.T if turn else side).to_csv(), f"{len(side)}.csv") for side, turn in zip(sides, turned, strict=True)
    ]
    with pytest.raises(InputError, match=rf"background: .*{message}.*\. Expected a row for each cell"):
        read_inputs(*paths)


@pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.DataWarning")
def test_genes_in_rows_are_noticed_by_transform(frame, table):
    model = BCNMF(2, alpha=0.0, max_iter=2, tol=0).fit(table(frame.to_csv()), client=False)
    with pytest.raises(InputError, match=r"rows: .*They look transposed: their rows have the names of features"):
        model.transform(table(frame.T.to_csv(), "t.csv"))
