"""Soft-DTW, the loss of LAV: dynamic time warping (:func:`vasot_lib.paths.dtw`) with a differentiable minimum."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vasot_lib.checks import FLOATS, Weight, check_tensors, check_value
from vasot_lib.errors import InputError


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
