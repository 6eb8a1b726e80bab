"""The table a biologist reads first: how much of what each component describes, and by which features."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.record import FitResult


def summarise(result: FitResult, n_top: int = 10) -> pd.DataFrame:
    """One row per component, in the order of the components.

    Parameters
    ----------
    result : FitResult
        The fit to describe.
    n_top : int
        How many features to name per component.

    Returns
    -------
    DataFrame
        ``component`` : number of the component, from 0.

        ``target_share``, ``background_share`` : its share of all signal (sum of usages) of the target and of
        the background; over the components they sum to one. nan if there is no signal, or no background.

        ``log2_ratio`` : log2 of target share / background share. 1: twice as strong in the target; inf:
        absent from the background; -inf: absent from the target; nan: absent from both, or a share is nan.

        ``top_features`` : the features of largest weight, largest first, joined by ``", "``; features without
        names by their index. Features of weight zero are never listed.

    Raises
    ------
    InputError
        ``n_top`` is below 1.
    """
    if n_top < 1:
        raise InputError(f"n_top is {n_top}, but must be 1 or more: the number of features to name per component.")
    target = _shares(result.target_signal, len(result.components))
    background = _shares(result.background_signal, len(result.components))
    return pd.DataFrame(
        {
            "component": np.arange(len(result.components)),
            "target_share": target,
            "background_share": background,
            "log2_ratio": _log2_ratio(target, background),
            "top_features": [_top_features(row, result.features, n_top) for row in result.components],
        }
    )


def _shares(signal: NDArray[np.float64] | None, n_components: int) -> NDArray[np.float64]:
    total = 0.0 if signal is None else float(signal.sum())
    return np.full(n_components, np.nan) if signal is None or total == 0 else signal / total


def _log2_ratio(target: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    # log2(0) = -inf gives inf, -inf and nan exactly where they are promised.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(target) - np.log2(background)


def _top_features(weights: NDArray[np.floating], features: NDArray[np.object_] | None, n_top: int) -> str:
    heaviest = np.argsort(-weights, kind="stable")[:n_top]
    present = heaviest[weights[heaviest] > 0]
    return ", ".join(str(name) for name in (present if features is None else features[present]))
