"""Stimulated blood cells against controls, all genes: fits that are good are, fits that lost the answer collapsed."""

import numpy as np
import pytest
import scipy.sparse as sp

from bcnmf_dask import BCNMF
from bcnmf_dask.errors import CollapseWarning


@pytest.fixture(scope="module")
def sides(data_folder):
    with np.load(data_folder("kang_ifnb") / "counts.npz") as stored:
        counts = sp.csr_array((stored["data"], stored["indices"], stored["indptr"]), shape=tuple(stored["shape"]))
        stimulated = stored["condition"] == "stimulated"
    return counts[stimulated], counts[~stimulated]


def fitted(sides, alpha):
    model = BCNMF(n_components=10, alpha=alpha, loss="kullback-leibler", max_iter=100, tol=0, random_state=3)
    return model.fit(sides[0], background=sides[1])


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_good_fits_of_counts_have_not_collapsed(sides, alpha):
    model = fitted(sides, alpha)
    assert model.status_.word == "max_iter"
    assert not any("doubtful" in remark or "Nothing specific" in remark for remark in model.run_["remarks"])


@pytest.mark.parametrize("alpha", [20.0, 1000.0])
def test_fits_that_lost_the_answer_have_collapsed(sides, alpha):
    with pytest.warns(CollapseWarning, match="collapsed.*alpha is probably too large"):
        model = fitted(sides, alpha)
    assert model.status_.word == "collapsed"
    assert "max_iter" not in model.status_.sentence
