"""What the finished sweeps of a run gave is not lost with the error that ends it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import numpy as np

from bcnmf_dask.engine.limits import is_small_here
from bcnmf_dask.errors import BCNMFError, ClusterError, NameTakenError, Preempted
from bcnmf_dask.fitting.finishing import Finished, Session, with_held_names, with_usages, without_usages
from bcnmf_dask.fitting.loop import FitProgress
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.fitting.sharing import bytes_held
from bcnmf_dask.results.output import Output
from bcnmf_dask.results.record import FitResult, Status
from bcnmf_dask.updates.statistics import Evaluation

logger = logging.getLogger(__name__)

NOTE = "What the finished sweeps gave is the attribute result of this error: error.result.save(path) keeps it."


@dataclass
class Rescue:
    """The fits of a run, of which all can be had that they have come to.

    Attributes
    ----------
    session : Session
    fits : sequence of FitProgress
    settings : sequence of Settings
    outputs : sequence of Output or None
        Of each fit; the names of rows lie there from the beginning.
    over : list of Finished
        The fits, once their last visits have been made.
    results : list of FitResult
        Those that are where they shall be.
    """

    session: Session
    fits: Sequence[FitProgress]
    settings: Sequence[Settings]
    outputs: Sequence[Output | None]
    over: list[Finished] = field(default_factory=list)
    results: list[FitResult] = field(default_factory=list)

    def after(self, error: BaseException) -> list[FitResult]:
        """What each fit has come to that has finished a sweep.

        Parameters
        ----------
        error : BaseException
            That ends the run.
        """
        kept = [*self.results, *(error.results if isinstance(error, NameTakenError) else ())]
        rest = [one for one in range(len(kept), len(self.fits)) if self.over or self.fits[one].history]
        return kept + [self._rescued(one, error) for one in rest]

    def _rescued(self, number: int, error: BaseException) -> FitResult:
        fit = self.fits[number]
        result = without_usages(self.session, self.over[number] if self.over else self._interrupted(number, error))
        bare = replace(result, row_names=dict.fromkeys(result.sides))
        if not isinstance(error, Exception) or isinstance(error, Preempted | ClusterError):
            return bare  # whoever stops a fit does not want to wait, and workers that are lost answer late
        if not fit.stamp:
            return bare  # the online solver fits usages at its end
        nbytes = bytes_held(self.session.inputs, fit.spec.n_components, self.session.dtype)
        if self.session.inputs.lazy and not is_small_here(nbytes):
            return bare
        try:
            return self._with_names(with_usages(result, self.session.inputs, self.session.engine, fit), number)
        except Exception as another:  # such as the one that ended the run
            logger.info("Of %s, usages cannot be had: %s", fit.key, another)
            return bare

    def _interrupted(self, number: int, error: BaseException) -> Finished:
        """A fit of which nothing was measured after its last sweep."""
        fit, n_components = self.fits[number], self.fits[number].spec.n_components
        fit.status = Status(
            "interrupted",
            f"An error ({type(error).__name__}) ended the fit after {len(fit.history)} sweeps, to which the components "
            "belong. Nothing else was measured of them: give them to init to go on.",
            False,
        )
        unknown = Evaluation(
            divergence=np.nan,
            usage_sum=np.full(n_components, np.nan),
            usage_gram=np.full((n_components, n_components), np.nan),
            overlap=np.nan,
            feature_sums=np.full(self.session.inputs.n_features, np.nan),
            feature_rows=np.full(self.session.inputs.n_features, np.nan),
            explained=np.full(n_components + 1, np.nan),
            carriers=np.full(n_components, np.nan),
        )
        return Finished(fit, self.settings[number], dict.fromkeys(self.session.inputs.n_rows, unknown), {})

    def _with_names(self, result: FitResult, number: int) -> FitResult:
        """See `with_held_names`, where names come from a file."""
        output = self.outputs[number]
        if not self.session.inputs.lazy or output is None:
            return result
        return with_held_names(result, output)


@contextmanager
def rescued(rescue: Rescue) -> Iterator[None]:
    """Give an error that ends a run what its fits have come to, as ``results`` and ``result``.

    Parameters
    ----------
    rescue : Rescue
    """
    try:
        yield
    except BaseException as error:
        try:
            results = rescue.after(error)
        except Exception:  # it must not hide the one that is on its way
            logger.warning("What the finished sweeps gave could not be kept.", exc_info=True)
            raise error from None
        if results:
            _attach(error, results)
        raise


def _attach(error: BaseException, results: Sequence[FitResult]) -> None:
    with suppress(AttributeError, TypeError):  # of errors that take no attributes
        error.results = tuple(results)  # type: ignore[attr-defined]
        if not isinstance(error, BCNMFError):
            error.result = results[0]  # type: ignore[attr-defined]
        if not isinstance(error, Preempted | NameTakenError) and NOTE not in getattr(error, "__notes__", ()):
            error.add_note(NOTE)
