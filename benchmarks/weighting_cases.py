"""Data with a known answer, and what may change about them while the answer stays: for ``weighting.py``."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import known_answers
import numpy as np
import scipy.sparse as sp

N_TARGET, N_BACKGROUND = 1477, 650
Sides = tuple[Any, Any]


class Measured(NamedTuple):
    """Counts or grey values of both sides before any scaling, and what is known of each row of the target."""

    target: Any
    background: Any
    labels: Any


@dataclass(frozen=True)
class Change:
    """How the same thing could have been measured or prepared otherwise.

    Attributes
    ----------
    name : str
    thinned : collection of {"target", "background"}
        Sides of which a third of the counts was seen.
    kept : mapping of role to float
        Shares of their rows, drawn at random.
    scaled : mapping of role to float
        Factors of the values, after they were prepared.
    prepared : str
        Which of the ways of the case makes values of counts.
    """

    name: str
    thinned: Iterable[str] = ()
    kept: Mapping[str, float] = field(default_factory=dict)
    scaled: Mapping[str, float] = field(default_factory=dict)
    prepared: str = "usual"


@dataclass(frozen=True)
class Case:
    """Data, a loss, and the fits that are made of them.

    Attributes
    ----------
    name, loss : str
    n_components, sweeps : int
        The sweeps of the accelerated solver.
    measured : callable
        From a seed.
    ways : mapping of str to callable
        From counts of both sides to values of both; ``"usual"`` is among them.
    structure : callable
        From the labels of the target, what measures the answer in components and usages of the target.
    changes : tuple of Change
    """

    name: str
    loss: str
    n_components: int
    sweeps: int
    measured: Callable[[int], Measured]
    ways: Mapping[str, Callable[[Any, Any], Sides]]
    structure: Callable[[Any], Callable[[Any, Any], float]]
    changes: tuple[Change, ...]


AS_IT_IS = Change("as it is")
THINNED = (Change("background thinned", ["background"]), Change("target thinned", ["target"]))
SUBSAMPLED = (
    Change("a fifth of the background", kept={"background": 0.2}),
    Change("a third of the target", kept={"target": 1 / 3}),
)
SCALED = (Change("target halved", scaled={"target": 0.5}), Change("background halved", scaled={"background": 0.5}))
TOGETHER = (
    Change("target thinned, a fifth of the background", ["target"], {"background": 0.2}),
    Change("background thinned, a third of the target", ["background"], {"target": 1 / 3}),
    Change("both halved", scaled={"target": 0.5, "background": 0.5}),
)
USUAL_CHANGES = (AS_IT_IS, *THINNED, *SUBSAMPLED, *SCALED, *TOGETHER)
OWN_DEPTH = Change("background thinned, each side scaled to its own depth", ["background"], prepared="own depth")
EACH_IMAGE = Change("each image 0 to 1", prepared="each image")
GREY = Change("grey values as they are", prepared="grey")


def changed(case: Case, change: Change, seed: int) -> known_answers.Problem:
    """The problem that a case is, measured or prepared otherwise."""
    draw = np.random.default_rng([seed, 12])
    measured = case.measured(seed)
    labels, sides = measured.labels, {"target": measured.target, "background": measured.background}
    for role, share in change.kept.items():
        rows = np.sort(draw.permutation(sides[role].shape[0])[: round(share * sides[role].shape[0])])
        sides[role] = sides[role][rows]
        labels = labels[rows] if role == "target" else labels
    for role in change.thinned:
        sides[role] = _thinned(sides[role], draw)
    values = dict(zip(sides, case.ways[change.prepared](*sides.values()), strict=True))
    for role, factor in change.scaled.items():
        values[role] = values[role] * factor
    return known_answers.Problem(*map(_as_stored, values.values()), case.structure(labels))


def _as_stored(rows: Any) -> Any:
    """As their kind is kept: images dense, counts CSR."""
    mostly = sp.csr_array(rows)
    dense = mostly.nnz > mostly.shape[0] * mostly.shape[1] / 2
    return (mostly.toarray() if dense else mostly).astype(np.float32)


def _thinned(counts: Any, draw: np.random.Generator, share: float = 1 / 3) -> Any:
    rows = sp.csr_array(counts)
    rows.data = draw.binomial(rows.data.astype(np.int64), share)
    rows.eliminate_zeros()
    return rows


def _kang(seed: int) -> Measured:
    counts = known_answers.kang_cells()[0]
    target, background = known_answers.kang_sides(seed)
    return Measured(counts[target], counts[background], np.zeros(len(target)))


def _kept_genes(*sides: Any) -> Sides:
    target, background = (rows[:, known_answers.kang_cells()[2]] for rows in sides)
    return target, background


def _logged_together(target: Any, background: Any) -> Sides:
    rows = known_answers.logged(sp.csr_array(sp.vstack([target, background])))
    return _kept_genes(rows[: target.shape[0]], rows[target.shape[0] :])


def _logged_apart(target: Any, background: Any) -> Sides:
    return _kept_genes(known_answers.logged(target), known_answers.logged(background))


def _digits(seed: int) -> Measured:
    """Handwritten zeros and ones added to grass, as bright as a pixel can be; the background is other grass."""
    draw, folder = np.random.default_rng(seed), known_answers.DATA / "mnist_grass"
    with np.load(folder / "mnist70k.npz") as stored:
        images, digits = stored["X"], stored["y"]
    with np.load(folder / "grass1300.npz") as stored:
        grass = stored["X"]
    chosen = draw.choice(np.flatnonzero(np.isin(digits, (0, 1))), N_TARGET, replace=False)
    crops = draw.permutation(len(grass))
    under = grass[crops[N_BACKGROUND:][draw.integers(len(grass) - N_BACKGROUND, size=N_TARGET)]]
    return Measured(np.minimum(images[chosen].astype(int) + under, 255), grass[crops[:N_BACKGROUND]], digits[chosen])


def _dense(rows: Any) -> Any:
    return (rows.toarray() if sp.issparse(rows) else rows).astype(np.float32)


def _largest_one(*sides: Any) -> Sides:
    target, background = (_dense(rows) / rows.max() for rows in sides)
    return target, background


def _each_image(*sides: Any) -> Sides:
    target, background = (
        (rows - rows.min(axis=1, keepdims=True)) / np.ptp(rows, axis=1)[:, None] for rows in map(_dense, sides)
    )
    return target, background


def _as_they_are(target: Any, background: Any) -> Sides:
    return target, background


def _per_ten_thousand(*sides: Any) -> Sides:
    target, background = (known_answers.per_ten_thousand(_dense(rows)) for rows in sides)
    return target, background


def _interferon(_: Any) -> Callable[[Any, Any], float]:
    return known_answers.interferon_fraction


def _simulation(loss: str, beta: float, changes: tuple[Change, ...]) -> Case:
    logged = loss == "frobenius"
    return Case(
        name=f"simulation, {'log-normalised' if logged else 'counts'}" + (f", beta {beta:g}" if beta != 4 else ""),
        loss=loss,
        n_components=2,
        sweeps=60,
        measured=lambda seed: Measured(*known_answers.simulated_counts(seed, beta)),
        ways={"usual": _per_ten_thousand if logged else _as_they_are},
        structure=known_answers.agreement,
        changes=changes,
    )


_kang_case = partial(Case, n_components=10, sweeps=50, measured=_kang, structure=_interferon)
CASES = (
    _kang_case("Kang, counts", "kullback-leibler", ways={"usual": _kept_genes}, changes=USUAL_CHANGES),
    _kang_case(
        "Kang, log-normalised",
        "frobenius",
        ways={"usual": _logged_together, "own depth": _logged_apart},
        changes=(*USUAL_CHANGES, OWN_DEPTH),
    ),
    Case(
        name="digits on grass",
        loss="frobenius",
        n_components=2,
        sweeps=60,
        measured=_digits,
        ways={"usual": _largest_one, "each image": _each_image, "grey": _as_they_are},
        structure=known_answers.agreement,
        changes=(*USUAL_CHANGES, EACH_IMAGE, GREY),
    ),
    _simulation("frobenius", 4.0, USUAL_CHANGES),
    _simulation("kullback-leibler", 4.0, USUAL_CHANGES),
    Case(
        name="authors' demo",
        loss="frobenius",
        n_components=2,
        sweeps=60,
        measured=lambda _: Measured(*known_answers.demo_images()),
        ways={"usual": _as_they_are},
        structure=known_answers.agreement,
        changes=(AS_IT_IS,),
    ),
    _simulation("frobenius", 1.0, (AS_IT_IS,)),
    _simulation("frobenius", 16.0, (AS_IT_IS,)),
)
"""The first four are the data of the rule; the others are shown beside them."""
