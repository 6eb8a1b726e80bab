"""What is installed where: a fit across unlike machines fails late and strangely; it is refused early."""

import logging
from collections.abc import Callable, Mapping

from bcnmf_dask.errors import ClusterError

logger = logging.getLogger(__name__)

PACKAGES = ("bcnmf-dask", "numpy", "scipy", "numba", "dask", "distributed", "zarr", "anndata")
"""Their versions decide what a worker computes, and whether it can read what it is sent."""


def surveyor() -> Callable[[tuple[str, ...]], dict[str, str]]:
    """A function that says what is installed where it runs.

    It is nested so that it travels by value: it must run where this package is missing.
    """

    def survey(packages: tuple[str, ...]) -> dict[str, str]:
        import platform
        from contextlib import suppress
        from importlib import import_module, metadata
        from pathlib import Path

        found = {"python": ".".join(platform.python_version_tuple()[:2]), "cpu": platform.machine()}
        for package in packages:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                found[package] = "not installed"
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        found["cpu"] = models[0] if models else found["cpu"]
        # Here, in a thread: left to the event loop, a slow import would keep the worker from its heartbeats.
        with suppress(ImportError):
            import_module("bcnmf_dask")
        return found

    return survey


def versions() -> dict[str, str]:
    """Versions and processor of this process."""
    return surveyor()(PACKAGES)


def refuse_unlike(workers: Mapping[str, Mapping[str, str]]) -> None:
    """Compare the surveys of the workers with this process.

    Raises
    ------
    ClusterError
        If a version differs, with worker, package and both versions.

    Notes
    -----
    Another processor is logged, not refused: results then agree to rounding, not to the bit.
    """
    here = versions()
    unlike = [
        f"{address} has {package} {found[package]}, this process {here[package]}"
        for address, found in workers.items()
        for package in ("python", *PACKAGES)
        if found[package] != here[package]
    ]
    if unlike:
        more = f" (and {len(unlike) - 5} more differences)" if len(unlike) > 5 else ""
        raise ClusterError(
            f"client: versions differ between this process and the workers: {'; '.join(unlike[:5])}{more}. "
            "Expected the same everywhere: install the same environment on all machines and restart the workers."
        )
    processors = {found["cpu"] for found in workers.values()} | {here["cpu"]}
    if len(processors) > 1:
        logger.warning("Processors differ (%s): results agree to rounding, not to the bit.", sorted(processors))
