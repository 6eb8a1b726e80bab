"""Tasks that fit on the cluster they run on; importable, so that workers can run them."""

import dask
import dask.array as da
import numpy as np
from chaos import bits
from distributed import get_client, get_worker, rejoin, secede, worker_client
from distributed.threadpoolexecutor import thread_state

from bcnmf_dask import BCNMF, ingest


def rows():
    draw = np.random.default_rng(3)
    return draw.poisson(1.0, (400, 30)).astype(np.float32), draw.poisson(1.0, (300, 30)).astype(np.float32)


def model():
    return BCNMF(n_components=3, max_iter=5, tol=0)


def fitted(client, data=rows):
    target, background = data()
    return model().fit(target, background=background, client=client)


def lazy_rows():
    return [da.from_array(part, chunks=(100, 30)) for part in rows()]


def in_pool():
    """Whether this thread has its place in the pool of its worker."""
    return thread_state.proceed


def with_get_client():
    found = bits(fitted(get_client()))
    assert in_pool(), "the task has its place again"
    return found


def with_worker_client():
    with worker_client() as client:
        found = bits(fitted(client))
        assert not in_pool(), "who seceded before is left outside"
    return found


def with_worker_client_in_its_place():
    with worker_client(separate_thread=False) as client:
        return bits(fitted(client))


def seceded_by_hand():
    client = get_client()
    secede()
    found = bits(fitted(client))
    assert not in_pool(), "who seceded before is left outside"
    rejoin()
    return found


def with_address():
    return bits(fitted(get_worker().scheduler.address))


def in_this_process():
    found = bits(fitted(False))
    assert in_pool()
    return found


def of_dask_arrays():
    """``client=None`` means the client that is active here."""
    get_client()
    with dask.config.set(scheduler="dask.distributed"):
        return bits(fitted(None, lazy_rows))


def of_dask_arrays_without_client():
    return bits(fitted(None, lazy_rows))


def failing():
    try:
        model().fit(-rows()[0], background=rows()[1], client=get_client())
    except ValueError as error:
        assert in_pool(), "the task has its place again"
        return str(error)


def transforming():
    target, _ = rows()
    return np.asarray(fitted(False).transform(target, client=get_client())).tobytes()


def ingesting(out):
    ingest(da.from_array(rows()[0], chunks=(100, 30)), out, client=get_client())
    assert in_pool(), "the task has its place again"
    return out


class Fitter:
    """An actor: it has a thread of its own."""

    def fit(self):
        return bits(fitted(get_client()))
