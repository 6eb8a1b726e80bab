"""The authors' demonstration: handwritten zeros and ones blended with texture; the texture alone is the background.

The quality is the agreement (adjusted Rand index) of k-means on the usages, as they come, with the digits.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from bcnmf_dask import BCNMF
from bcnmf_dask.errors import CollapseWarning

SEEDS = {0.0: range(8), 2.0: range(3)}  # plain NMF lands between 0.0 and 0.45: the mean of three says little


@pytest.fixture(scope="module")
def images(data_folder):
    folder = data_folder("bcnmf_demo")
    target, background = (
        pd.read_csv(folder / f"{side}_images.csv", index_col=0).to_numpy().T for side in ("target", "background")
    )
    return target, background, pd.read_csv(folder / "target_labels.csv")["digit"].to_numpy()


def agreement(images, alpha, seed):
    target, background, digits = images
    model = BCNMF(2, alpha, weighting="sum", loss="frobenius", max_iter=300, tol=0, random_state=seed)
    usages = model.fit_transform(target, background=background)
    return adjusted_rand_score(digits, KMeans(2, n_init=10, random_state=0).fit_predict(usages))


def test_the_contrast_tells_the_digits_apart_where_plain_factorization_does_not(images):
    plain, contrasted = (np.mean([agreement(images, alpha, seed) for seed in seeds]) for alpha, seeds in SEEDS.items())
    assert plain <= 0.3
    assert contrasted >= 0.75


def test_too_large_an_alpha_loses_the_digits_and_says_so(images):
    with pytest.warns(CollapseWarning, match="alpha is probably too large"):
        assert agreement(images, alpha=5.0, seed=0) < 0.3
