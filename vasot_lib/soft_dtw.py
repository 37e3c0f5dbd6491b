"""Soft dynamic time warping: the differentiable cost of aligning two sequences in order.

    V_ij = D_ij + softmin(V_{i-1,j-1}, V_{i-1,j}, V_{i,j-1}),   softmin(a) = - gamma log sum exp(-a / gamma)

The value is V at the last frames, and its gradient by D_ij is the probability that the soft path visits (i, j).
The cells of one anti-diagonal i + j do not depend on each other, so the recursion takes N + M - 1 steps of plain torch,
on every device and for all samples at once. Source: Cuturi and Blondel, ICML 2017.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vasot_lib.errors import InputError


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
    if not 0.0 < gamma < math.inf:
        raise InputError(f"gamma is {gamma}; soft_dtw needs a positive number")
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
