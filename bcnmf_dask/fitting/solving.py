"""Which solver a fit has, by its name."""

from collections.abc import Callable, Iterable, Mapping

from bcnmf_dask.data.draws import Draw
from bcnmf_dask.data.inputs import Inputs
from bcnmf_dask.data.shards import ShardPlan
from bcnmf_dask.fitting.settings import Settings
from bcnmf_dask.solvers.accelerated import Accelerated
from bcnmf_dask.solvers.base import Solver
from bcnmf_dask.solvers.online import PASSES, Online, first_draw
from bcnmf_dask.solvers.published import Published


def solver_of(settings: Settings, alpha: float, inputs: Inputs, plan: ShardPlan) -> Solver:
    """The solver that the settings name, for these rows.

    Parameters
    ----------
    settings : Settings
    alpha : float
        Effective strength of the contrast.
    inputs : Inputs
    plan : ShardPlan
    """
    return _MAKERS[settings.solver](settings, alpha, inputs, plan)


def pieces_kept(settings: Iterable[Settings], inputs: Inputs, plan: ShardPlan) -> int:
    """Pieces of rows, at most, that fits which begin draw from again and again."""
    return sum(_first_draw(one, inputs, plan).pieces_kept for one in settings if one.solver == "online")


def passes_of(max_iter: int) -> int:
    """Passes that the online solver makes over all rows."""
    return min(PASSES, max_iter)


def _first_draw(settings: Settings, inputs: Inputs, plan: ShardPlan) -> Draw:
    """Of the online solver."""
    return first_draw(inputs.n_rows, settings.batch_size, settings.seed, plan.block_rows)


def _published(settings: Settings, alpha: float, _: Inputs, __: ShardPlan) -> Solver:
    return Published(settings.loss, alpha, settings.effective_damping())


def _accelerated(settings: Settings, alpha: float, inputs: Inputs, plan: ShardPlan) -> Solver:
    damping = settings.effective_damping()
    return Accelerated(settings.loss, alpha, damping, inputs.n_rows, settings.seed, plan.block_rows)


def _online(settings: Settings, alpha: float, inputs: Inputs, plan: ShardPlan) -> Solver:
    return Online(settings.loss, alpha, _first_draw(settings, inputs, plan), passes_of(settings.max_iter))


_MAKERS: Mapping[str, Callable[[Settings, float, Inputs, ShardPlan], Solver]] = {
    "published": _published,
    "accelerated": _accelerated,
    "online": _online,
}
