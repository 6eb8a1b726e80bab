"""Small non-negative quadratic programs, one for each row, by block principal pivoting.

Minimise ``x Q x / 2 - b x`` over ``x >= 0`` with Q positive semidefinite: the non-negative least squares problem of a
row, and the Newton model of other losses. Variables are exchanged between the free ones and those at zero until the
conditions of Karush, Kuhn and Tucker hold (Kim and Park, SIAM J. Sci. Comput. 33, 2011; the rule that makes it end is
that of Júdice and Pires). Everything is scaled to a unit diagonal, as entries may differ by 30 orders of magnitude.
"""

import math
from typing import Any

import numpy as np

from bcnmf_dask.kernels.compiling import compiler

_compile = compiler(error_model="numpy", fastmath={"reassoc", "contract"})

RIDGE = 1e-12
"""Added to the unit diagonal: components that are multiples of each other on a row share its usage, then."""
SMALLEST_PIVOT = 1e-14
PRECISION = 1e-12
"""Of the dual variables, relative to the largest scaled variable: below it a sign is rounding."""
BLOCK_EXCHANGES = 3
"""Without fewer wrong signs before variables are exchanged one at a time, which always ends."""
ROUNDS_PER_VARIABLE = 20


@_compile
def room_for(size: int) -> Any:
    """Scratch for programs of so many variables: matrices, then vectors, then the free ones and their numbers."""
    return (
        np.zeros((2, size, size)),
        np.zeros((3, size)),
        np.zeros(size, np.bool_),
        np.zeros(size, np.int64),
    )


@_compile
def solve(quadratic: Any, linear: Any, start: Any, solution: Any, room: Any) -> bool:
    """Set ``solution`` to the minimiser; say whether the conditions hold.

    Parameters
    ----------
    quadratic : float64 ndarray (size or more, size or more)
        A variable whose diagonal entry is zero stays zero.
    linear, start, solution : float64 ndarray (size or more,)
        Variables that are positive in ``start`` are free at first: the nearer to the solution, the fewer rounds.
    room : tuple
        From `room_for`.
    """
    (_, (scales, wrong, _), free, _) = room
    size = free.size
    for one in range(size):
        scales[one] = 1.0 / math.sqrt(quadratic[one, one]) if quadratic[one, one] > 0.0 else 0.0
        free[one] = start[one] > 0.0 and scales[one] > 0.0
    fewest, exchanges = size + 1, BLOCK_EXCHANGES
    for _ in range(ROUNDS_PER_VARIABLE * size + ROUNDS_PER_VARIABLE):
        _solve_free(quadratic, linear, solution, room)
        count = _find_wrong(quadratic, linear, solution, room)
        if count == 0:
            return True
        if count < fewest:
            fewest, exchanges = count, BLOCK_EXCHANGES
        else:
            exchanges -= 1
        last_only = exchanges < 0
        for one in range(size - 1, -1, -1):
            if wrong[one] > 0.0:
                free[one] = not free[one]
                if last_only:
                    break
    for one in range(size):
        solution[one] = max(solution[one], 0.0)
    return False


@_compile
def _solve_free(quadratic: Any, linear: Any, solution: Any, room: Any) -> None:
    """Solve for the free variables, all others at zero, by a Cholesky factorization of their scaled matrix."""
    (lower, _), (scales, _, scaled), free, numbers = room
    count = 0
    for one in range(free.size):
        solution[one] = 0.0
        if free[one]:
            numbers[count] = one
            count += 1
    for row in range(count):
        here = numbers[row]
        for column in range(row + 1):
            there = numbers[column]
            total = quadratic[here, there] * scales[here] * scales[there] if here != there else 1.0 + RIDGE
            for before in range(column):
                total -= lower[row, before] * lower[column, before]
            if row == column:
                lower[row, row] = math.sqrt(max(total, SMALLEST_PIVOT))
            else:
                lower[row, column] = total / lower[column, column]
        total = linear[here] * scales[here]
        for before in range(row):
            total -= lower[row, before] * scaled[before]
        scaled[row] = total / lower[row, row]
    for row in range(count - 1, -1, -1):
        total = scaled[row]
        for behind in range(row + 1, count):
            total -= lower[behind, row] * scaled[behind]
        scaled[row] = total / lower[row, row]
        solution[numbers[row]] = scaled[row] * scales[numbers[row]]


@_compile
def _find_wrong(quadratic: Any, linear: Any, solution: Any, room: Any) -> int:
    """Mark the variables whose sign, or whose gradient at zero, is wrong; return how many they are."""
    _, (scales, wrong, _), free, numbers = room
    size, n_free, largest, count = free.size, 0, 0.0, 0
    for one in range(size):
        if free[one]:
            n_free += 1
            largest = max(largest, abs(solution[one]) / scales[one])
    for one in range(size):
        wrong[one] = 0.0
        if free[one]:
            wrong[one] = 1.0 if solution[one] < 0.0 else 0.0
        elif scales[one] > 0.0:
            gradient = -linear[one]
            for place in range(n_free):
                gradient += quadratic[one, numbers[place]] * solution[numbers[place]]
            wrong[one] = 1.0 if gradient * scales[one] < -PRECISION * largest else 0.0
        if wrong[one] > 0.0:
            count += 1
    return count
