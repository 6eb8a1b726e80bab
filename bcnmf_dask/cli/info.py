"""``bcnmf-dask info``: what a saved fit is, and how to say so in a paper."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import anndata.io
import typer
from rich.console import Console
from rich.text import Text

from bcnmf_dask.cli import options
from bcnmf_dask.cli.facts import Fact, Section, sections
from bcnmf_dask.cli.talking import in_words, to_pipes
from bcnmf_dask.data.elements import open_group
from bcnmf_dask.data.locations import is_url, shown
from bcnmf_dask.errors import InputError
from bcnmf_dask.ingesting.report import IngestReport
from bcnmf_dask.results.contents import stored_arrays, stored_bytes
from bcnmf_dask.results.layout import FORMAT, FORMAT_VERSION
from bcnmf_dask.results.methods import printable
from bcnmf_dask.results.provenance import as_json
from bcnmf_dask.results.result import load_result

HELP = """\
Says what a saved fit is: what was compared with what, how it ended, with which parameters, when and by which command
it was made, and what its store holds. At the end comes a paragraph for the methods section of a paper, which says only
what the store holds.

All of it goes to standard output, in a pipe or file one fact per line; with --json as one JSON object. Of a store that
bcnmf-dask ingest wrote, the report of the ingest is shown.

[bold]Examples[/bold]

  bcnmf-dask info fit.zarr

  [dim]The paragraph alone:[/dim]
    bcnmf-dask info --json fit.zarr | jq --raw-output .methods
"""

LEAST = 20
"""Columns of text, at least, whatever the terminal has."""

Store = Annotated[
    str,
    typer.Argument(
        metavar="FIT.zarr", help="A saved fit, or a store that bcnmf-dask ingest wrote.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Everything as one JSON object.", rich_help_panel=options.TALKING)]


def info(store: Store, *, as_object: AsJson = False, verbose: options.Verbose = False) -> None:
    """Say what a store is; see ``HELP``."""
    with in_words(verbose):
        report = _ingested(store)
        if report is None:
            found, pages = _of_fit(store)
        else:
            found, pages = _of_ingest(report)
        if as_object:
            print_object(found)
        else:
            print_pages(to_pipes(), pages)


def _of_fit(store: str) -> tuple[dict[str, Any], list[Section]]:
    """The object and the pages of a saved fit."""
    result = load_result(store)
    path = str(Path(store).expanduser().absolute())
    arrays, n_bytes = stored_arrays(path), stored_bytes(path)
    described, methods = result.described(), result.methods()
    found = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "path": path,
        "n_bytes": n_bytes,
        **described,
        "arrays": {one.name: {name: getattr(one, name) for name in one._fields[1:]} for one in arrays},
        "methods": methods,
    }
    pages = sections(described, arrays, path, n_bytes)
    return found, [*pages, Section("For the methods section of a paper", [Fact("", methods)])]


def _of_ingest(report: IngestReport) -> tuple[dict[str, Any], list[Section]]:
    facts = [Fact("source", report.source, copied=True), *(Fact(*said) for said in report.sentences())]
    use = Fact("use it", "bcnmf-dask fit takes it as target, background, or store of both")
    return {"format": "bcnmf_dask.ingest", **asdict(report)}, [Section("Data that was ingested", [*facts, use])]


def _ingested(store: str) -> IngestReport | None:
    """The report of the ingest that wrote a store; None of what is no AnnData.

    Raises
    ------
    InputError
        Of an AnnData from elsewhere.
    """
    root: Any = None
    with suppress(Exception):  # what cannot be opened is no fit either, which is said in words of its own
        root = None if is_url(store) else open_group(store)
    if root is None or not {"obs", "var"} <= set(root):
        return None
    if "uns" in root and "ingest" in root["uns"]:
        return IngestReport.of(anndata.io.read_elem(root["uns/ingest"]))
    raise InputError(
        f"path: {shown(store)!r} is an AnnData: data, and no saved fit. Give the folder that --out of `bcnmf-dask fit` "
        "has written; `bcnmf-dask plan` says what a fit of this data would take."
    )


def print_object(found: dict[str, Any]) -> None:
    """Write it as JSON in ASCII, which no terminal and no pipe can garble."""
    sys.stdout.write(json.dumps(as_json(found), indent=2, allow_nan=False) + "\n")


def print_pages(console: Console, pages: Sequence[Section]) -> None:
    """Write facts with their labels: in a terminal broken at words, in a pipe one on each line."""
    for number, section in enumerate(pages):
        console.print(Text(f"{chr(10) * bool(number)}{section.heading}", "bold"), soft_wrap=True)
        longest = max(len(fact.label) for fact in section.facts)
        for fact in section.facts:
            _print_fact(console, fact, longest + 2 if longest else 0)


def _print_fact(console: Console, fact: Fact, width: int) -> None:
    """Write one with a label of this width."""
    indent = 2 + width
    text = Text(encodable(printable(fact.text)))
    if console.is_terminal and not fact.copied:
        lines = text.wrap(console, max(console.width - indent, LEAST), overflow="fold")
        for line in lines:
            line.rstrip()
        text = Text(f"\n{' ' * indent}").join(lines)
    console.print(Text.assemble((f"  {fact.label:<{width}}", "dim"), text), soft_wrap=True)


def encodable(text: str) -> str:
    """Text without what standard output cannot hold."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
