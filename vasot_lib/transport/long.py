r"""Alignment of recordings whose plan does not fit into memory: solve for fewer, longer frames, then refine. [ours]

At a solution ``eps log T_ij = f_i + g_j - alpha (Cx T Cy)_ij - (1 - alpha) C_ij`` with potentials f and g. From one
frame to the next, potentials and structure term change little, while the cost C can change a lot. Therefore

1. the frames of each recording are averaged over a smaller number of bins, and the problem is solved for the bins;
2. the smooth part of the solution, ``D_ij = log T_ij + (1 - alpha) C_ij / eps``, is interpolated to all frames;
3. each row of the plan between frames is ``softmax_j(D_ij - (1 - alpha) C_ij / eps)`` with the frames' own cost C.

Rows are computed when they are asked for, so that memory grows with N + M. The rows have their exact masses by
construction. The columns do not: a frame of Y that is unlike its neighbours needs a potential of its own. ``sweeps``
passes over all rows correct the potentials of the columns and of the dummy until their masses are those of the coarse
plan, or, where Y is relaxed, until these potentials fit the masses that the columns have.

Sharp plans interpolate badly. For random walks of 600 and 500 frames and 150 bins, the mean total variation between a
row and the same row of the full solution was .06 at epsilon .07, .20 at .03 and .44 at .01. Where Y is relaxed, the
dummy's share is only approximate: for procedures of 1200 and 1000 frames with relax .1 it was .009 with 100 bins and
.004 with 400, where the full solution has .003; the balanced one, .0010, was met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import FLOATS, Range, check_embeddings, check_value
from vasot_lib.errors import InputError
from vasot_lib.transport.cost import cosine_cost, temporal_prior, unit_length
from vasot_lib.transport.problem import TINY
from vasot_lib.transport.recipes import Alignment, AlignmentTargets

ENTRIES_AT_ONCE = 2**24  # entries of the plan that are computed at a time


@dataclass(frozen=True)
class LongPlan:
    """A transport plan between N and M frames, computed row by row and never held in memory as a whole."""

    coarse: AlignmentTargets  # the solution for n bins of frames of X and m bins of frames of Y
    x: Tensor  # (N, D) embeddings
    y: Tensor  # (M, D) embeddings
    smooth: Tensor  # (n, m) the smooth part D of the coarse plan, without the dummy
    dummy: Tensor  # (n, 1) log of the mass of each bin of X that went to the dummy; (n, 0) without a dummy
    columns: Tensor  # (1 + M,) correction of g_j / eps of the dummy and each frame of Y, from the sweeps; (M,) without
    recipe: Alignment  # the settings of the problem

    @torch.no_grad()
    def rows(self, start: int, stop: int) -> Tensor:
        """(stop - start, M) matching probabilities of frames ``start`` to ``stop`` of X; the dummy has the rest."""
        return self.with_dummy(start, stop)[:, self.dummy.shape[1] :]

    def with_dummy(self, start: int, stop: int) -> Tensor:
        """The same with the dummy's share as the first column, if there is a dummy; rows sum to 1."""
        n, m = len(self.x), len(self.y)
        check_value("start", start, Annotated[int, Range(least=0, most=n)])
        check_value("stop", stop, Annotated[int, Range(least=start, most=n)])
        i = torch.arange(start, stop, device=self.x.device)
        time = i.unsqueeze(1) / n - torch.arange(m, device=self.x.device) / m
        cost = cosine_cost(self.x[start:stop], self.y) + self.recipe.rho * time.abs()
        smooth = _interpolate(_interpolate(self.smooth, i, n), torch.arange(m, device=i.device), m, dim=1)
        scores = torch.add(smooth, cost, alpha=(self.recipe.alpha - 1.0) / self.recipe.epsilon)
        # A bin of Y stands for M / m frames, each with its own entry in the softmax; the dummy stands for itself alone.
        dummy = _interpolate(self.dummy, i, n) + torch.tensor(m / self.smooth.shape[1]).log()
        return (torch.cat((dummy, scores), dim=1) + self.columns).softmax(1)

    def blocks(self) -> Iterator[Tensor]:
        """All rows, in blocks of bounded size."""
        for start, stop in self._ranges():
            yield self.rows(start, stop)

    def column_masses(self) -> Tensor:
        """(1 + M,) masses of the columns, the dummy first if there is one, in units of the mass of a frame of X."""
        return sum((self.with_dummy(*span).sum(0) for span in self._ranges()), torch.zeros_like(self.columns))

    def _ranges(self) -> Iterator[tuple[int, int]]:
        step = max(1, ENTRIES_AT_ONCE // len(self.y))
        return ((start, min(start + step, len(self.x))) for start in range(0, len(self.x), step))

    def argmax(self) -> Tensor:
        """(N,) for each frame of X, the frame of Y that it matches best."""
        return torch.cat([rows.argmax(1) for rows in self.blocks()])


@torch.no_grad()
def align_long(x: Tensor, y: Tensor, recipe: Alignment, bins: int = 2000, sweeps: int = 3) -> LongPlan:
    """Match all frames of two long recordings, by way of a plan between at most ``bins`` bins of frames each.

    Args:
        x: (N, D) embeddings.
        y: (M, D) embeddings.
        recipe: the same settings as for shorter recordings; the radius is a share of the length and so fits bins too.
        bins: the coarse problem is at most bins x bins. With as many bins as frames the result is that of
            ``recipe.match``, up to the tolerance of the marginals.
        sweeps: number of passes over all N x M entries that correct the masses of the columns.

    Raises:
        InputError: fewer bins than 2, embeddings that are no matrices, or a recipe that drops rows by a threshold.

    >>> frames = torch.eye(3)[[0, 0, 1, 1, 2, 2]]  # six frames of three kinds
    >>> plan = align_long(frames, frames, Alignment(alpha=0.0, dummy="none"), bins=3)
    >>> plan.rows(0, 2).mul(100).round()  # per cent of the first two frames
    tensor([[70., 30.,  0.,  0.,  0.,  0.],
            [30., 70.,  0.,  0.,  0.,  0.]])
    """
    if not isinstance(recipe, Alignment):
        raise InputError(f"recipe is {recipe!r}; pass the settings of an alignment, such as Alignment()")
    if recipe.dummy == "threshold":
        raise InputError("dummy is 'threshold', which looks at whole rows; align_long takes 'soft' or 'none'")
    check_value("bins", bins, Annotated[int, Range(least=2)])
    check_value("sweeps", sweeps, Annotated[int, Range(least=0)])
    check_embeddings(FLOATS[:2], x=x, y=y)
    if x.ndim == 3 or y.ndim == 3:
        raise InputError(f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}; pass one pair, (N, D) and (M, D)")
    small_x, small_y = (_bins(e, min(bins, len(e))) for e in (x, y))
    masks = (torch.ones(1, len(e), dtype=torch.bool, device=e.device) for e in (small_x, small_y))
    # The dummy carries the mass of one frame, not of one bin.
    shares = (1.0 / (len(x) + 1), 1.0 / (len(y) + 1)) if recipe.dummy_mass is None else None
    coarse = recipe.match(small_x[None], small_y[None], *masks, dummy_shares=shares)
    log_plan = coarse.plan.matrix[0].clamp_min(TINY).log()
    n, m = len(small_x), len(small_y)
    dummy, real = log_plan[-n:, : log_plan.shape[1] - m], log_plan[-n:, -m:]
    cost = cosine_cost(small_x, small_y) + recipe.rho * temporal_prior(n, m, device=x.device)
    smooth = real + (1.0 - recipe.alpha) / recipe.epsilon * cost
    columns = smooth.new_zeros(dummy.shape[1] + len(y))
    plan = LongPlan(coarse, x, y, smooth, dummy, columns, recipe)
    # Column masses of the coarse plan, at the dummy and the frames of Y, in units of the mass of one frame of X.
    masses = coarse.x_to_y[0].sum(0) * (len(x) / n)
    real_masses = _interpolate(masses, torch.arange(len(y), device=y.device), len(y)) * (m / len(y))
    wanted = torch.cat(((len(x) - masses.sum()).expand(dummy.shape[1]), real_masses)).clamp_min(TINY).log()
    # The Sinkhorn update of a relaxed side (see ``reference``), written for the difference from the coarse potential.
    phi = 1.0 if recipe.relax is None else recipe.relax / (recipe.relax + recipe.epsilon)
    for _ in range(sweeps):
        columns.copy_(phi * (columns + wanted - plan.column_masses().clamp_min(TINY).log()))
    return plan


def _bins(x: Tensor, count: int) -> Tensor:
    """(count, D) mean direction of equally many frames each."""
    return F.adaptive_avg_pool1d(unit_length(x).T[None], count)[0].T


def _interpolate(values: Tensor, at: Tensor, length: int, dim: int = 0) -> Tensor:
    """Values at the frames ``at`` out of ``length``, linearly interpolated between the middles of the bins."""
    bins = values.shape[dim]
    position = ((at + 0.5) * bins / length - 0.5).clamp(0, bins - 1)
    low = position.floor().long().clamp_max(max(bins - 2, 0))
    share = (position - low).to(values)
    share = share.unsqueeze(1 - dim) if values.ndim == 2 else share
    high = (low + 1).clamp_max(bins - 1)
    return torch.lerp(values.index_select(dim, low), values.index_select(dim, high), share)
