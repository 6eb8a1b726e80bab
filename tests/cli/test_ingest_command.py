import anndata
import numpy as np
import pytest

from bcnmf_dask.cli import ingest as command


def test_a_file_becomes_a_store(run, cells, store, plain):
    ended = run("ingest", store, "cells.zarr", "--layer", "halves")
    assert ended.exit_code == 0, ended.stderr
    said = plain(ended.stderr)
    assert "in this process" in said
    assert "50 cells x 12 features, sparse (CSR), float64" in said
    assert "left out X" in said
    assert "done: the store is cells.zarr" in said
    assert ended.stdout == ""
    found = anndata.read_zarr("cells.zarr")
    np.testing.assert_array_equal(found.X.toarray(), cells.layers["halves"].toarray())


def test_a_fit_takes_the_store(run, store):
    assert run("ingest", store, "cells.zarr", "--quiet").exit_code == 0
    options = ("--key", "condition", "--target", "stim", "--background", "ctrl", "--max-iter", 3, "--out", "fit.zarr")
    assert run("fit", "cells.zarr", *options, "--n-components", 2).exit_code == 0


def test_what_was_stopped_is_resumed(run, store, plain, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "write", stop)
        ended = run("ingest", store, "cells.zarr")
    assert ended.exit_code == 75
    said = plain(ended.stderr)
    assert "stopped: The ingest to 'cells.zarr' was stopped; what it has written is kept." in said
    assert "Resume it with:" in said
    assert "--resume" in said
    assert run("ingest", store, "cells.zarr", "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("absent.h5ad", "out.zarr"), 1, "error: source: 'absent.h5ad' does not exist"),
        (("cells.h5ad", "cells.h5ad"), 1, "'cells.h5ad' already exists, and is not overwritten"),
        (("cells.h5ad", "out.zarr", "--local", "--scheduler", "tcp://x:1"), 2, "give one of them at most"),
        (("cells.h5ad",), 2, "Missing argument 'OUT'"),
    ],
)
def test_wrong_calls_are_told_in_words(arguments, code, message, run, store, plain):
    ended = run("ingest", *arguments)
    assert ended.exit_code == code
    assert message in plain(ended.stderr)
