"""What a fitted estimator can do with its result."""

import os
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from bcnmf_dask.errors import InputError
from bcnmf_dask.results.record import FitResult
from bcnmf_dask.results.result import load_result, save_result
from bcnmf_dask.results.summary import summarise


class FittedMixin(BaseEstimator):
    """Learnt attributes from a `FitResult`, and what is said, saved and loaded of it."""

    def summary(self, n_top: int = 10) -> pd.DataFrame:
        """One row per component: shares of target and background signal, log2 ratio, top features."""
        check_is_fitted(self)
        return summarise(self.result_, n_top)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a new Zarr store, which xarray opens too.

        Raises
        ------
        InputError
            If ``path`` exists or cannot be written.
        """
        check_is_fitted(self)
        save_result(self.result_, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator that was saved at ``path``; large usages stay there and are lazy.

        Raises
        ------
        InputError
            If there is no saved fit at ``path``.
        """
        result = load_result(path)
        known = cls().get_params().keys() & result.parameters.keys()
        parameters = {name: result.parameters[name] for name in known}
        if parameters["init"] != "random":  # given start arrays are not written to results
            parameters["init"] = "random"
        model = cls(**parameters)
        model._learn(result)
        return model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "result_")

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _learn(self, result: FitResult) -> None:
        self.result_ = result
        self.components_ = result.components
        self.target_usages_ = result.target_usages
        self.background_usages_ = result.background_usages
        self.history_ = result.history
        self.n_iter_ = len(result.history)
        self.status_ = result.status
        self.converged_ = result.status.converged
        self.run_ = result.run
        self.n_features_in_ = result.components.shape[1]
        if result.features is not None:
            self.feature_names_in_ = result.features
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _components_for(self, names: NDArray[np.object_] | None, n_features: int) -> NDArray[Any]:
        """The components with their features in the order of ``names``."""
        if n_features != self.n_features_in_:
            raise InputError(
                f"rows: {n_features} features came, the fit had {self.n_features_in_}. Give rows with the same "
                "features."
            )
        if names is None or self.result_.features is None:
            return self.components_
        place = pd.Index(self.result_.features).get_indexer(pd.Index(names))
        if (place < 0).any():
            raise InputError(
                f"rows: {int((place < 0).sum())} of {n_features} features are not those of the fit, the first "
                f"is {names[int(np.argmin(place))]!r}. Give rows with the same features, in any order."
            )
        return self.components_[:, place]
