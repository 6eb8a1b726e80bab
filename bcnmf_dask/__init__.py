"""Background-contrastive non-negative matrix factorization on Dask."""

from bcnmf_dask.data.split import split
from bcnmf_dask.estimator import BCNMF

__all__ = ["BCNMF", "split"]
__version__ = "0.1.0"
