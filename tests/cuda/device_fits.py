"""Fits of a moment on a device, and where their rows may be."""

import numpy as np
from cases import K

from bcnmf_dask import BCNMF

NO_MEMORY, NO_ROOM = {"bcnmf-dask.memory-limit": "1 MB"}, {"bcnmf-dask.device-memory-limit": "1 B"}
EVERYWHERE = {
    "on the device": {},
    "in host memory": NO_ROOM,
    "some of both": {"bcnmf-dask.device-memory-limit": "60 kB"},
}


OF_FIT = ("checkpoint", "checkpoint_every", "resume", "client", "callbacks")


def fitted(target, background, device, loss="kullback-leibler", sweeps=4, dtype="float64", **more):
    fit = {name: more.pop(name) for name in OF_FIT if name in more}
    fit.setdefault("client", False)
    model = BCNMF(K, 0.5, loss=loss, max_iter=sweeps, tol=0, dtype=dtype, **more)
    return model.fit(target, background=background, device=device, **fit)


def close(left, right, rtol=1e-9):
    for name in ("components_", "target_usages_", "background_usages_"):
        np.testing.assert_allclose(np.asarray(getattr(left, name)), np.asarray(getattr(right, name)), rtol, 1e-12)
    for name in ("target_divergence", "background_divergence"):
        np.testing.assert_allclose(left.history_[name], right.history_[name], rtol)
