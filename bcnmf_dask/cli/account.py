"""What a fit went through: where the time of each sweep went, and what the run had to repair."""

import logging
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from bcnmf_dask.cli.talking import say
from bcnmf_dask.fitting.stopping import SweepRecord

logger = logging.getLogger("bcnmf_dask.cli")


def log_times(record: SweepRecord, step: str = "sweep") -> None:
    """A callback: write to the log where the time of a sweep, or other step, went."""
    logger.info(
        "%s %d: %.3g s = compute %.3g (of it waiting for rows %.3g) + merge %.3g + scheduler %.3g + driver %.3g",
        step,
        record.iteration,
        record.seconds,
        record.compute_seconds,
        record.read_seconds,
        record.merge_seconds,
        record.scheduler_seconds,
        record.driver_seconds,
    )


def show_run(console: Console, run: Mapping[str, Any], step: str = "sweep") -> None:
    """Say what is all zero in the data, from where the fit was resumed, and what was repaired, if so.

    The rest is written to the log.

    Parameters
    ----------
    console : Console
        Of stderr.
    run : mapping
        Of the result, see `FitResult`.
    step : str
        What a record of the fit is of.
    """
    for name, value in run.items():
        logger.info("%s: %s", name.replace("_", " "), _listed(value) if isinstance(value, Mapping) else value)
    for noun, count in all_zero(run):
        say(console, "all zero  ", f"{counted(count, noun)}, kept as {'it is' if count == 1 else 'they are'}")
    if run["resumed_from"]:
        say(console, "resumed   ", f"after {step} {run['resumed_from']}")
    lost, replayed = run.get("workers_lost", 0), run.get("replayed", 0)
    if lost or replayed:
        say(
            console,
            "repaired  ",
            f"{counted(lost, 'worker')} lost, {counted(replayed, 'shard')} of rows read again and brought up to "
            "date; the result is as if nothing had happened",
        )


def all_zero(run: Mapping[str, Any]) -> list[tuple[str, int]]:
    """What is all zero, in words, and how many there are."""
    counts = {f"{role} row": count for role, count in run.get("zero_rows", {}).items()}
    counts["feature"] = run.get("zero_features", 0)
    return [(noun, count) for noun, count in counts.items() if count]


def _listed(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def counted(number: int, noun: str) -> str:
    """How many of what."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
