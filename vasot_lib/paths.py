r"""Reading one path from a matrix: the dynamic programmes of the kit, each O(NM).

The matrix has a *cell* (i, j) for every frame i of X and every frame (or action) j of Y, and each cell has a cost (or a
score, which is a negative cost). A *path* is a sequence of cells, each reached from the one before by one of a few
*steps*, and its cost is the sum over its cells. The best path to a cell continues the best path to one of the cells
from which a step leads there. So one pass over the matrix finds the best of all paths, or adds all of them up:

    function           a cell (i, j) is reached from                  what is computed
    :func:`dtw`        (i - 1, j), (i, j - 1), (i - 1, j - 1)         the path of least cost
    :func:`soft_dtw`   the same                                       a differentiable minimum of the cost
    :func:`viterbi`    (i - 1, j), or (i - 1, k) at an extra cost     the path of highest score

All are textbook algorithms. Paths with frames that have no partner are in :mod:`vasot_kit.own_films.pairing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.autograd.function import once_differentiable

from vasot_lib.checks import FLOATS, NotNegative, Weight, check_tensors, check_value, whole_numbers
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
    cost = np.nan_to_num(cdist(x, y, metric), nan=1.0)
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


def soft_dtw(cost: Tensor, gamma: float, lengths_x: Tensor | None = None, lengths_y: Tensor | None = None) -> Tensor:
    """(B,) soft-DTW values, ``-gamma log sum over all paths of exp(-cost of the path / gamma)``; differentiable.

    As gamma goes to 0 the value becomes the cost of the cheapest path. It lies below that cost, so that it can be
    negative even where no cost is. Source: Cuturi and Blondel 2017.

    Args:
        cost: (B, N, M), finite where frames are real.
        gamma: smoothing, > 0, in units of the cost.
        lengths_x: (B,) number of real rows of each sample, 1 to N; None stands for N.
        lengths_y: (B,) number of real columns of each sample, 1 to M; None stands for M.

    Raises:
        InputError: cost is not a batch of matrices, or gamma is not positive.

    >>> cost = torch.tensor([[[1.0, 2.0], [2.0, 1.0]]])  # three paths: two of cost 4, and the diagonal of cost 2
    >>> soft_dtw(cost, gamma=0.01)
    tensor([2.])
    >>> soft_dtw(cost, gamma=1.0), -torch.tensor([-4.0, -4.0, -2.0]).logsumexp(0)
    (tensor([1.7605]), tensor(1.7605))
    """
    check_tensors(FLOATS[:2], cost=cost)
    if cost.ndim != 3 or 0 in cost.shape[1:]:
        raise InputError(f"cost has shape {tuple(cost.shape)}; soft_dtw needs (B, N, M) with N, M >= 1")
    check_value("gamma", gamma, Weight)
    for name, given, size in (("lengths_x", lengths_x, cost.shape[1]), ("lengths_y", lengths_y, cost.shape[2])):
        if given is not None and not (given.shape == cost.shape[:1] and bool(((given > 0) & (given <= size)).all())):
            raise InputError(f"{name} are {given.tolist()}; expected a number from 1 to {size} for each sample")
    sizes = (
        torch.full((len(cost),), size, device=cost.device) if lengths is None else lengths.to(cost.device)
        for lengths, size in ((lengths_x, cost.shape[1]), (lengths_y, cost.shape[2]))
    )
    return _SoftDTW.apply(cost, gamma, *sizes)


# All cells of one diagonal i + j = k are computed at once. The array of scores is (N + M + 1, B, N + 1): diagonal k of
# the matrix is at k + 2 and row i at i + 1, behind two diagonals and one row of cells that do not exist. These slices
# give all cells (i, j), ordered by their diagonal, and their neighbours (i, j - 1), (i - 1, j) and (i - 1, j - 1).
_ALL = slice(None)
_HERE = slice(2, None), _ALL, slice(1, None)
_FROM = (
    (slice(1, -1), _ALL, slice(1, None)),
    (slice(1, -1), _ALL, slice(None, -1)),
    (slice(None, -2), _ALL, slice(None, -1)),
)


class _SoftDTW(torch.autograd.Function):
    """The recursion in ``score = -value / gamma``: the soft minimum is log-add-exp, and missing cells score -inf."""

    @staticmethod
    def forward(ctx: Any, cost: Tensor, gamma: float, n: Tensor, m: Tensor) -> Tensor:
        rows, columns = (torch.arange(size, device=cost.device) for size in cost.shape[1:])
        real = (rows < n[:, None]).unsqueeze(2) & (columns < m[:, None]).unsqueeze(1)
        gain = _by_diagonals((-cost / gamma).masked_fill(~real, -torch.inf))  # (N + M - 1, B, N) score of each cell
        before = torch.empty_like(gain)  # log-add-exp of the scores of the three cells that a cell is reached from
        score = gain.new_full((len(gain) + 2, len(cost), cost.shape[1] + 1), -torch.inf)
        score[0, :, 0] = 0.0  # the cell (-1, -1), from which every path starts
        # The views of all diagonals are made beforehand, which leaves three calls for each diagonal.
        left, up, corner, here = (score[cells].unbind() for cells in (*_FROM, _HERE))
        for k, (so_far, gain_k) in enumerate(zip(before.unbind(), gain.unbind(), strict=True)):
            torch.logaddexp(left[k], up[k], out=so_far)
            torch.logaddexp(so_far, corner[k], out=so_far)
            torch.add(so_far, gain_k, out=here[k])
        ctx.save_for_backward(score, before, n, m)
        return -gamma * score[n + m, torch.arange(len(cost), device=cost.device), n]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        score, before, n, m = ctx.saved_tensors
        # The derivative by the cost of a cell is the probability that a path visits it. A path that visits a cell came
        # from each of its three neighbours with these probabilities (NaN where none of them exists: -inf - -inf).
        left, up, corner = ((score[cells] - before).exp_().nan_to_num_(0.0).unbind() for cells in _FROM)
        visits = torch.zeros_like(score)
        samples = torch.arange(len(n), device=n.device)
        visits[n + m, samples, n] = gradient
        to_left, to_up, to_corner, here = (visits[cells].unbind() for cells in (*_FROM, _HERE))
        for k in range(len(before) - 1, -1, -1):
            to_left[k].addcmul_(here[k], left[k])
            to_up[k].addcmul_(here[k], up[k])
            to_corner[k].addcmul_(here[k], corner[k])
        return _by_rows(visits[_HERE]), None, None, None


def _by_diagonals(matrix: Tensor) -> Tensor:
    """(B, N, M) to (N + M - 1, B, N): entry (i, j) moves to diagonal i + j, row i; -inf where there is no entry."""
    batch, n, m = matrix.shape
    flat = F.pad(matrix, (0, n), value=-torch.inf).flatten(1)[:, :-n]
    return flat.view(batch, n, n + m - 1).permute(2, 0, 1).contiguous()


def _by_rows(diagonals: Tensor) -> Tensor:
    """The inverse of :func:`_by_diagonals`."""
    steps, batch, n = diagonals.shape
    flat = F.pad(diagonals.permute(1, 2, 0).flatten(1), (0, n))
    return flat.view(batch, n, steps + 1)[:, :, : steps + 1 - n]


def viterbi(scores: ArrayLike, switch: float = 0.0, order: Sequence[int] | None = None) -> np.ndarray:
    """The labels z of highest score, ``max over z of sum_i scores[i, z_i] - switch * (number of changes of z)``.

    Args:
        scores: (N, K) log-probability of each action at each frame, e.g. the logarithm of a plan's rows.
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
