"""The published formulas as others would write them, in NumPy, PyTorch and `dask.array`."""

import dask.array as da
import numpy as np
from peer_runners import by_sweeps, start

from bcnmf_dask.engine.threads import usable_cores
from bcnmf_dask.updates.losses import LOSSES


def lean_numpy(target, background, loss, alpha, n_components):
    """The formulas in plain NumPy, no more than they need."""
    basis, *usages = start(target, background, n_components)
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

    return by_sweeps(frobenius if loss == "frobenius" else kullback_leibler, lambda: basis)


def published_torch(target, background, loss, alpha, n_components, device="cpu"):
    """The published formulas as they were published: matrices of ones, and the objective after every sweep."""
    import torch

    torch.set_num_threads(usable_cores())
    x, y = (torch.tensor(rows.T.copy(), device=device) for rows in (target, background))
    w, usages, others = (torch.tensor(one, device=device) for one in start(target, background, n_components))
    h, g, eps = usages.T.contiguous(), others.T.contiguous(), LOSSES[loss].eps

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

    return by_sweeps(frobenius if loss == "frobenius" else kullback_leibler, lambda: w.cpu().numpy())


def bare_products(target, background, loss, alpha, n_components):
    """The four large products of a dense Frobenius sweep, and nothing else."""
    basis, *usages = start(target, background, n_components)
    sides = [target, background]
    return by_sweeps(
        lambda: [(rows @ basis, rows.T @ one) for rows, one in zip(sides, usages, strict=True)], lambda: basis
    )


def dask_array(target, background, loss, alpha, n_components):
    """The lean formulas as an expression of `dask.array`, by its threaded scheduler."""
    rows = da.from_array(target, chunks=(2000, -1))
    basis, usages = start(target, None, n_components)
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

    return by_sweeps(sweep, lambda: state["w"])
