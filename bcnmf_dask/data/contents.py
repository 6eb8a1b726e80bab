"""What tells, without names, whether rows of one side are also on the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.tables import Mask
from bcnmf_dask.kernels.contents import hash_rows

FEWEST_VALUES = 20
"""That a row must have to be looked for on the other side: shorter ones may be equal by chance."""
MOST_SAMPLED = 2**18
"""Rows that are looked for, of both sides together, about: 2 MB, however many rows there are."""
ALL = 2**64
"""Numbers that a hash may be."""


@dataclass(frozen=True)
class Contents:
    """What rows of a role hold, in numbers that depend on no order.

    Attributes
    ----------
    digest : int
        The sum of the hashes of all rows, in 64 bits.
    sample : uint64 array
        Hashes of rows with at least `FEWEST_VALUES` values that do not serve in the other role, too: those that fall
        into a fixed share of all numbers, so that equal rows are sampled together. Some may occur more than once.
    """

    digest: int
    sample: NDArray[np.uint64]

    def merge(self, other: "Contents") -> "Contents":
        """Both together."""
        return Contents((self.digest + other.digest) % ALL, np.concatenate([self.sample, other.sample]))


def share_sampled(inputs: Inputs) -> float:
    """The share of rows whose hashes are kept to compare both sides; 0 if there is only one."""
    if "background" not in inputs.n_rows:
        return 0.0
    return min(MOST_SAMPLED / sum(inputs.n_rows.values()), 1.0)


def contents_of(rows: Rows, share: float, alone: Mask | None) -> Contents:
    """What some rows hold.

    Parameters
    ----------
    rows : dense or CSR rows
    share : float
        See `share_sampled`.
    alone : bool array (n_rows,) or None
        Rows that do not serve in the other role; None is all.
    """
    hashes, counts = hash_rows(rows)
    wanted = (counts >= FEWEST_VALUES) & (hashes <= np.uint64(min(int(share * ALL), ALL - 1)))
    if alone is not None:
        wanted &= alone
    return Contents(int(hashes.sum(dtype=np.uint64)), np.unique(hashes[wanted]))
