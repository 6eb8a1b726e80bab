"""What a fitted estimator can do with its result."""

import os
import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from bcnmf_dask.data.inputs import Inputs, read_rows
from bcnmf_dask.errors import CollapseWarning, InputError, ResultWarning
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.parameters import check_parameter
from bcnmf_dask.fitting.profiles import Surroundings
from bcnmf_dask.fitting.provenance import Request
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.results.record import FitResult
from bcnmf_dask.results.result import load_result, save_result
from bcnmf_dask.results.summary import Summary, summarise


class FittedMixin(TransformerMixin, BaseEstimator):
    """Learnt attributes from a `FitResult`, and what is said, saved and loaded of it."""

    def transform(
        self,
        rows: Any,
        *,
        layer: str | None = None,
        client: Any = None,
        device: str = "auto",
        out: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Usages of new rows at the fitted components: those that minimise the divergence of each row.

        With the floor of the reconstruction (``floor_``) as part of the model this is a convex problem, solved row by
        row: an answer depends on no other row and on no seed. ``transform_run_`` then says how many iterations it took
        and the largest residual: what the divergence of a row may lie above its minimum, as a share of its sum.

        Parameters
        ----------
        rows : as ``target`` of `fit`
            With the features of the fit: by name, in any order and among any others; without names, the same.
        layer : str, optional
            Layer of the AnnData to use instead of ``X``; after a fit of an AnnData, the same layer.
        client, device
            Where to run, as for `fit`. Rows on a device are solved on its host.
        out : path, optional
            Where the usages are written, as a saved fit of these rows; needed to keep lazy ones, which else end with
            the last array that reads them.

        Returns
        -------
        array (n rows, n_components)
            As `fit` returns usages.

        Raises
        ------
        InputError
            Rows that cannot be used, lack a feature of the fit, or are of another layer; or an ``out`` that exists.
        ClusterError, NumericalError
            As for `fit`.

        Warns
        -----
        ConvergenceWarning
            If any row did not get to its minimum.
        """
        check_is_fitted(self)
        result = self._fitted_to(self.components_, rows, layer, client, device, out)
        self.transform_run_ = result.run
        if not result.status.converged:
            warnings.warn(result.status.sentence, ConvergenceWarning, stacklevel=2)
        return result.target_usages

    def explained_fraction(
        self, rows: Any, *, layer: str | None = None, client: Any = None, device: str = "auto"
    ) -> Any:
        """The share of each row (cell) that the components explain beside the mean profile of the background.

        Usages are fitted together with one further, fixed component: the mean profile of the background (of the target
        where there is no background). Fitted alone, Kullback-Leibler usages must take up all of a row.

        Parameters
        ----------
        rows, layer, client, device
            As for `transform`.

        Returns
        -------
        array (n rows,)
            Between 0 and 1; nan for a row without a positive value. NumPy, DataArray or a lazy Dask array, as
            `transform` returns usages.

        Raises
        ------
        InputError, ClusterError, NumericalError
            As for `transform`.

        Warns
        -----
        ConvergenceWarning
            As for `transform`.
        """
        check_is_fitted(self)
        components = np.vstack([self.components_, self.result_.profile])
        result = self._fitted_to(components, rows, layer, client, device, None)
        if not result.status.converged:
            warnings.warn(result.status.sentence, ConvergenceWarning, stacklevel=2)
        usages = result.target_usages
        with np.errstate(invalid="ignore", divide="ignore"):
            return usages[:, :-1].sum(axis=1) / usages.sum(axis=1)

    def _fitted_to(
        self, components: NDArray[Any], rows: Any, layer: str | None, client: Any, device: str, out: Any
    ) -> FitResult:
        """Usages of rows at some components, with all that is around them in this fit."""
        check_parameter("device", device)
        if out is not None:
            check_path("out", out)
        fitted = self.result_
        request = Request(derived_from=fitted.described())
        inputs = read_rows(rows, features=fitted.features, n_features=self.n_features_in_, layer=layer)
        self._refuse_other_layer(inputs)
        settings = Settings(
            n_components=len(components),
            alpha=0.0,
            weighting="mean",
            loss=fitted.parameters["loss"],  # not that of the estimator, which may have been set since
            damping=None,
            max_iter=1,
            tol=0.0,
            seed=fitted.parameters["random_state"],
            start={"components": components},
        )
        (result,) = factorize(
            inputs,
            [settings],
            dtype=fitted.parameters["dtype"],
            client=client,
            device=device,
            outs=[out],
            fixed=Surroundings(fitted.profile, fitted.floor),
            request=request,
        )
        return result

    def summary(self, n_top: int = 10) -> Summary:
        """One row per component: is it stronger in the target, by how much, in how many cells, and by which features.

        `bcnmf_dask.results.summary.summarise` explains each column. Printed, it shows all of them.

        Raises
        ------
        InputError
            If ``n_top`` is not a whole number of at least 1.
        """
        check_is_fitted(self)
        if not isinstance(n_top, Integral) or isinstance(n_top, bool):
            raise InputError(f"n_top: got {n_top!r}. Expected a whole number of features to name per component.")
        return summarise(self.result_, n_top)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a new Zarr store, which xarray opens too.

        Raises
        ------
        InputError
            If ``path`` exists or cannot be written.
        """
        check_is_fitted(self)
        check_path("path", path)
        save_result(self.result_, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator that was saved at ``path``; large usages stay there and are lazy.

        Raises
        ------
        InputError
            If there is no saved fit at ``path``.
        """
        check_path("path", path)
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
        self.floor_ = result.floor
        self.n_features_in_ = result.components.shape[1]
        if result.features is not None:
            self.feature_names_in_ = result.features
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _refuse_other_layer(self, inputs: Inputs) -> None:
        """Counts of one layer say nothing about those of another: new rows are of the layer that was fitted."""
        fitted, table = self.result_.provenance.origin("target").matrix, inputs.sides["target"].table
        if fitted is None or table.layers is None:
            return
        layer = fitted.removeprefix("layers/") if fitted != "X" else None
        if table.layer != layer:
            raise InputError(
                f"rows: the AnnData was read from {_layer_words(table.layer)}, but the fit from "
                f"{_layer_words(layer)}. Expected the same values: "
                + ("leave layer= out" if layer is None else f"give layer={layer!r}")
                + " (to split, if it chose the rows), or copy the right values there."
            )


def check_path(argument: str, value: Any) -> None:
    """Refuse what is no path.

    Raises
    ------
    InputError
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{argument}: got {value!r}. Expected a path: text, or a pathlib.Path.")


def _layer_words(layer: str | None) -> str:
    return "X" if layer is None else f"layer {layer!r}"


def warn_of(result: FitResult) -> None:
    """Warn of a fit that collapsed, did not converge, or is doubtful, where the caller of `fit` stands."""
    word, sentence, converged = result.status
    if word == "collapsed":
        warnings.warn(sentence, CollapseWarning, stacklevel=3)
    elif word == "max_iter" and result.parameters["tol"] > 0 and not converged:
        warnings.warn(sentence, ConvergenceWarning, stacklevel=3)
    for remark in result.run["remarks"]:
        warnings.warn(remark, ResultWarning, stacklevel=3)
