"""The usages that minimise the divergence of each row at a fixed basis, one row after the other, without the GIL.

Both problems are convex, and a row's answer depends on its values and the basis alone: every row starts from the same
kind of start and stops by its own conditions of Karush, Kuhn and Tucker. All is computed in float64.

Kullback-Leibler: a few expectation-maximisation steps, then projected Newton. The model of a Newton step is minimised
exactly (`bcnmf_dask.kernels.quadratic`), and so is the divergence along the way there. Frobenius: one such program.
Of a row only stored values are visited at which some component can be seen above the floor.
"""

from typing import Any

import numpy as np

from bcnmf_dask.kernels import quadratic
from bcnmf_dask.kernels.compiling import compiler
from bcnmf_dask.kernels.lanes import add_multiple, dot, load, store, zeros_like
from bcnmf_dask.kernels.quadratic import room_for

_compile = compiler(error_model="numpy")
_solve_quadratic = quadratic.solve

FIRST_STEPS = 5
"""Multiplicative steps before the first Newton step, which from far away would be cut short."""
UNSEEN = 1e-13
"""Below this share of the floor, all that a component can add to a reconstruction is left out."""
HALVINGS = 40
"""Evaluations at most of the slope along a Newton step."""
NEAR = 1e-3
"""Relative precision of the length of a step that is cut short."""


@_compile
def fit_kullback_leibler(
    rows: Any, basis: Any, sums: Any, floor: Any, highest: Any, limits: Any, usages: Any, report: Any, width: Any
) -> None:
    """Set ``usages`` to the minimisers of ``sum x log(x / r) - x + r`` with ``r = usages @ basis.T + floor``.

    Parameters
    ----------
    rows : tuple of arrays
        Pointers, indices and values of CSR rows; callers give int64 and float64, as compiling takes seconds.
    basis : float64 ndarray (n_features, padded)
    sums : float64 ndarray (n_components,)
        Of the columns of the basis.
    floor : float64 ndarray (n_features,)
        Positive.
    highest : float64 ndarray (n_features,)
        The largest entry of each row of the basis.
    limits : (float, int)
        Residual at which a row is done, and Newton steps at most.
    usages : float64 ndarray (n_rows, n_components)
    report : (int64 ndarray (n_rows,), float64 ndarray (n_rows,))
        Newton steps made, and the residual: a bound of what the divergence of the row lies above its minimum, as a
        share of the sum of the row.
    width : tuple
        See `bcnmf_dask.kernels.lanes.width_of`.
    """
    longest = 1
    for row in range(usages.shape[0]):
        longest = max(longest, rows[0][row + 1] - rows[0][row])
    n_components, padded = usages.shape[1], basis.shape[1]
    seen = np.zeros((longest, padded)), np.zeros((4, longest))
    state = np.zeros((4, padded)), np.zeros((padded, padded))
    room = room_for(n_components)
    for row in range(usages.shape[0]):
        count, total = _gather(rows, row, basis, floor, highest, seen, width)
        _begin(count, sums, seen, state, width)
        steps, residual = 0, _slope(count, total, sums, seen, state, width)
        while residual > limits[0] and steps < limits[1]:
            if not _newton_step(count, sums, seen, state, room, width):
                break
            steps += 1
            residual = _slope(count, total, sums, seen, state, width)
        for component in range(n_components):
            usages[row, component] = state[0][0, component]
        report[0][row], report[1][row] = steps, residual


@_compile
def _gather(rows: Any, row: int, basis: Any, floor: Any, highest: Any, seen: Any, width: Any) -> Any:
    """Copy the values at which a component can be seen, with floor and factors; return how many, and the row's sum."""
    indptr, indices, values = rows
    factors, (kept, floors, _, _) = seen
    total, count = 0.0, 0
    for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
        total += np.float64(values[place])
    for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
        value, feature = np.float64(values[place]), np.uintp(indices[place])
        if value > 0.0 and total * highest[feature] > UNSEEN * floor[feature]:
            store(factors, count, load(basis, feature, width))
            kept[count], floors[count] = value, floor[feature]
            count += 1
    return count, total


@_compile
def _begin(count: int, sums: Any, seen: Any, state: Any, width: Any) -> None:
    """Usages after the first steps, from ones that share what is seen evenly."""
    factors, (kept, floors, _, _) = seen
    vectors = state[0]
    even = kept[:count].sum() / sums.size
    for component in range(sums.size):
        vectors[0, component] = even / sums[component] if sums[component] > 0.0 else 0.0
    for _ in range(FIRST_STEPS):
        usages = load(vectors, 0, width)
        numerator = zeros_like(usages)
        for place in range(count):
            features = load(factors, place, width)
            numerator = add_multiple(numerator, kept[place] / (dot(usages, features) + floors[place]), features)
        store(vectors, 1, numerator)
        for component in range(sums.size):
            if sums[component] > 0.0:
                vectors[0, component] *= vectors[1, component] / sums[component]


@_compile
def _slope(count: int, total: float, sums: Any, seen: Any, state: Any, width: Any) -> float:
    """Set the reconstruction and the gradient at the usages; return the residual.

    With a gradient g, column sums s and usages h, the divergence is at most ``sum |g h| + sum(x) max(-g / s)`` above
    its minimum, as it is convex and no minimiser has ``s h`` above the sum of the row.
    """
    factors, (kept, floors, reconstruction, _) = seen
    vectors = state[0]
    usages = load(vectors, 0, width)
    weighted = zeros_like(usages)
    for place in range(count):
        features = load(factors, place, width)
        reconstruction[place] = dot(usages, features) + floors[place]
        weighted = add_multiple(weighted, kept[place] / reconstruction[place], features)
    store(vectors, 1, weighted)
    missing, excess = 0.0, 0.0
    for component in range(sums.size):
        gradient = sums[component] - vectors[1, component]
        vectors[1, component] = gradient
        if sums[component] > 0.0:
            missing = max(missing, -gradient / sums[component])
            excess += vectors[0, component] * abs(gradient)
    return missing + excess / total if total > 0.0 else 0.0


