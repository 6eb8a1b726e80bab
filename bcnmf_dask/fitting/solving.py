"""Which solver a fit has, by its name."""

from collections.abc import Callable, Iterable, Mapping

from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.solvers.accelerated import Accelerated
from bcnmf_dask.solvers.base import Solver
from bcnmf_dask.solvers.online import PASSES, Online, first_draw
from bcnmf_dask.solvers.published import Published


def solver_of(settings: Settings, inputs: Inputs, plan: ShardPlan) -> Solver:
    """The solver that the settings name, for these rows."""
    return _MAKERS[settings.solver](settings, inputs, plan)


def pieces_kept(solvers: Iterable[Solver]) -> int:
    """Pieces of rows, at most, that fits which begin draw from again and again."""
    return sum(solver.draw.pieces_kept for solver in solvers if solver.draw is not None)


def passes_of(max_iter: int) -> int:
    """Passes that the online solver makes over all rows."""
    return min(PASSES, max_iter)


def _published(settings: Settings, inputs: Inputs, _: ShardPlan) -> Solver:
    return Published(settings.loss, settings.effective_alpha(inputs), settings.effective_damping())


def _accelerated(settings: Settings, inputs: Inputs, plan: ShardPlan) -> Solver:
    alpha, damping = settings.effective_alpha(inputs), settings.effective_damping()
    return Accelerated(settings.loss, alpha, damping, inputs.n_rows, settings.seed, plan.block_rows)


def _online(settings: Settings, inputs: Inputs, plan: ShardPlan) -> Solver:
    first = first_draw(inputs.n_rows, settings.batch_size, settings.seed, plan.block_rows)
    return Online(settings.loss, settings.effective_alpha(inputs), first, passes_of(settings.max_iter))


_MAKERS: Mapping[str, Callable[[Settings, Inputs, ShardPlan], Solver]] = {
    "published": _published,
    "accelerated": _accelerated,
    "online": _online,
}
