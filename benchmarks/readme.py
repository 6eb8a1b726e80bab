"""Put the tables of results into the README: ``python benchmarks/readme.py``, after a benchmark was run anew."""

import re
from pathlib import Path

import collapse
import floors
import gpu_results
import many_fits
import peers
import race
import solvers
import transform
import weighting

from bcnmf_dask.benchmarking.runs import read

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
TABLES = {
    "peers": peers.tables,
    "race": race.tables,
    "accelerated": solvers.tables,
    "online": solvers.tables,
    "many_fits": many_fits.tables,
    "weighting": weighting.tables,
    "transform": transform.tables,
    "floors": floors.tables,
    "gpu": gpu_results.tables,
    "collapse": collapse.tables,
}


def filled(text):
    """The text with the tables of the results that are there, each between ``<!-- name -->`` and ``<!-- /name -->``."""
    for name, tables in TABLES.items():
        found = REPOSITORY / "benchmarks" / "results" / f"{name}.json"
        table = (
            "\n".join(tables(read(found))) if found.exists() else f"Not yet measured: `python benchmarks/{name}.py`."
        )
        marked = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, count = re.subn(marked, lambda found, table=table: found[1] + table + "\n" + found[2], text, flags=re.S)
        if count != 1:
            raise SystemExit(f"README.md has {count} places for {name!r}. Expected one.")
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
