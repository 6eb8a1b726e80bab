"""`BCNMF`: the face of the package for Python, in the conventions of scikit-learn."""

import os
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils import check_random_state

from bcnmf_dask.data.features import Matching
from bcnmf_dask.data.inputs import read_inputs
from bcnmf_dask.data.kinds import refuse_table
from bcnmf_dask.errors import InputError
from bcnmf_dask.fitted import FittedMixin, check_path, warn_of
from bcnmf_dask.fitting.checkpointing import Checkpointing
from bcnmf_dask.fitting.factorize import factorize
from bcnmf_dask.fitting.loop import Callback
from bcnmf_dask.fitting.outputs import Out
from bcnmf_dask.fitting.parameters import alpha_for, check_parameter, loss_named
from bcnmf_dask.fitting.provenance import Request
from bcnmf_dask.fitting.settings import Settings


class BCNMF(ClassNamePrefixFeaturesOutMixin, FittedMixin):
    """Background-contrastive non-negative matrix factorization (arXiv 2602.22387).

    Finds non-negative components that explain a target and do not explain a background: the minimum over
    the components of ``D(target) - alpha * D(background)``, where the usages of each side minimise its own
    divergence ``D``.

    Parameters
    ----------
    n_components : int
        Number of components.
    alpha : float or None
        Strength of the contrast; 0 is plain NMF of the target. Too large a value collapses the factorization, which is
        reported. None: 2 for Kullback-Leibler, 1.5 for Frobenius.
    weighting : {"deviance", "mean", "sum"}
        What ``alpha`` is multiplied by. ``"deviance"``: divergence of the target from its best model of rank one over
        that of the background, so that it means the same for any number, depth and scale of cells (Frobenius: at most
        three visits more). ``"mean"``: ``n_target / n_background``. ``"sum"``: 1, as published.
    loss : {"kullback-leibler", "frobenius"}
        Kullback-Leibler (Poisson) for counts, Frobenius for normalised data, intensities or images. Also by the names
        ``"kl"`` and ``"poisson"``, and ``"sse"``.
    solver : {"published", "accelerated", "online"}
        ``"published"``: one multiplicative step of usages and basis per sweep. ``"accelerated"``: longer steps of the
        same kind, about a third of the sweeps to the same components; should the objective of a sample of cells rise,
        it goes on as published. ``"online"``: a step of the components after each batch of cells, three passes, then
        the usages in one more: for data that can be read only a few times.
    batch_size : int or None
        Cells of a batch, for the online solver alone. None: a hundredth of them, but 100 to 8192.
    converged_usages : bool or None
        Whether the usages of all cells are fitted to the final components in one more visit, to the minimum of each
        cell's divergence, as `transform` does. None: not for the published solver, whose own usages lag a little
        behind; else yes.
    damping : float or None
        Exponent of the published steps, in (0, 1]. None: 1.0 for Frobenius, 0.5 for Kullback-Leibler.
    init : "random" or mapping
        Start: drawn, or any of ``"components"`` (n_components, n_features), ``"target_usages"`` and
        ``"background_usages"`` (n rows, n_components); of usages, the online solver needs it only for its last visit.
    max_iter : int
        Sweeps at most (of the online solver: passes, of which it makes three).
    tol : float
        A fit has converged when the relative changes of basis and divergences stay below it for 10 sweeps.
        0 never stops early. The online solver does not ask.
    dtype : {"float32", "float64"}
        Of rows, usages and components; sums over blocks of rows are always float64.
    random_state : int, RandomState or None
        Seed of the start. The same data, parameters and seed give the same bits for any number of workers
        and threads.

    Attributes
    ----------
    components_ : ndarray (n_components, n_features)
        Rows sum to one, so that a usage is an amount of signal.
    target_usages_, background_usages_ : array (n rows, n_components)
        NumPy, a DataArray, or a lazy Dask array, as `fit` explains; None without a background.
    history_ : DataFrame
        One row per sweep (online: per batch): iteration, data_visits, target_divergence, background_divergence,
        objective, basis_change, seconds and what they went into.
    n_iter_ : int
        Sweeps done; of the online solver batches, and one sweep.
    converged_ : bool
    status_ : Status
        A word, and a sentence that says what to try.
    run_ : dict
        What happened: engine, shards per worker, data visits, rows, zero rows and features.
    floor_ : ndarray (n_features,)
        Part of every reconstruction under the Kullback-Leibler loss, in units of the data; zeros for Frobenius.
    transform_run_ : dict
        As ``run_``, of the last `transform`: iterations, largest residual, rows that did not get to their minimum.
    result_ : FitResult
        All of this in one frozen record.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the data has feature names.
    """

    def __init__(
        self,
        n_components: int = 20,
        alpha: float | None = None,
        *,
        weighting: str = "deviance",
        loss: str = "kullback-leibler",
        solver: str = "published",
        batch_size: int | None = None,
        converged_usages: bool | None = None,
        damping: float | None = None,
        init: str | Mapping[str, NDArray[Any]] = "random",
        max_iter: int = 500,
        tol: float = 1e-3,
        dtype: str = "float32",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.weighting = weighting
        self.loss = loss
        self.solver = solver
        self.batch_size = batch_size
        self.converged_usages = converged_usages
        self.damping = damping
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.dtype = dtype
        self.random_state = random_state

    def fit(
        self,
        target: Any,
        y: Any = None,
        *,
        background: Any = None,
        client: Any = None,
        device: str = "auto",
        features: Matching = "strict",
        layer: str | None = None,
        mask_var: str | Sequence[bool] | None = None,
        out: Out = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 25,
        resume: bool = False,
    ) -> Self:
        """Fit the components and the usages of both sides.

        Parameters
        ----------
        target, background : array, CSR, Dask array, DataArray, AnnData, DataFrame, path, or from `split`
            Cells x features, non-negative. A path is a Zarr array, an AnnData ``.zarr`` or ``.h5ad``, ``.npy``,
            ``.npz``, ``.csv`` or ``.tsv`` (also ``.gz``). Usages come back as NumPy; for arrays of CuPy as CuPy; for a
            DataArray as DataArray; for a Dask array or a path as a lazy Dask array over the store ``out``.
        y : None or one-dimensional labels, ignored
            For scikit-learn's conventions. A table here is refused: the background is given by name.
        client : Client, str, False or None
            Where to run. None: the current Dask client if an input is a Dask collection and one is active,
            else this process. False: this process. A client, an address, or the path of a scheduler file (of any
            name): that cluster; inside a task of it, `distributed.get_client` may be given.
            ``"local"``: a cluster on this machine for the length of the fit, ``"local-cuda"``: one on its CUDA devices.
        device : {"auto", "cpu", "cuda"}
            What every process computes on; ``"auto"`` is a CUDA device where CuPy and one are there.
        features : {"strict", "intersection"}
            ``"strict"`` wants the same features on both sides, in any order.
        layer : str, optional
            Layer of the AnnData to use instead of ``X``.
        mask_var : str or sequence of bool, optional
            Features of the target to use: a boolean column of ``var``, or one value per feature.
        out : path, optional
            Where the result is written, as by `save`. Needed to keep lazy usages: without it they lie in a
            temporary store (``run_["temporary_store"]``), which ends with the last array that reads it.
        callbacks : sequence of callable
            Called after every sweep with its `SweepRecord`; returning True ends the fit cleanly.
        checkpoint : path or fsspec URL, optional
            Folder in which the fit is saved every ``checkpoint_every`` sweeps, by the workers in parallel: they
            must all see it. A killed fit goes on from there, to the same bits.
        checkpoint_every : int
            Sweeps between two checkpoints.
        resume : bool
            Go on from the newest whole checkpoint, if there is one; data and parameters (but ``max_iter``) must
            be the same.

        Returns
        -------
        BCNMF
            The estimator itself.

        Raises
        ------
        InputError
            Data, path or parameter that cannot be used, with the repair.
        ClusterError
            The cluster cannot be reached, does not match, or lost workers faster than could be repaired.
        CheckpointError
            The checkpoints belong to another fit, or all are damaged.
        NumericalError
            The numbers stopped being finite.
        OutputError
            The result cannot be written.
        Preempted
            With ``checkpoint``, after Ctrl-C or SIGTERM: the fit has been saved and can be resumed.

        Any error after the first sweep has the attribute ``result``: the `FitResult` of the finished sweeps, with
        usages where they can be had. ``error.result.save(path)`` keeps it, and `BCNMF.load` reads it.

        Warns
        -----
        ConvergenceWarning, CollapseWarning, ResultWarning
            How the fit ended, and what is doubtful in its result.
        DataWarning
            What was seen in the data as it was loaded: values that do not go with the loss, and where the sides differ
            in what the contrast should not be about (scale, counts or not, labels of ``obs``), or hold the same rows.
        """
        refuse_table(y)
        settings = self._settings()
        check_parameter("dtype", self.dtype)
        check_parameter("device", device)
        _check_callbacks(callbacks)
        if out is not None:
            check_path("out", out)
        if checkpoint is not None:
            check_path("checkpoint", checkpoint)
        request = Request(self._given_otherwise(settings))
        inputs = read_inputs(target, background, features=features, layer=layer, mask_var=mask_var)
        (result,) = factorize(
            inputs,
            [settings],
            dtype=self.dtype,
            client=client,
            device=device,
            outs=[out],
            callbacks=callbacks,
            checkpoint=None if checkpoint is None else Checkpointing(checkpoint, checkpoint_every, resume),
            request=request,
        )
        self._learn(result)
        warn_of(result)
        return self

    def fit_transform(self, target: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit, and return the usages of the target; takes what `fit` takes."""
        return self.fit(target, y, **fit_params).target_usages_

    def _settings(self) -> Settings:
        start: Any = self.init
        if isinstance(start, str) and start == "random":
            start = {}
        elif not isinstance(start, Mapping):
            raise InputError(f"init: got {start!r}. Expected 'random' or a mapping of start arrays.")
        return Settings(
            n_components=self.n_components,
            alpha=alpha_for(loss_named(self.loss), self.alpha),
            weighting=self.weighting,
            loss=loss_named(self.loss),
            damping=self.damping,
            max_iter=self.max_iter,
            tol=self.tol,
            seed=_seed(self.random_state),
            solver=self.solver,
            batch_size=self.batch_size,
            converged_usages=self.converged_usages,
            start=start,
        )

    def _given_otherwise(self, settings: Settings) -> dict[str, Any]:
        """The parameters that the settings record in another way than they were given."""
        resolved = settings.described()
        given = {name: getattr(self, name) for name in ("alpha", "loss", "random_state")}
        return {name: _as_given(value) for name, value in given.items() if value != resolved[name]}


def _as_given(value: Any) -> Any:
    """What JSON can hold of it."""
    return value if value is None or isinstance(value, str | Real) else type(value).__name__


def _check_callbacks(callbacks: Any) -> None:
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise InputError(
            f"callbacks: got {callbacks!r}. Expected a sequence of functions, each called with a SweepRecord: a single "
            "one is given as [function]."
        )


def _seed(random_state: Any) -> int:
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31 - 1))
    check_parameter("seed", random_state)
    return int(random_state)
