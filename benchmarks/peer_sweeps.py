"""What `peers.py` measures: seconds per sweep of each peer on rows that it is given."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import dask.array as da
import numpy as np
from sklearn.decomposition import MiniBatchNMF, non_negative_factorization

from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.shards import plan_shards
from bcnmf_dask.engine.base import FitSpec
from bcnmf_dask.engine.local import LocalEngine
from bcnmf_dask.engine.orders import Order
from bcnmf_dask.engine.threads import one_blas_thread, usable_cores
from bcnmf_dask.solvers.published import Published
from bcnmf_dask.updates.losses import LOSSES


@dataclass(frozen=True)
class Peer:
    """``sweep(target, background, loss, alpha, n_components, sweeps)`` returns seconds per sweep, warm."""

    sweep: Callable[..., float]
    layouts: Sequence[str]
    losses: Sequence[str] = tuple(LOSSES)
    alphas: Sequence[int] = (0, 1)
    needs: Sequence[str] = ()


def installed():
    """Versions of the peers that are there."""
    found = {}
    for name in ("scikit-learn", "torch", "nmf-torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def timed(sweep: Callable[[], Any], sweeps: int) -> float:
    """Median seconds, the first two left out."""
    seconds = []
    for _ in range(sweeps + 2):
        started = time.perf_counter()
        sweep()
        seconds.append(time.perf_counter() - started)
    return median(seconds[2:])


def ours(target, background, loss, alpha, n_components, sweeps):
    """The published solver of this package on the threads of this process: visit, reduction and basis."""
    inputs = read_inputs(target, background)
    engine = LocalEngine(inputs, plan_shards(inputs), "float32", [n_components])
    engine.load()
    damping = LOSSES[loss].default_damping
    engine.start(FitSpec("fit", loss, n_components, 0), {})
    solver = Published(loss, float(alpha), damping)
    basis = np.random.default_rng(0).random((target.shape[1], n_components))
    state = {"basis": basis / basis.sum(axis=0), "scales": np.ones(n_components), "stamp": 0}

    def sweep():
        order = Order(state["basis"].astype(np.float32), solver.steps, "fit", state["stamp"], state["scales"])
        (record,), _ = engine.sweep([order])
        with one_blas_thread():  # as in a fit: others would still be spinning in the next sweep
            basis = solver.next_basis(order.basis.astype(float), record)
        scales = basis.sum(axis=0)
        state.update(basis=basis / scales, scales=scales, stamp=state["stamp"] + 1)

    return timed(sweep, sweeps)


def start(xp, target, background, n_components):
    """Random factors, in the layout of the paper's formulas with rows as observations."""
    rng = np.random.default_rng(0)
    shapes = [(target.shape[1], n_components), (target.shape[0], n_components)]
    shapes += [(background.shape[0], n_components)] if background is not None else []
    return [xp(rng.random(shape, dtype=np.float32)) for shape in shapes]


def lean_numpy(target, background, loss, alpha, n_components, sweeps):
    """The formulas in plain NumPy, no more than they need."""
    basis, *usages = start(np.asarray, target, background, n_components)
    sides, eps = [target] if background is None else [target, background], LOSSES[loss].eps

    def frobenius():
        for rows, usage in zip(sides, usages, strict=True):
            usage *= (rows @ basis) / (usage @ (basis.T @ basis) + eps)
        up, down = target.T @ usages[0], basis @ (usages[0].T @ usages[0])
        if alpha:
            up += alpha * (basis @ (usages[1].T @ usages[1]))
            down += alpha * (background.T @ usages[1])
        np.multiply(basis, up / (down + eps), out=basis)

    def kullback_leibler():
        for rows, usage in zip(sides, usages, strict=True):
            usage *= np.sqrt(((rows / (usage @ basis.T + eps)) @ basis) / (basis.sum(axis=0) + eps))
        up = (target / (usages[0] @ basis.T + eps)).T @ usages[0]
        down = usages[0].sum(axis=0) + np.zeros_like(up)
        if alpha:
            up += alpha * usages[1].sum(axis=0)
            down += alpha * ((background / (usages[1] @ basis.T + eps)).T @ usages[1])
        np.multiply(basis, np.sqrt(up / (down + eps)), out=basis)

    return timed(frobenius if loss == "frobenius" else kullback_leibler, sweeps)


