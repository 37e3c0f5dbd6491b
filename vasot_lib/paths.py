r"""Reading one path from a matrix: the dynamic programmes of the kit, each O(NM).

The matrix has a *cell* (i, j) for every frame i of X and every frame (or action) j of Y, and each cell has a cost (or a
score, which is a negative cost). A *path* is a sequence of cells, each reached from the one before by one of a few
*steps*, and its cost is the sum over its cells. The best path to a cell continues the best path to one of the cells
from which a step leads there. So one pass over the matrix finds the best of all paths:

    function         a cell (i, j) is reached from                  what is computed
    :func:`dtw`      (i - 1, j), (i, j - 1), (i - 1, j - 1)         the path of least cost
    :func:`viterbi`  (i - 1, j), or (i - 1, k) at an extra cost     the path of highest score

Both are textbook algorithms. Soft-DTW is in :mod:`vasot_kit.methods.soft_dtw`, paths with frames that have no partner
are in :mod:`vasot_kit.film_matching.pairing`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

from vasot_lib.checks import NotNegative, check_value, whole_numbers
from vasot_lib.errors import InputError, unknown_name

LARGEST = 1e100  # feature whose squares still add up
METRICS = ("cosine", "euclidean", "sqeuclidean", "cityblock", "correlation", "chebyshev")


def dtw(x: np.ndarray, y: np.ndarray, metric: str = "cosine") -> np.ndarray:
    """Dynamic time warping: the frame of Y that each frame of X meets on the cheapest path from first to last cell.

    The least cost of a path to cell (i, j) is ``D[i, j] = c[i, j] + min(D[i-1, j], D[i-1, j-1], D[i, j-1])``. A whole
    row is computed at once. A path enters row i at some column k and then moves along it; with S[j] the sum of c[i] up
    to column j and u[k] = min(D[i-1, k], D[i-1, k-1]), ``D[i, j] = S[j] + min over k <= j of (u[k] - S[k] + c[i, k])``.

    Args:
        x: (N, D) features.
        y: (M, D) features.
        metric: one of ``METRICS``, as in ``scipy.spatial.distance.cdist``. With ``cosine`` an all-zero row costs 1.

    Returns:
        (N,) indices into Y, non-decreasing; where a frame of X meets several frames of Y, the middle one.

    Raises:
        InputError: not two matrices of the same width with at least one row, or NaN or infinite values.

    >>> x, y = np.array([[0.0], [1.0], [5.0]]), np.array([[0.0], [0.0], [1.0], [5.0]])
    >>> dtw(x, y, metric="euclidean").tolist()  # the first frame of X meets frames 0 and 1 of Y
    [0, 2, 3]
    """
    x, y = table("x", x), table("y", y)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in (len(x), len(y)):
        raise InputError(f"dtw needs sequences (N, D) and (M, D), got {x.shape} and {y.shape}")
    if not max(np.abs(x).max(initial=0), np.abs(y).max(initial=0)) <= LARGEST:  # false for NaN
        raise InputError(f"dtw got NaN, infinite features or some beyond {LARGEST:g}; clean or drop those frames")
    cost = np.nan_to_num(scipy.spatial.distance.cdist(x, y, metric), nan=1.0)
    n, m = cost.shape
    total = np.empty((n, m))
    total[0] = cost[0].cumsum()
    for i in range(1, n):
        above = np.minimum(total[i - 1], np.concatenate([[np.inf], total[i - 1, :-1]]))  # u
        along = cost[i].cumsum()  # S
        total[i] = along + np.minimum.accumulate(above - along + cost[i])
    # Back from the last cell, always to the cheapest of the cells from which a step leads here.
    first, last = np.full(n, m), np.zeros(n, dtype=int)
    i, j = n - 1, m - 1
    while i >= 0:
        first[i], last[i] = min(first[i], j), max(last[i], j)
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        inside = [step for step in steps if min(step) >= 0]
        i, j = min(inside, key=lambda step: total[step]) if inside else (-1, -1)
    return (first + last) // 2


def viterbi(scores: ArrayLike, switch: float = 0.0, order: Sequence[int] | None = None) -> np.ndarray:
    """The labels z of highest score, ``max over z of sum_i scores[i, z_i] - switch * (number of changes of z)``.

    Args:
        scores: (N, K) log-probability of each action at each frame, e.g. the logarithm of a plan's rows; -inf where an
            action is impossible, which it gets at as few frames as the order allows.
        switch: cost of every change of action, in the unit of the scores; 0 without an order gives each frame's argmax.
        order: the actions in the order in which they occur, each for at least one frame (a transcript, SPEC section
            10); None lets every action follow every other.

    Returns:
        (N,) actions.

    Raises:
        InputError: scores that are not (N, K) or hold NaN, a negative switch cost, a transcript longer than N frames
            or with an unknown action.

    >>> scores = np.log([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    >>> viterbi(scores).tolist(), viterbi(scores, switch=1.0).tolist(), viterbi(scores, order=[0, 1, 0]).tolist()
    ([0, 1, 0, 1], [0, 0, 0, 1], [0, 1, 0, 0])
    """
    given = table("scores", scores)
    if given.ndim != 2 or 0 in given.shape or np.isnan(given).any():
        raise InputError(f"the scores have shape {given.shape}; expected (frames, actions) without NaN")
    check_value("switch", switch, NotNegative)
    n, k = given.shape
    # A finite number for -inf, that nothing else outweighs: sums of -inf do not tell one path from another.
    finite = np.where(np.isfinite(given), given, 0.0)
    given = np.where(given == -np.inf, finite.min() - n * (np.ptp(finite) + switch) - 1.0, given)
    if order is not None:
        order = whole_numbers("order", order).tolist()
        if not 0 < len(order) <= n or not set(order) <= set(range(k)):
            raise InputError(f"order has {len(order)} actions {order}; expected 1 to {n} numbers below {k}")
        path = _best_path(given[:, order], switch, in_order=True)
        return np.asarray(order)[path]
    return _best_path(given, switch, in_order=False)


def _best_path(table: np.ndarray, switch: float, in_order: bool) -> np.ndarray:
    """(N,) the best states through an (N, S) table of scores.

    In order, a path starts in the first state, ends in the last, and each step stays or moves to the next state.
    Otherwise a step stays or moves to any state, of which the best so far is the only one worth coming from.
    """
    n, s = table.shape
    total = table[0].copy()
    if in_order:
        total[1:] = -np.inf
    came_from = np.empty((n, s), dtype=int)
    states = np.arange(s)
    for i in range(1, n):
        if in_order:
            source = states - 1
            moved = np.append(-np.inf, total[:-1]) - switch
        else:
            source = np.full(s, total.argmax())
            moved = np.full(s, total.max() - switch)
        stays = total >= moved
        came_from[i] = np.where(stays, states, source)
        total = np.where(stays, total, moved) + table[i]
    path = np.empty(n, dtype=int)
    path[-1] = s - 1 if in_order else total.argmax()
    for i in range(n - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def table(name: str, given: ArrayLike) -> np.ndarray:
    """An array of numbers; anything else is refused by name."""
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {str(error).splitlines()[0]}; expected an array of numbers") from error
