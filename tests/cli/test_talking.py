import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from bcnmf_dask.cli.progress import describe, progress
from bcnmf_dask.cli.talking import in_options, print_summary, print_table, reflowed, say
from bcnmf_dask.fitting.course import sweeps
from bcnmf_dask.fitting.stopping import SweepRecord
from bcnmf_dask.results.summary import Summary

FRAME = pd.DataFrame({"component": [0, 1], "target_share": [0.25, 0.75], "top_features": ["a, b", "[c]"]})


def console(terminal: bool, width: int = 120) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, color_system=None, width=width)


def record(iteration: int, background: float = 5.0) -> SweepRecord:
    return SweepRecord(iteration, float(iteration), 1234.5678, background, 1.0, 0.0123, 0.25, 0.2, 0.0, 0.0, 0.05, 0.0)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("n_components: got 9. Expected less.", "--n-components: got 9. Expected less."),
        ("Give layer= to choose", "Give --layer to choose"),
        ("Or use loss='frobenius'.", "Or use --loss frobenius."),
        ('with features="intersection".', "with --features intersection."),
        ("use dtype='float64', damping=0.5", "use --dtype float64, --damping 0.5"),
        ("raise max_iter, or tol", "raise --max-iter, or --tol"),
        ("or a larger tol if this", "or a larger --tol if this"),
        ("the toll of bcnmf-tol or --tol", "the toll of bcnmf-tol or --tol"),
        ("random_state: got -1", "--seed: got -1"),
        ("client='local-cuda': none. client='local' is.", "--local-cuda: none. --local is."),
        ("With client=False it runs", "With neither --local nor --scheduler it runs"),
        ("give client='localhost:8786'", "give --scheduler localhost:8786"),
        ("target: 'x' is no label", "target: 'x' is no label"),
        ("'/data/alpha=1/my_tol=2.h5ad' is empty", "'/data/alpha=1/my_tol=2.h5ad' is empty"),
    ],
)
def test_messages_name_options(message, expected):
    assert in_options(message) == expected


def test_a_pipe_gets_tabs_and_all_rows():
    out = console(terminal=False, width=10)
    print_table(out, FRAME.assign(log2_ratio=[np.nan, np.inf]), {"target_share": "{:.0%}".format})
    lines = out.file.getvalue().splitlines()
    assert lines[0].split("\t") == ["component", "target_share", "top_features", "log2_ratio"]
    assert lines[1].split("\t") == ["0", "0.25", "a, b", "nan"]
    assert lines[2].split("\t") == ["1", "0.75", "[c]", "inf"]


def test_a_terminal_gets_a_formatted_table():
    out = console(terminal=True)
    print_table(out, FRAME, {"target_share": "{:.0%}".format})
    heading, _, first, second = [line.split() for line in out.file.getvalue().splitlines() if line.strip()]
    assert heading == ["component", "target", "share", "top", "features"]
    assert first == ["0", "25%", "a,", "b"]
    assert second == ["1", "75%", "[c]"]


def summary(background: float, error: float) -> Summary:
    names = ["target_mean", "target_fraction", "target_explained", "largest_cosine", "effective_features"]
    numbers = dict.fromkeys(names, 0.5)
    others = ["background_mean", "log2_fold_change", "log2_fold_change_per_count", "auroc"]
    numbers |= dict.fromkeys([*others, "background_fraction", "background_explained"], background)
    table = Summary({"component": 0, **numbers, "top_features": "a", "specific_features": "b"}, index=[0])
    table.attrs.update(target="stim", background="ctrl", auroc_error=error)
    return table


def test_a_terminal_shows_no_sign_or_unit_of_what_is_not_known():
    out = console(terminal=True)
    print_summary(out, summary(np.nan, 0.0))
    words = out.file.getvalue().split()
    assert words.count("nan") == 6
    assert "nan%" not in words
    assert "+nan" not in words
    assert "50.0%" in words


def test_a_terminal_shows_the_sides_and_what_areas_are_off_by():
    for error, said in ((0.0, "target: stim; background: ctrl"), (0.002, "auroc to within 0.002")):
        out = console(terminal=True)
        print_summary(out, summary(0.25, error))
        assert out.file.getvalue().splitlines()[0].endswith(said)


def test_lines_break_in_terminals_only():
    for terminal, n_lines in ((True, 3), (False, 1)):
        out = console(terminal, width=20)
        say(out, "error:", "words and more words and even more words")
        assert len(out.file.getvalue().splitlines()) == n_lines


def test_markup_in_messages_is_shown_as_it_is():
    out = console(terminal=True)
    say(out, "error:", "layers: [bold]counts[/bold]")
    assert out.file.getvalue() == "error: layers: [bold]counts[/bold]\n"


def test_help_paragraphs_are_joined_and_examples_kept():
    assert (
        reflowed("one\ntwo\n\nthree\n\n  bcnmf-dask \\\n    --x\n") == "one two\n\nthree\n\n  bcnmf-dask \\\n    --x\n"
    )


def test_a_sweep_in_words():
    assert describe(record(3)) == ("target divergence 1234.6, background 5, basis change 1.2e-02, 0.25 s per sweep")
    assert "background" not in describe(record(3, background=np.nan))


def test_a_log_file_gets_a_line_now_and_then(monkeypatch):
    now = 0.0
    monkeypatch.setattr("bcnmf_dask.cli.progress.time.monotonic", lambda: now)
    out = console(terminal=False)
    with progress(out, sweeps(100), False, describe) as (callback,):
        for iteration in range(1, 62):
            now = float(iteration)
            callback(record(iteration))
    first, second, third = out.file.getvalue().splitlines()
    assert first == f"sweep 1/100: {describe(record(1))}"
    assert second == f"sweep 31/100: {describe(record(31))}, at most 0:01:09 left"
    assert third.startswith("sweep 61/100: ")


def test_a_resumed_fit_is_timed_from_where_it_went_on(monkeypatch):
    now = 0.0
    monkeypatch.setattr("bcnmf_dask.cli.progress.time.monotonic", lambda: now)
    out = console(terminal=False)
    with progress(out, sweeps(100), False, describe) as (callback,):
        for iteration in range(51, 82):
            now = float(iteration)
            callback(record(iteration))
    first, second = out.file.getvalue().splitlines()
    assert first == f"sweep 51/100: {describe(record(51))}"
    assert second == f"sweep 81/100: {describe(record(81))}, at most 0:00:19 left"


def test_the_bar_of_a_resumed_fit_starts_where_it_went_on():
    with progress(console(terminal=True), sweeps(100), False, describe) as (callback,):
        now = 0.0
        bar = callback.__self__
        bar.get_time = lambda: now
        for iteration in range(51, 62):
            now += 1.0
            callback(record(iteration))
        assert bar.tasks[0].completed == 61
        assert bar.tasks[0].time_remaining == 39


def test_a_terminal_gets_a_bar():
    out = console(terminal=True)
    with progress(out, sweeps(100), False, describe) as (callback,):
        callback(record(1))
        callback(record(40))
    assert "reading and checking the rows" in out.file.getvalue()
    assert "sweep 40/100" in out.file.getvalue()
    assert describe(record(40)) in out.file.getvalue()


def test_quiet_shows_nothing():
    out = console(terminal=True)
    with progress(out, sweeps(100), True, describe) as callbacks:
        assert callbacks == []
    assert out.file.getvalue() == ""