def published_torch(target, background, loss, alpha, n_components, sweeps):
    """The published formulas as they were published: matrices of ones, and the objective after every sweep."""
    import torch

    torch.set_num_threads(usable_cores())
    x, y = (torch.tensor(rows.T.copy()) for rows in (target, background))
    basis, usages, others = (torch.tensor(one) for one in start(np.asarray, target, background, n_components))
    w, h, g, eps = basis, usages.T.contiguous(), others.T.contiguous(), LOSSES[loss].eps

    def frobenius():
        nonlocal w, h, g
        h = h * (w.T @ x) / (w.T @ w @ h + eps)
        g = g * (w.T @ y) / (w.T @ w @ g + eps)
        w = w * (x @ h.T + alpha * (w @ g @ g.T)) / (w @ h @ h.T + alpha * (y @ g.T) + eps)
        return (torch.norm(x - w @ h) ** 2 - alpha * torch.norm(y - w @ g) ** 2).item()

    def divergence(rows, model):
        return torch.sum(rows * torch.log((rows + eps) / (model + eps)) - rows + model)

    def kullback_leibler():
        nonlocal w, h, g
        ones_x, ones_y = torch.ones_like(x), torch.ones_like(y)
        h = h * ((w.T @ (x / (w @ h + eps))) / (w.T @ ones_x + eps)) ** 0.5
        g = g * ((w.T @ (y / (w @ g + eps))) / (w.T @ ones_y + eps)) ** 0.5
        up = (x / (w @ h + eps)) @ h.T + alpha * (ones_y @ g.T)
        down = ones_x @ h.T + alpha * ((y / (w @ g + eps)) @ g.T)
        w = w * (up / (down + eps)) ** 0.5
        return (divergence(x, w @ h) - alpha * divergence(y, w @ g)).item()

    return timed(frobenius if loss == "frobenius" else kullback_leibler, sweeps)


def bare_products(target, background, loss, alpha, n_components, sweeps):
    """The four large products of a dense Frobenius sweep, and nothing else."""
    basis, *usages = start(np.asarray, target, background, n_components)
    sides = [target, background]
    return timed(lambda: [(rows @ basis, rows.T @ one) for rows, one in zip(sides, usages, strict=True)], sweeps)


def dask_array(target, background, loss, alpha, n_components, sweeps):
    """The lean formulas as an expression of `dask.array`, by its threaded scheduler."""
    rows = da.from_array(target, chunks=(2000, -1))
    basis, usages = start(np.asarray, target, None, n_components)
    state, eps = {"w": basis, "h": da.from_array(usages, chunks=(2000, -1))}, LOSSES[loss].eps

    def sweep():
        w, h = state["w"], state["h"]
        if loss == "frobenius":
            h = (h * (rows @ w) / (h @ (w.T @ w) + eps)).persist()
            cross, gram = da.compute(rows.T @ h, h.T @ h)
            ratio = cross / (w @ gram + eps)
        else:
            h = (h * da.sqrt((rows / (h @ w.T + eps)) @ w / (w.sum(axis=0) + eps))).persist()
            cross, mass = da.compute((rows / (h @ w.T + eps)).T @ h, h.sum(axis=0))
            ratio = np.sqrt(cross / (mass + eps))
        state.update(w=w * ratio, h=h)

    return timed(sweep, sweeps)


def scikit_learn(solver):
    """A function that measures `sklearn.decomposition.NMF` by the difference of a long and a short run."""

    def measure(target, background, loss, alpha, n_components, sweeps):
        basis, usages = start(np.asarray, target, None, n_components)

        def seconds(max_iter):
            started = time.perf_counter()
            non_negative_factorization(
                target,
                usages.copy(),
                np.ascontiguousarray(basis.T),
                n_components=n_components,
                init="custom",
                solver=solver,
                beta_loss=loss,
                max_iter=max_iter,
                tol=0,
            )
            return time.perf_counter() - started

        seconds(2)
        return max((seconds(2 + sweeps) - seconds(2)) / sweeps, 1e-9)

    return measure


def mini_batch(target, background, loss, alpha, n_components, sweeps):
    """One pass of `sklearn.decomposition.MiniBatchNMF`."""
    basis, usages = start(np.asarray, target, None, n_components)
    model = MiniBatchNMF(n_components, init="custom", beta_loss=loss, max_iter=1, tol=0, max_no_improvement=None)
    return timed(lambda: model.fit_transform(target, W=usages.copy(), H=np.ascontiguousarray(basis.T)), 2)


def nmf_torch(target, background, loss, alpha, n_components, sweeps):
    """``nmf-torch``, multiplicative updates, by the difference of a long and a short run."""
    import nmf

    def seconds(max_iter):
        started = time.perf_counter()
        nmf.run_nmf(
            target,
            n_components,
            init="random",
            beta_loss=loss,
            algo="mu",
            mode="batch",
            tol=0,
            n_jobs=usable_cores(),
            batch_max_iter=max_iter,
        )
        return time.perf_counter() - started

    # It looks at its loss every ten sweeps, and wants to have done so once.
    seconds(10)
    return max((seconds(20) - seconds(10)) / 10, 1e-9)


BOTH = ("csr", "dense")
PEERS = {
    "bcnmf_dask": Peer(ours, BOTH),
    "published, PyTorch": Peer(published_torch, ("dense",), alphas=(1,), needs=("torch",)),
    "published, lean NumPy": Peer(lean_numpy, ("dense",)),
    "bare matrix products": Peer(bare_products, ("dense",), ("frobenius",), (1,)),
    "dask.array": Peer(dask_array, ("dense",), alphas=(0,)),
    "scikit-learn mu": Peer(scikit_learn("mu"), BOTH, alphas=(0,)),
    "scikit-learn cd": Peer(scikit_learn("cd"), BOTH, ("frobenius",), (0,)),
    "scikit-learn MiniBatchNMF": Peer(mini_batch, BOTH, alphas=(0,)),
    "nmf-torch mu": Peer(nmf_torch, ("dense",), alphas=(0,), needs=("torch", "nmf")),
}
