r"""Reading a plan as one path through both recordings. [ours]

The rows of an entropic plan are soft and their largest entries jump. Where both recordings show the same thing from end
to end, the match is a path: it starts at (0, 0), ends at (N - 1, M - 1) and goes by steps (1, 1), (1, 2), (2, 1), so
the local tempo is 1/2 to 2 times (M - 1) / (N - 1). A path costs the sum of ``-weight log(T_ij / (p_i q_j))`` over the
cells that it enters, in proportion to the length of the steps. ``mean_path`` is the mean over all paths, each weighing
``exp(-cost)``: sums over paths forwards and backwards, O(NM).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from vasot_lib.errors import InputError

TINY = 1e-9
# Neighbouring frames share their context: each is about a tenth of an independent witness.
WEIGHT = 0.1
# For each of the two cells of a step (1, 2) or (2, 1): all paths are as long, and a constant cost changes nothing.
HALF = 0.75


def mean_path(
    plan: ArrayLike, mass_x: ArrayLike | None = None, mass_y: ArrayLike | None = None, weight: float = WEIGHT
) -> np.ndarray:
    """(N,) for each frame of X its match in Y, fractional, increasing by 1/2 to 2 times (M - 1) / (N - 1).

    Args:
        plan: (N, M) transport plan, or targets; a multiple of it gives the same path.
        mass_x: (N,) row masses that it was solved with; uniform where None.
        mass_y: (M,) column masses.
        weight: how much a frame counts; larger is closer to the single best path.

    Raises:
        InputError: not a matrix of at least 2 x 2 finite entries >= 0, all of them 0, a weight or masses that are not
            positive, masses of another length.
    """
    matrix = np.asarray(plan, dtype=np.float64)
    if matrix.ndim != 2 or min(matrix.shape) < 2 or not np.isfinite(matrix).all() or matrix.min() < 0:
        raise InputError(f"the plan has shape {matrix.shape}; expected (N, M), at least 2 x 2, finite and not negative")
    if not matrix.any():
        raise InputError("the plan is 0 everywhere; check the transport that it came from")
    if not 0.0 < weight < math.inf:
        raise InputError(f"weight is {weight}; it must be a positive number")
    n, m = matrix.shape
    p, q = _mass("mass_x", mass_x, n), _mass("mass_y", mass_y, m)
    cost = -np.log(matrix / matrix.sum() / (p[:, None] * q) + TINY)
    # Stretched to N columns, so that a step (1, 1) follows the straight line whatever the lengths.
    columns = np.linspace(0, m - 1, n)
    square = np.ascontiguousarray(weight * cost[:, np.round(columns).astype(int)])
    before, after = _sums(square, False), _sums(square, True)
    log_all = before[-1, -1]  # every path ends there
    # A path is in every row once: on a cell, or between two columns where a step (2, 1) passes the row. With both, the
    # mean is one of increasing paths, and so increasing itself.
    on = np.exp(before + after - log_all)
    passing = before[:-2, :-1] + after[2:, 1:] - HALF * (square[1:-1, 1:] + square[2:, 1:])
    over = np.exp(passing - log_all)
    found = on @ columns
    found[1:-1] += over @ (columns[:-1] + columns[1:]) / 2
    return found


def _mass(name: str, given: ArrayLike | None, n: int) -> np.ndarray:
    if given is None:
        return np.full(n, 1 / n)
    mass = np.asarray(given, dtype=np.float64)
    if mass.shape != (n,) or not ((mass > 0) & np.isfinite(mass)).all():
        raise InputError(f"{name} has shape {mass.shape}; expected ({n},) positive numbers")
    return mass


@njit(cache=True)
def _sums(cost: np.ndarray, onward: bool) -> np.ndarray:
    """(N, N) log of the summed weights of all paths from (0, 0) to each cell, or from each cell to the last one."""
    n = len(cost)
    total = np.full((n, n), -np.inf)
    way = np.empty(3)
    turn = -1 if onward else 1
    start = n - 1 if onward else 0
    total[start, start] = 0.0
    for i in range(start + turn, -1 if onward else n, turn):
        for j in range(n - 2, -1, -1) if onward else range(1, n):
            way[:] = -np.inf
            for k in range(3):
                a, b = (1, 1) if k == 0 else ((1, 2) if k == 1 else (2, 1))
                u, v = i - a * turn, j - b * turn
                if 0 <= u < n and 0 <= v < n:
                    # The cell that the step enters, and the one that it passes on the way.
                    x, y = (u, v) if onward else (i, j)
                    price = cost[x, y]
                    if k == 1:
                        price = HALF * (price + cost[x, y - 1])
                    elif k == 2:
                        price = HALF * (price + cost[x - 1, y])
                    way[k] = total[u, v] - price
            top = way.max()
            if top > -np.inf:
                total[i, j] = top + np.log(np.exp(way - top).sum())
    return total
