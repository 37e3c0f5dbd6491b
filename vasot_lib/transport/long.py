r"""Alignment of recordings whose plan is too large to hold: solve on fewer frames, refine row by row. [ours]

At a solution ``log T = (u_i + v_j - alpha (Cx T Cy)_ij - (1 - alpha) C_ij) / eps``. Potentials and structure term are
smooth on the scale of the window, C is not. So the problem is solved for bins of frames (mean embeddings), the smooth
part ``D = log T + (1 - alpha) C / eps`` is interpolated to all frames, and each row of the fine plan follows in closed
form, ``softmax_j(D_ij - (1 - alpha) C_ij / eps)``, with the cost of the frames themselves. Rows are made when they are
asked for: memory grows with N + M. Rows have their exact mass. A frame of Y that is unlike its neighbours needs a
potential of its own: ``sweeps`` passes over all rows bring the column masses to those of the coarse plan.

Sharp plans interpolate badly. Mean total variation of a row against the full solve, random walks of 600 and 500 frames,
150 bins: .06 at epsilon .07, .20 at .03, .44 at .01.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.errors import InputError
from vasot_lib.transport.cost import cosine_cost
from vasot_lib.transport.problem import TINY
from vasot_lib.transport.recipes import Alignment, Matches

ENTRIES_AT_ONCE = 2**24  # of the fine plan


@dataclass(frozen=True)
class LongPlan:
    """A transport plan between N and M frames that is never held as a whole.

    Attributes:
        coarse: what was solved, between bins of frames.
        x: (N, D) embeddings.
        y: (M, D) embeddings.
        smooth: (n, m) the smooth part D, without the dummy.
        dummy: (n, 1) log mass that went to the dummy per bin of X; (n, 0) without a dummy.
        columns: (M,) what the sweeps added to the potential of each frame of Y.
        recipe: the weights of the problem.
    """

    coarse: Matches
    x: Tensor
    y: Tensor
    smooth: Tensor
    dummy: Tensor
    columns: Tensor
    recipe: Alignment

    @torch.no_grad()
    def rows(self, start: int, stop: int) -> Tensor:
        """(stop - start, M) matches of some frames of X; a row sums to what was not given to the dummy."""
        n, m = len(self.x), len(self.y)
        i = torch.arange(start, stop, device=self.x.device)
        time = i.unsqueeze(1) / n - torch.arange(m, device=self.x.device) / m
        cost = cosine_cost(self.x[start:stop], self.y) + self.recipe.rho * time.abs()
        smooth = _interpolate(_interpolate(self.smooth, i, n), torch.arange(m, device=i.device), m, dim=1)
        scores = torch.add(smooth + self.columns, cost, alpha=(self.recipe.alpha - 1.0) / self.recipe.epsilon)
        # One bin's mass is shared by its frames; the dummy is not cut up.
        dummy = _interpolate(self.dummy, i, n) + torch.tensor(m / self.smooth.shape[1]).log()
        return torch.cat((dummy, scores), dim=1).softmax(1)[:, dummy.shape[1] :]

    def blocks(self) -> Iterator[Tensor]:
        """All rows, some at a time, in bounded memory."""
        step = max(1, ENTRIES_AT_ONCE // len(self.y))
        for start in range(0, len(self.x), step):
            yield self.rows(start, min(start + step, len(self.x)))

    def argmax(self) -> Tensor:
        """(N,) for each frame of X the frame of Y that it matches best."""
        return torch.cat([rows.argmax(1) for rows in self.blocks()])


@torch.no_grad()
def align_long(x: Tensor, y: Tensor, recipe: Alignment, bins: int = 2000, sweeps: int = 3) -> LongPlan:
    """Match all frames of two recordings by way of at most ``bins`` bins of frames each.

    Args:
        x: (N, D) embeddings.
        y: (M, D) embeddings.
        recipe: as for pairs that fit; its radius is a share of the length, so it means the same for bins.
        bins: the coarse problem is at most bins x bins; at N or above the result is that of ``recipe.match``, up to its
            tolerance on the marginals.
        sweeps: passes over all N x M entries that fit the columns.

    Raises:
        InputError: fewer bins than 2, empty recordings, or a recipe that drops rows by a threshold.
    """
    if recipe.dummy == "threshold":
        raise InputError("dummy is 'threshold', which looks at whole rows; align_long takes 'soft' or 'none'")
    if bins < 2 or not len(x) or not len(y):
        raise InputError(f"bins is {bins} for {len(x)} and {len(y)} frames; use at least 2 bins and 1 frame")
    small_x, small_y = (_bins(e, min(bins, len(e))) for e in (x, y))
    masks = (torch.ones(1, len(e), dtype=torch.bool, device=e.device) for e in (small_x, small_y))
    coarse = recipe.match(small_x[None], small_y[None], *masks)
    log_plan = coarse.plan.matrix[0].clamp_min(TINY).log()
    n, m = len(small_x), len(small_y)
    dummy, real = log_plan[-n:, : log_plan.shape[1] - m], log_plan[-n:, -m:]
    i, j = torch.arange(n, device=x.device), torch.arange(m, device=x.device)
    cost = cosine_cost(small_x, small_y) + recipe.rho * (i.unsqueeze(1) / n - j / m).abs()
    smooth = real + (1.0 - recipe.alpha) / recipe.epsilon * cost
    columns = torch.zeros(len(y), dtype=x.dtype, device=x.device)
    plan = LongPlan(coarse, x, y, smooth, dummy, columns, recipe)
    wanted = (
        _interpolate(coarse.x_to_y[0].sum(0), torch.arange(len(y), device=y.device), len(y))
        * (len(x) / n)
        * (m / len(y))
    )
    for _ in range(sweeps):
        found = sum((rows.sum(0) for rows in plan.blocks()), torch.zeros_like(columns))
        columns += wanted.clamp_min(TINY).log() - found.clamp_min(TINY).log()
    return plan


def _bins(x: Tensor, count: int) -> Tensor:
    """(count, D) mean direction of equally many frames each."""
    return F.adaptive_avg_pool1d(F.normalize(x, dim=1).T[None], count)[0].T


def _interpolate(values: Tensor, at: Tensor, length: int, dim: int = 0) -> Tensor:
    """Values of bins at the frames ``at`` of ``length``, linear between the middles of bins."""
    bins = values.shape[dim]
    place = ((at + 0.5) * bins / length - 0.5).clamp(0, bins - 1)
    low = place.floor().long().clamp_max(max(bins - 2, 0))
    share = (place - low).to(values)
    share = share.unsqueeze(1 - dim) if values.ndim == 2 else share
    high = (low + 1).clamp_max(bins - 1)
    return torch.lerp(values.index_select(dim, low), values.index_select(dim, high), share)
