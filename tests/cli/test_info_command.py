"""What ``info`` prints: in a pipe, in terminals of any width, as JSON, and of what is no fit."""

import io
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bcnmf_dask import BCNMF
from bcnmf_dask.cli.facts import Fact, Section, sections
from bcnmf_dask.cli.info import print_pages
from bcnmf_dask.cli.recovery import command_to_keep
from bcnmf_dask.results.contents import stored_arrays, stored_bytes
from bcnmf_dask.results.result import load_result

SMALL = ("--n-components", 3, "--max-iter", 4, "--tol", 0)
LABELS = ("--key", "condition", "--target", "stim", "--background", "ctrl")


@pytest.fixture
def fit(run, store):
    """The path of a fit of one store."""
    ended = run("fit", store, *LABELS, "--mask-var", "variable", "--out", "fit.zarr", "--quiet", *SMALL)
    assert ended.exit_code == 0, ended.output
    return store.parent / "fit.zarr"


def page(fit, width):
    """What a terminal of this width shows."""
    result, console = load_result(fit), Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    pages = sections(result.described(), stored_arrays(fit), str(fit), stored_bytes(fit))
    print_pages(console, [*pages, Section("For the methods section of a paper", [Fact("", result.methods())])])
    return console.file.getvalue()


def test_in_a_pipe_each_fact_is_a_line(run, fit, store):
    shown = run("info", "fit.zarr")
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert lines[0] == "A fit of a target against a background"
    assert 'target      30 of 50 cells with "stim" in "condition"' in lines
    assert 'background  20 of 50 cells with "ctrl" in "condition"' in lines
    assert f"source      {store}" in lines
    size = f"{store.stat().st_size / 1000:.1f} kB"
    assert f"AnnData .h5ad file, 50 cells x 12 features, values of X, {size}" in lines
    assert any(line.startswith("features") and '8 of 12 of the target chosen by "variable"' in line for line in lines)
    assert any(line.startswith("alpha") and "2, not given, in effect" in line for line in lines)
    assert lines[-2:] == ["For the methods section of a paper", load_result(fit).methods()]
    assert f"with Python           from bcnmf_dask import BCNMF; model = BCNMF.load({str(fit)!r})" in lines


def test_every_array_is_listed_with_what_it_is(fit):
    arrays = stored_arrays(fit)
    assert {one.name for one in arrays} == {name for name, _ in zarr.open_group(fit, mode="r").arrays()}
    assert all(one.meaning for one in arrays)
    text = page(fit, 200)
    for one in arrays:
        assert one.name in text or one.name.startswith("history_")
    assert stored_bytes(fit) == sum(file.stat().st_size for file in fit.rglob("*") if file.is_file())


@pytest.mark.parametrize("width", [44, 80, 120])
def test_a_terminal_breaks_lines_at_words_but_none_that_is_copied(fit, width):
    text, result = page(fit, width), load_result(fit)
    copied = (f"BCNMF.load({str(fit)!r})", result.provenance.command, result.provenance.sources[0].location)
    for line in text.splitlines():
        assert (
            len(line) <= width or any(one in line for one in copied) or f"--json {fit}" in line or "open_zarr" in line
        )
    assert " ".join(text.split("For the methods section of a paper")[1].split()) == result.methods()
    for one in copied:
        assert one in text


