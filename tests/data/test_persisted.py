"""Dask arrays that lie on a cluster."""

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from bcnmf_dask import BCNMF
from bcnmf_dask.errors import InputError

COUNTS = np.random.default_rng(0).poisson(2.0, (40, 6)).astype(float)


@pytest.mark.parametrize("then", [lambda array: array, lambda array: array + 0.0])
def test_what_a_cluster_holds_is_computed_there_and_not_in_this_process(then):
    model = BCNMF(2, alpha=0.0, max_iter=3, tol=0).fit(COUNTS)
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"):
        array = then(da.from_array(COUNTS, chunks=(10, 6)).persist())
        for use in (model.transform, model.fit):
            with pytest.raises(InputError, match=r"lies on a cluster.*client="):
                use(array, client=False)
        usages = model.transform(array)
    np.testing.assert_array_equal(np.asarray(usages), model.transform(COUNTS))
