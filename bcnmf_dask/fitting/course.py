"""How far a fit goes, counted as people do: in sweeps or, where a record is only a batch, in data visits."""

from dataclasses import dataclass

from bcnmf_dask.fitting.solving import passes_of
from bcnmf_dask.fitting.stopping import SweepRecord


@dataclass(frozen=True)
class Course:
    """What is counted of a fit, and how much of it there will be.

    Attributes
    ----------
    step : {"sweep", "batch"}
        What most records are of.
    unit : {"sweep", "data visit"}
        What is counted.
    most : int
        Units at most; data visits are just as many.
    """

    step: str
    unit: str
    most: int

    def done(self, record: SweepRecord) -> float:
        """Units since the start of the fit."""
        return record.data_visits if self.unit == "data visit" else record.iteration

    def left(self, record: SweepRecord) -> float:
        """Units that may still come."""
        return self.most - self.done(record)

    @property
    def bound(self) -> str:
        """What a time left is: a fit that converges ends earlier; the last visit of the online solver takes longer."""
        return "at most" if self.unit == "sweep" else "about"

    def where(self, record: SweepRecord) -> str:
        """How far the fit has come, in words."""
        return f"{self.unit} {self.done(record):.4g}/{self.most}"


def sweeps(max_iter: int) -> Course:
    """Of a fit that sweeps until it has converged."""
    return Course("sweep", "sweep", max_iter)


def course_of(solver: str, max_iter: int) -> Course:
    """Of a fit by the name of its solver: the online one visits all rows once in each pass, and once at the end."""
    return Course("batch", "data visit", passes_of(max_iter) + 1) if solver == "online" else sweeps(max_iter)