@_compile
def _newton_step(count: int, sums: Any, seen: Any, state: Any, room: Any, width: Any) -> bool:
    """Move the usages to the minimum along the way to that of the quadratic model; say whether they moved."""
    vectors, hessian = state
    n_components = sums.size
    _curve(count, n_components, seen, hessian, width)
    for component in range(n_components):
        linear = -vectors[1, component]
        for other in range(n_components):
            linear += hessian[component, other] * vectors[0, other]
        vectors[2, component] = linear
    _solve_quadratic(hessian, vectors[2], vectors[0], vectors[3], room)
    slope = 0.0
    for component in range(n_components):
        vectors[2, component] = vectors[3, component] - vectors[0, component]
        slope += sums[component] * vectors[2, component]
    length = _length(count, slope, seen, vectors, width)
    for component in range(n_components):
        moved = max(vectors[0, component] + length * vectors[2, component], 0.0)
        vectors[0, component] = vectors[3, component] if length == 1.0 else moved
    return length > 0.0


@_compile
def _curve(count: int, n_components: int, seen: Any, hessian: Any, width: Any) -> None:
    """Set the Hessian: the sum of ``x w w.T / r**2`` over values, four of them at once."""
    factors, (kept, _, reconstruction, weights) = seen
    nothing = zeros_like(load(hessian, 0, width))
    for component in range(n_components):
        store(hessian, component, nothing)
    for place in range(count):
        weights[place] = kept[place] / (reconstruction[place] * reconstruction[place])
    for place in range(0, count - 3, 4):
        first, second = load(factors, place, width), load(factors, place + 1, width)
        third, fourth = load(factors, place + 2, width), load(factors, place + 3, width)
        for component in range(n_components):
            line = load(hessian, component, width)
            line = add_multiple(line, weights[place] * factors[place, component], first)
            line = add_multiple(line, weights[place + 1] * factors[place + 1, component], second)
            line = add_multiple(line, weights[place + 2] * factors[place + 2, component], third)
            line = add_multiple(line, weights[place + 3] * factors[place + 3, component], fourth)
            store(hessian, component, line)
    for place in range(count // 4 * 4, count):
        first = load(factors, place, width)
        for component in range(n_components):
            line = load(hessian, component, width)
            store(hessian, component, add_multiple(line, weights[place] * factors[place, component], first))


@_compile
def _length(count: int, linear: float, seen: Any, vectors: Any, width: Any) -> float:
    """Where in (0, 1] the divergence along the step in ``vectors[2]`` is least; 0 if it does not fall.

    Its slope, ``linear - sum x d / (r + length d)``, rises along the way: safeguarded Newton finds its zero.
    """
    factors, (kept, _, reconstruction, change) = seen
    step = load(vectors, 2, width)
    for place in range(count):
        change[place] = dot(step, load(factors, place, width))
    below, above, length = 0.0, 1.0, 1.0
    for _ in range(HALVINGS):
        slope, curvature = linear, 0.0
        for place in range(count):
            relative = change[place] / (reconstruction[place] + length * change[place])
            slope -= kept[place] * relative
            curvature += kept[place] * relative * relative
        if slope <= 0.0 and length == 1.0:
            return 1.0
        if slope > 0.0:
            above = length
        else:
            below = length
        better = length - slope / curvature
        if not below < better < above:
            better = 0.5 * (below + above)
        near = abs(better - length) <= NEAR * length
        length = better
        if near:
            return length
    return below


@_compile
def fit_frobenius(rows: Any, basis: Any, gram: Any, square_sums: Any, usages: Any, report: Any, width: Any) -> None:
    """Set ``usages`` to the minimisers of ``sum (x - r)**2`` with ``r = usages @ basis.T``.

    Parameters as in `fit_kullback_leibler`; ``gram`` (n_components, padded) is that of the basis, ``square_sums`` its
    diagonal. Each row is one program. The residual is the largest violation of the conditions of Karush, Kuhn and
    Tucker, as a share of the norms of the row and of the column of the basis.
    """
    n_components, padded = usages.shape[1], basis.shape[1]
    vectors, room = np.zeros((3, padded)), room_for(n_components)
    indptr, indices, values = rows
    for row in range(usages.shape[0]):
        products, squares = zeros_like(load(basis, 0, width)), 0.0
        for place in range(np.uintp(indptr[row]), np.uintp(indptr[row + 1])):
            value = np.float64(values[place])
            squares += value * value
            products = add_multiple(products, value, load(basis, indices[place], width))
        store(vectors, 0, products)
        _solve_quadratic(gram, vectors[0], vectors[0], vectors[1], room)
        residual = 0.0
        for component in range(n_components):
            usages[row, component] = vectors[1, component]
            gradient = -vectors[0, component]
            for other in range(n_components):
                gradient += gram[component, other] * vectors[1, other]
            size = np.sqrt(squares * square_sums[component])
            wrong = abs(gradient) if vectors[1, component] > 0.0 else max(-gradient, 0.0)
            if size > 0.0:
                residual = max(residual, wrong / size)
        report[0][row], report[1][row] = 1, residual
