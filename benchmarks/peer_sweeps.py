"""The peers that `peers.py` and `race.py` measure, this package among them: one definition of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from peer_formulas import bare_products, dask_array, lean_numpy, published_torch
from peer_libraries import mini_batch, nmf_torch, scikit_learn
from peer_runners import SEED, Runner, by_sweeps

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import RunSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.fitting.factorize import begin
from bcnmf_dask.fitting.loop import STOPPED, run_fits
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.solving import solver_of
from bcnmf_dask.updates.losses import LOSSES

OURS = "bcnmf_dask"


@dataclass(frozen=True)
class Peer:
    """Who can be measured, and on what.

    Attributes
    ----------
    make : callable
        From (target, background or None, loss, alpha, n_components) to a `Runner`.
    layouts, losses, alphas, needs : sequence
        What it can take, and the modules that it needs.
    measured : str
        "both" its sweeps and a race, or only one of "sweeps" and "race".
    """

    make: Callable[..., Runner]
    layouts: Sequence[str]
    losses: Sequence[str] = tuple(LOSSES)
    alphas: Sequence[int] = (0, 1)
    needs: Sequence[str] = ()
    measured: str = "both"

    def cases(self, losses: Sequence[str]):
        """(layout, loss, alpha) that it can be measured on here."""
        if all(find_spec(module) for module in self.needs):
            taken = [loss for loss in losses if loss in self.losses]
            yield from ((layout, loss, alpha) for layout in self.layouts for loss in taken for alpha in self.alphas)


def installed():
    """Versions of the peers that are there."""
    found = {}
    for name in ("scikit-learn", "torch", "nmf-torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def ours(solver):
    """A fit of this package on the threads of this process; a sweep of the online solver is one batch."""

    def run(target, background, loss, alpha, n_components):
        inputs = read_inputs(target, background)
        settings = Settings(n_components, float(alpha), "sum", loss, None, 10**9, 0.0, SEED, solver)
        plan = plan_shards(inputs)
        engine = LocalEngine(RunSpec(inputs, plan, "float32", [n_components]))
        engine.load()
        made = solver_of(settings, settings.alpha, inputs, plan)
        fit = begin(settings, settings.alpha, inputs, "float32", "fit", made)
        engine.start(fit.spec, settings.start_usages())

        def pause(_):
            fit.status = fit.status or STOPPED  # not by a callback, after which the online solver goes to its end

        def sweep():
            fit.status = None
            run_fits(engine, [fit], (), pause)

        return by_sweeps(sweep, lambda: fit.basis, lambda: bool(fit.solver.done))

    return run


BOTH = ("csr", "dense")
PEERS = {
    OURS: Peer(ours("published"), BOTH),
    f"{OURS}, accelerated": Peer(ours("accelerated"), BOTH, measured="race"),
    f"{OURS}, online": Peer(ours("online"), BOTH, measured="race"),
    "published, PyTorch": Peer(published_torch, ("dense",), alphas=(1,), needs=("torch",)),
    "published, lean NumPy": Peer(lean_numpy, ("dense",)),
    "bare matrix products": Peer(bare_products, ("dense",), ("frobenius",), (1,), measured="sweeps"),
    "dask.array": Peer(dask_array, ("dense",), alphas=(0,)),
    "scikit-learn mu": Peer(scikit_learn("mu"), BOTH, alphas=(0,)),
    "scikit-learn cd": Peer(scikit_learn("cd"), BOTH, ("frobenius",), (0,)),
    "scikit-learn MiniBatchNMF": Peer(mini_batch, BOTH, alphas=(0,)),
    "nmf-torch mu": Peer(nmf_torch, ("dense",), alphas=(0,), needs=("torch", "nmf")),
}
