r"""One path through a matrix: the dynamic programmes of the kit, each O(NM).

- :func:`dtw`: the cheapest monotone path between two sequences of features (dynamic time warping).
- :func:`soft_dtw`: the differentiable cost of such a path, a soft minimum over all of them. It is LAV's loss.
- :func:`viterbi`: the best labelling of the frames of one recording from a score per frame and action.
- :func:`mean_path`: the mean over all increasing paths through a transport plan, which reads an alignment from it.

The first three are textbook recursions. ``mean_path`` is this project's own and is explained where it is defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.autograd.function import once_differentiable

from vasot_lib.checks import Positive, check_value
from vasot_lib.errors import InputError

TINY = 1e-9
# Neighbouring frames share their context: each is about a tenth of an independent witness.
WEIGHT = 0.1
# For each of the two cells of a step (1, 2) or (2, 1): all paths are as long, and a constant cost changes nothing.
HALF = 0.75


def dtw(x: np.ndarray, y: np.ndarray, metric: str = "cosine") -> np.ndarray:
    """Dynamic time warping: the frame of Y for each frame of X on the cheapest monotone path from end to end.

    Where the path pairs a frame of X with several frames of Y, the middle one is given.
    Own lines, as the libraries for it bring a compiler or numba along:
    ``D[i, j] = c[i, j] + min(D[i-1, j], D[i-1, j-1], D[i, j-1])``, one row at a time, because the step along the row is
    a running minimum of ``m - S`` (m: best of the row above, S: cost of the row so far). O(NM) time and memory.

    Args:
        x: (N, D).
        y: (M, D).
        metric: of ``scipy.spatial.distance.cdist``. With ``cosine`` an all-zero row costs 1 everywhere.

    Returns:
        (N,) indices into Y, non-decreasing.

    Raises:
        InputError: not two matrices of the same width with at least one row, or NaN or infinite values.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in (len(x), len(y)):
        raise InputError(f"dtw needs sequences (N, D) and (M, D), got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("dtw got NaN or infinite features; clean or drop those frames")
    cost = np.nan_to_num(cdist(x, y, metric), nan=1.0)
    n, m = cost.shape
    total = np.empty((n, m))
    total[0] = cost[0].cumsum()
    for i in range(1, n):
        above = np.minimum(total[i - 1], np.concatenate([[np.inf], total[i - 1, :-1]]))
        along = cost[i].cumsum()
        total[i] = along + np.minimum.accumulate(above - along + cost[i])
    first, last = np.full(n, m), np.zeros(n, dtype=int)
    i, j = n - 1, m - 1
    while i >= 0:
        first[i], last[i] = min(first[i], j), max(last[i], j)
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        inside = [step for step in steps if min(step) >= 0]
        i, j = min(inside, key=lambda step: total[step]) if inside else (-1, -1)
    return (first + last) // 2


def soft_dtw(cost: Tensor, gamma: float, lengths_x: Tensor | None = None, lengths_y: Tensor | None = None) -> Tensor:
    """(B,) soft-DTW values; as gamma goes to 0, the cost of the cheapest path from the first pair to the last.

    A value can be negative, also for costs that are not: a softmin lies below the minimum.

    Args:
        cost: (B, N, M), finite where frames are real.
        gamma: smoothing, > 0, in units of the cost.
        lengths_x: (B,) real rows of each sample, 1 to N; all where None.
        lengths_y: (B,) real columns of each sample, 1 to M; all where None.

    Raises:
        InputError: cost is no batch of matrices, or gamma is not positive.
    """
    if cost.ndim != 3 or 0 in cost.shape[1:]:
        raise InputError(f"cost has shape {tuple(cost.shape)}; soft_dtw needs (B, N, M) with N, M >= 1")
    check_value("gamma", gamma, Positive)
    sizes = (
        torch.full((len(cost),), size, device=cost.device) if lengths is None else lengths.to(cost.device)
        for lengths, size in ((lengths_x, cost.shape[1]), (lengths_y, cost.shape[2]))
    )
    return _SoftDTW.apply(cost, gamma, *sizes)


class _SoftDTW(torch.autograd.Function):
    # All in score = - value / gamma, where softmin is log-add-exp and a cell that does not exist scores -inf.

    @staticmethod
    def forward(ctx: Any, cost: Tensor, gamma: float, n: Tensor, m: Tensor) -> Tensor:
        rows, columns = (torch.arange(size, device=cost.device) for size in cost.shape[1:])
        real = (rows < n[:, None]).unsqueeze(2) & (columns < m[:, None]).unsqueeze(1)
        own = _skewed((-cost / gamma).masked_fill(~real, -torch.inf))  # (K, B, N)
        before = torch.empty_like(own)  # log-add-exp over the three cells that a cell is reached from
        # Two diagonals and one row stand before the first; the cell (-1, -1) is where every path starts.
        score = own.new_full((len(own) + 2, len(cost), cost.shape[1] + 1), -torch.inf)
        score[0, :, 0] = 0.0
        # Views are made once for all diagonals: a step is three calls.
        left, up, corner, here = (score[side].unbind() for side in (*_FROM, _HERE))
        for k, (so_far, cost_k) in enumerate(zip(before.unbind(), own.unbind(), strict=True)):
            torch.logaddexp(left[k], up[k], out=so_far)
            torch.logaddexp(so_far, corner[k], out=so_far)
            torch.add(so_far, cost_k, out=here[k])
        ctx.save_for_backward(score, before, n, m)
        return -gamma * score[n + m, torch.arange(len(cost), device=cost.device), n]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        score, before, n, m = ctx.saved_tensors
        # Probabilities of the three ways into a cell; -inf - -inf where there is none.
        left, up, corner = ((score[side] - before).exp_().nan_to_num_(0.0).unbind() for side in _FROM)
        visits = torch.zeros_like(score)
        samples = torch.arange(len(n), device=n.device)
        visits[n + m, samples, n] = gradient
        to_left, to_up, to_corner, here = (visits[side].unbind() for side in (*_FROM, _HERE))
        for k in range(len(before) - 1, -1, -1):
            # Every way back is a place of its own among the earlier cells.
            to_left[k].addcmul_(here[k], left[k])
            to_up[k].addcmul_(here[k], up[k])
            to_corner[k].addcmul_(here[k], corner[k])
        return _straight(visits[_HERE]), None, None, None


# Among scores with two diagonals and one row before the first: cells (i, j) of all diagonals, and for each of them the
# cells (i, j - 1), (i - 1, j), (i - 1, j - 1).
_ALL = slice(None)
_HERE = slice(2, None), _ALL, slice(1, None)
_FROM = (
    (slice(1, -1), _ALL, slice(1, None)),
    (slice(1, -1), _ALL, slice(None, -1)),
    (slice(None, -2), _ALL, slice(None, -1)),
)


def _skewed(matrix: Tensor) -> Tensor:
    """(B, N, M) to (N + M - 1, B, N): entry (i, j) comes to diagonal i + j, row i; -inf beside the matrix."""
    batch, n, m = matrix.shape
    flat = F.pad(matrix, (0, n), value=-torch.inf).flatten(1)[:, :-n]
    return flat.view(batch, n, n + m - 1).permute(2, 0, 1).contiguous()


def _straight(diagonals: Tensor) -> Tensor:
    """What :func:`_skewed` was made from."""
    steps, batch, n = diagonals.shape
    flat = F.pad(diagonals.permute(1, 2, 0).flatten(1), (0, n))
    return flat.view(batch, n, steps + 1)[:, :, : steps + 1 - n]


def viterbi(scores: ArrayLike, switch: float = 0.0, order: Sequence[int] | None = None) -> np.ndarray:
    """The labelling of best total score: ``max sum_i scores[i, z_i] - switch * (number of changes)``.

    Args:
        scores: (N, K) log-probabilities of each action at each frame, e.g. the log of a plan's rows.
        switch: cost in nats of every change of action; 0 without an order gives the argmax of every frame.
        order: actions that occur one after another, each for at least one frame (a transcript, SPEC section 10);
            None lets every action follow every other.

    Returns:
        (N,) actions.

    Raises:
        InputError: scores that are not (N, K) or hold NaN, a negative switch cost, a transcript longer than N frames
            or with an unknown action.
    """
    table = np.asarray(scores, dtype=float)
    if table.ndim != 2 or np.isnan(table).any():
        raise InputError(f"the scores have shape {table.shape}; expected (frames, actions) without NaN")
    if not switch >= 0:
        raise InputError(f"switch is {switch}; a change of action costs 0 or more")
    n, k = table.shape
    if order is not None:
        if not 0 < len(order) <= n or not set(order) <= set(range(k)):
            raise InputError(f"order has {len(order)} actions {list(order)}; expected 1 to {n} numbers below {k}")
        path = _best_path(table[:, list(order)], switch, in_order=True)
        return np.asarray(order)[path]
    return _best_path(table, switch, in_order=False)


def _best_path(table: np.ndarray, switch: float, in_order: bool) -> np.ndarray:
    """States through the (N, S) table: stay, or move to the next one (in order) or to any other."""
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
    check_value("weight", weight, Positive)
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