def test_json_is_one_object_with_all_of_it(run, fit):
    shown = run("info", "--json", "fit.zarr")
    assert shown.exit_code == 0
    found = json.loads(shown.stdout, parse_constant=pytest.fail)
    result = load_result(fit)
    assert list(found) == [
        *("format", "format_version", "path", "n_bytes", "n_components", "n_features", "n_rows", "sweeps"),
        *(
            "usages_saved",
            "components_checksum",
            "status",
            "divergences",
            "parameters",
            "versions",
            "run",
            "provenance",
        ),
        *("arrays", "methods"),
    ]
    assert {name: found[name] for name in result.described()} == result.described()
    assert found["methods"] == result.methods()
    assert found["arrays"]["components"]["shape"] == [3, 8]
    assert found["arrays"]["components"]["dimensions"] == ["component", "feature"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_unknown_is_null(run, cells):
    model = BCNMF(2, alpha=0, max_iter=2).fit(cells, client=False)
    model.save("plain.zarr")
    found = json.loads(run("info", "--json", "plain.zarr").stdout, parse_constant=pytest.fail)
    assert found["divergences"]["background"] is None
    assert found["provenance"]["command"] is None
    shown = run("info", "plain.zarr").stdout
    assert shown.startswith("A fit of a target alone\n")
    assert "objective" not in shown
    assert "AnnData in memory" in shown
    assert "none: made from Python" in shown


def test_usages_of_new_rows_show_the_fit_that_they_are_of(run, fit, cells):
    BCNMF.load("fit.zarr").transform(cells[:7].copy(), client=False, out="new.zarr")
    shown = run("info", "new.zarr").stdout
    assert shown.startswith("Usages of new rows at the components of a fit\n  target      7 of 7 cells\n")
    assert "4 of the target left out: not among those of the fit" in shown
    model = shown.split("The fit of these components")[1].split("When, how and where")[0]
    assert 'target        30 of 50 cells with "stim" in "condition"' in model
    assert load_result(fit).described()["components_checksum"] in model
    assert "not given, in effect" in model


def test_a_fit_without_usages_is_told(fit):
    result = replace(load_result(fit), target_usages=None, background_usages=None)
    arrays = [one for one in stored_arrays(fit) if not one.name.endswith("_usages")]
    (end,) = [page for page in sections(result.described(), arrays, str(fit), 1) if page.heading == "How it ended"]
    assert Fact("usages", "not saved") in end.facts


def test_usages_are_not_read(run, fit, monkeypatch):
    monkeypatch.setattr("bcnmf_dask.results.result.EAGER_BYTES", 0)
    chunk = next((fit / "target_usages").rglob("c/*/*"))
    chunk.write_bytes(b"not to be decoded")
    assert run("info", "fit.zarr").exit_code == 0


def test_the_command_is_kept(h5ad_pair, tmp_path):
    arguments = ["fit", *map(str, h5ad_pair), "--out", "my fit.zarr", "--quiet", *map(str, SMALL)]
    called = [sys.executable, "-m", "bcnmf_dask"]
    subprocess.run([*called, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=200)
    command = load_result(tmp_path / "my fit.zarr").provenance.command
    assert shlex.split(command)[-len(arguments) :] == arguments
    shown = subprocess.run(
        [*called, "info", "my fit.zarr"], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=200
    )
    assert f"command   {command}\n" in shown.stdout
    again = shlex.split(command.replace("my fit.zarr", "again.zarr"))
    subprocess.run(again, cwd=tmp_path, check=True, capture_output=True, timeout=200)
    first, second = (load_result(tmp_path / name).components for name in ("my fit.zarr", "again.zarr"))
    np.testing.assert_array_equal(first, second)


def test_credentials_are_not_kept(monkeypatch):
    given = ["fit", "https://me:secret@host/a.zarr?sig=secret", "--checkpoint=s3://me:secret@b/c", "--layer=a?b=secret"]
    monkeypatch.setattr(sys, "argv", ["bcnmf-dask", *given[:3]])
    kept = command_to_keep()
    assert kept.endswith("fit https://host/a.zarr --checkpoint=s3://b/c")
    monkeypatch.setattr(sys, "argv", ["bcnmf-dask", *given[3:]])
    assert shlex.split(command_to_keep())[-1] == given[3], "what is no URL stays as it is"


def test_what_is_no_fit_is_said_in_the_words_of_load(run, tmp_path, plain):
    assert "error: path: there is nothing at 'absent.zarr'" in run("info", "absent.zarr").stderr
    (tmp_path / "text.txt").write_text("counts")
    ended = run("info", "text.txt")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "is not a fit saved by bcnmf-dask" in plain(ended.stderr)


def test_a_damaged_fit_is_told(run, fit):
    shutil.rmtree(fit / "auroc")
    ended = run("info", "--json", "fit.zarr")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "is damaged or was copied only in part" in ended.stderr


def test_an_ingested_store_shows_its_report(run, store):
    assert run("ingest", store, "cells.zarr", "--quiet").exit_code == 0
    shown = run("info", "cells.zarr")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("Data that was ingested\n")
    assert "50 cells x 12 features, sparse (CSR), float32" in shown.stdout
    found = json.loads(run("info", "--json", "cells.zarr").stdout, parse_constant=pytest.fail)
    assert (found["format"], found["n_cells"], found["n_features"]) == ("bcnmf_dask.ingest", 50, 12)
    assert found["left_out"] == ["layers/halves"]


def test_other_data_is_pointed_to_the_right_command(run, store):
    ended = run("info", store)
    assert ended.exit_code == 1
    assert "is an AnnData: data, and no saved fit" in ended.stderr
    assert "`bcnmf-dask plan`" in ended.stderr


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 200), st.booleans())
def test_any_text_is_printed_on_lines_of_its_own(text, width, terminal):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_pages(console, [Section("Heading", [Fact("label", text), Fact("longer", text, copied=True)])])
    shown = console.file.getvalue()
    assert shown.replace("\n", "").isprintable()
    assert terminal or len(shown.splitlines()) == 3
