"""Naive float64 bcNMF, written from the mathematics alone: dense, two matrices, raw (not normalised) factors."""

import numpy as np


def start(n, m, f, k, seed=0):
    draw = np.random.default_rng(seed)
    return draw.random((f, k)) + 0.1, draw.random((n, k)) + 0.1, draw.random((m, k)) + 0.1


def fit(x, y, start, *, loss, alpha, damping, sweeps):
    """Final (basis, target usages, background usages) and the divergences of every sweep at the basis it began with."""
    step = {"frobenius": frobenius_sweep, "kullback-leibler": kl_sweep}[loss]
    divergence = {"frobenius": frobenius, "kullback-leibler": kl}[loss]
    w, h, g = (part.astype(np.float64) for part in start)
    history = []
    for _ in range(sweeps):
        new, h, g = step(x, y, w, h, g, alpha, damping)
        history.append((divergence(x, h @ w.T), divergence(y, g @ w.T)))
        w = new
    return w, h, g, np.array(history)


def frobenius_sweep(x, y, w, h, g, alpha, d, eps=1e-10):
    h = h * ((x @ w) / (h @ (w.T @ w) + eps)) ** d
    g = g * ((y @ w) / (g @ (w.T @ w) + eps)) ** d
    up = x.T @ h + alpha * w @ (g.T @ g)
    down = w @ (h.T @ h) + alpha * y.T @ g + eps
    return w * (up / down) ** d, h, g


def kl_sweep(x, y, w, h, g, alpha, d, eps=1e-16):
    h = h * (((x / (h @ w.T + eps)) @ w) / (w.sum(0) + eps)) ** d
    g = g * (((y / (g @ w.T + eps)) @ w) / (w.sum(0) + eps)) ** d
    up = (x / (h @ w.T + eps)).T @ h + alpha * g.sum(0)
    down = h.sum(0) + alpha * (y / (g @ w.T + eps)).T @ g + eps
    return w * (up / down) ** d, h, g


def frobenius(x, r):
    return float(((x - r) ** 2).sum())


def kl(x, r):
    positive = x > 0
    return float((x[positive] * np.log(x[positive] / r[positive])).sum() - x.sum() + r.sum())
