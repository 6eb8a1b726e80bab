"""The loop over sweeps: sweep, update the bases, record, stop. It knows neither Dask nor files."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import beside
from bcnmf_dask.data.draws import Draw
from bcnmf_dask.engine.base import Engine, FitSpec, Times
from bcnmf_dask.engine.orders import Order, Sample
from bcnmf_dask.engine.threads import one_blas_thread
from bcnmf_dask.engine.tree import Record
from bcnmf_dask.errors import NumericalError
from bcnmf_dask.fitting.stopping import Convergence, SweepRecord
from bcnmf_dask.results.record import Status
from bcnmf_dask.solvers.base import Solver, State
from bcnmf_dask.updates.initialise import normalise
from bcnmf_dask.updates.losses import LOSSES
from bcnmf_dask.updates.multiplicative import Steps
from bcnmf_dask.updates.statistics import Role

Callback = Callable[[SweepRecord], bool | None]

CONVERGED = Status("converged", "Basis and divergences no longer change.", True)
STOPPED = Status("stopped", "A callback ended the fit.", False)
EXHAUSTED = Status(
    "max_iter",
    "The fit was still changing when max_iter was reached: raise max_iter, or tol if this is precise enough.",
    False,
)
PASSED = Status(
    "passed",
    "The online solver has made its passes over all rows, and fitted the usages to the components.",
    True,
)
UNFINISHED = Status(
    "unfinished",
    "The usages of {} rows did not get to their minimum (largest residual {:.1e}): fit and transform in "
    "dtype='float64', or scale the data so that its largest value is about 1.",
    False,
)
FITTED = Status("fitted", "The usages minimise the divergence of each row at the components of the fit.", True)


@dataclass
class FitProgress:
    """One fit between two sweeps.

    Attributes
    ----------
    spec : FitSpec
    solver : Solver
    alpha : float
        Effective strength of the contrast.
    max_iter : int
    convergence : Convergence
    basis : ndarray (n_features, n_components)
        Normalised, in the dtype of the run; on the device of this process once its rows are there.
    scales : ndarray (n_components,), float64
    stamp : int
        Sweeps its usages have seen.
    history : list of SweepRecord
    floor : ndarray (n_features,) or None
        Of reconstructions, see `bcnmf_dask.updates.basis.Basis`; in the dtype of the run.
    status : Status or None
        None while the fit runs.
    """

    spec: FitSpec
    solver: Solver
    alpha: float
    max_iter: int
    convergence: Convergence
    basis: NDArray[Any]
    scales: NDArray[Any]
    stamp: int = 0
    history: list[SweepRecord] = field(default_factory=list)
    floor: NDArray[Any] | None = None
    status: Status | None = None
    _stopped: bool = False

    @property
    def key(self) -> str:
        """Names the fit among those of a run."""
        return self.spec.key

    def order(self) -> Order:
        """What the next sweep needs to know."""
        return Order(self.basis, self.solver.steps, self.key, self.stamp, self.scales, floor=self.floor)

    def refitted(self, record: Record) -> None:
        """Take note that all usages were fitted to the basis as it is, as near as the `Optimality` of roles says."""
        self.scales, self.stamp = np.ones_like(self.scales), self.stamp + 1
        unfinished = int(sum(one.unfinished for one in record.values()))
        if unfinished and not self.solver.learns:
            worst = max(one.largest_residual for one in record.values())
            self.status = UNFINISHED._replace(sentence=UNFINISHED.sentence.format(unfinished, worst))

    def sample(self, draw: Draw, steps: Steps, *, goes_on: bool = False) -> Sample:
        """What a visit of some rows needs to know."""
        return Sample(self.basis, steps, self.spec.loss, draw, goes_on, floor=self.floor)

    def advance(self, record: Record, times: Times) -> None:
        """Take the sums of a visit: update the basis, write the history."""
        started, draw = time.perf_counter(), self.solver.draw
        of = 1 if draw is None else draw.of
        basis = self._exact_basis(record)
        # What overflows is refused in words below; small products wait for threads of BLAS that others keep busy.
        with np.errstate(all="ignore"), one_blas_thread():
            divergence = LOSSES[self.spec.loss].divergence
            divergences = {
                role: divergence(sums, basis) * (1.0 if draw is None else draw.weight(role))
                for role, sums in record.items()
            }
            new, scales = normalise(self.solver.next_basis(basis, record))
            change = float(np.linalg.norm(new - basis)) / max(float(np.linalg.norm(basis)), np.finfo(float).tiny)
        self._refuse_non_finite(change, *divergences.values())
        self.basis = new.astype(self.basis.dtype)
        if draw is None:
            self.scales, self.stamp = scales, self.stamp + 1
        swept = SweepRecord(
            iteration=len(self.history) + 1,
            data_visits=self._visits_after(of),
            target_divergence=divergences.get("target", np.nan),
            background_divergence=divergences.get("background", np.nan),
            objective=objective(divergences, self.alpha),
            basis_change=change,
            **_split(times, time.perf_counter() - started),
        )
        self.history.append(swept)

    def _exact_basis(self, record: Record) -> NDArray[np.float64]:
        """In float64, where the sums are: to fetch them from a device may take as long as a sweep there."""
        where = next((sums.cross for sums in record.values()), self.basis)
        exact: NDArray[np.float64] = beside(self.basis, where).astype(np.float64)
        return exact

    @property
    def goes_on(self) -> bool:
        """Whether another sweep may follow: else it is too late to look."""
        return len(self.history) < self.max_iter

    @property
    def data_visits(self) -> float:
        """Of all rows, so far."""
        return self.history[-1].data_visits if self.history else 0.0

    def _visits_after(self, of: int) -> float:
        """One more visit, of one in ``of`` rows: thirds add up to whole ones."""
        visits = self.data_visits + 1 / of
        parts = round(visits * of)
        return parts / of if abs(visits * of - parts) < 1e-6 else visits

    def look_back(self, record: Record, times: Times, of: int) -> None:
        """Take the sums of the one in ``of`` rows that the solver wanted to look at before the next visit."""
        started = time.perf_counter()
        basis = self._exact_basis(record)
        with np.errstate(all="ignore"), one_blas_thread():
            chosen = self.solver.judge(basis, record)
        if chosen is not basis:
            self.basis, self.scales = chosen.astype(self.basis.dtype), np.ones_like(self.scales)
            self.convergence.restart()
        last, split = self.history[-1], _split(times, time.perf_counter() - started)
        spent = {name: getattr(last, name) + seconds for name, seconds in split.items()}
        self.history[-1] = replace(last, data_visits=self._visits_after(of), **spent)

    def go_on(
        self, basis: NDArray[Any], scales: NDArray[Any], stamp: int, history: Sequence[SweepRecord], state: State
    ) -> None:
        """Take up a fit where it was saved."""
        self.basis, self.scales, self.stamp = basis, scales, stamp
        self.solver.go_on(state)
        for swept in history:
            self.history.append(swept)
            self.judge()

    def stop(self) -> None:
        """End the fit as soon as its usages match its basis."""
        self._stopped = True
        if self.status is None and self.solver.stop():
            self.status = STOPPED

    def judge(self) -> None:
        """See if the fit is over."""
        if self.solver.done is not None:
            self.status = (STOPPED if self._stopped else PASSED) if self.solver.done else None
        elif self.convergence.reached(self.history[-1]):
            self.status = CONVERGED
        elif len(self.history) >= self.max_iter:
            self.status = EXHAUSTED

    def _refuse_non_finite(self, *numbers: float) -> None:
        if not np.isfinite(numbers).all():
            raise NumericalError(
                f"The numbers of the fit stopped being finite at sweep {len(self.history) + 1}. Expected finite "
                "divergences: use dtype='float64', damping=0.5, a smaller alpha, or scale the data down."
            )


def objective(divergences: Mapping[Role, float], alpha: float) -> float:
    """Target divergence minus ``alpha`` times that of the background, where there is one."""
    return divergences.get("target", np.nan) - alpha * divergences.get("background", 0.0)


def run_fits(
    engine: Engine,
    fits: Sequence[FitProgress],
    callbacks: Sequence[Callback],
    after_sweep: Callable[[Sequence[FitProgress]], None] = lambda _: None,
) -> None:
    """Sweep until every fit is over. Rows are visited once per sweep for all fits that still run.

    Parameters
    ----------
    engine : Engine
        Loaded, every fit started.
    fits : sequence of FitProgress
        Changed in place.
    callbacks : sequence of callable
        Called after each sweep with the record of each fit; True ends that fit.
    after_sweep : callable
        Called after each sweep with all fits, between two sweeps: where they can be saved.

    Raises
    ------
    NumericalError
        If a divergence or a basis is no longer finite.
    """
    while running := [fit for fit in fits if fit.status is None]:
        sweeping = [fit for fit in running if fit.solver.draw is None]
        passing = [(fit, draw) for fit in running if (draw := fit.solver.draw) is not None]
        _sweep(engine, sweeping)
        _pass_over(engine, passing)
        _look(engine, [(fit, look) for fit in running if fit.goes_on and (look := fit.solver.look()) is not None])
        for fit in running:
            fit.judge()
            ended = [callback(fit.history[-1]) for callback in callbacks]
            if any(ended):
                fit.stop()
        after_sweep(fits)


def _sweep(engine: Engine, fits: Sequence[FitProgress]) -> None:
    if fits:
        records, times = engine.sweep([fit.order() for fit in fits])
        for fit, record in zip(fits, records, strict=True):
            fit.advance(record, times)


def _pass_over(engine: Engine, batches: Sequence[tuple[FitProgress, Draw]]) -> None:
    if batches:
        records, times = engine.sample(
            [fit.sample(draw, cast(Steps, fit.solver.steps), goes_on=True) for fit, draw in batches]
        )
        for (fit, _), record in zip(batches, records, strict=True):
            fit.advance(record, times)


def _look(engine: Engine, looks: Sequence[tuple[FitProgress, tuple[Draw, Steps]]]) -> None:
    if looks:
        records, times = engine.sample([fit.sample(*look) for fit, look in looks])
        for (fit, (draw, _)), record in zip(looks, records, strict=True):
            fit.look_back(record, times, draw.of)


def _split(times: Times, driver: float) -> dict[str, float]:
    named = {f"{name}_seconds": seconds for name, seconds in times._asdict().items()} | {"driver_seconds": driver}
    # Reading is part of computing.
    return {"seconds": sum(named.values()) - times.read, **named}
