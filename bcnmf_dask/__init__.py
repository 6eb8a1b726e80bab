"""Background-contrastive non-negative matrix factorization on Dask."""

from bcnmf_dask.data.split import split
from bcnmf_dask.estimator import BCNMF
from bcnmf_dask.ingesting.run import ingest

__all__ = ["BCNMF", "ingest", "split"]
__version__ = "0.1.0"
