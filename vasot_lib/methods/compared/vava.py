"""VAVA: alignment by entropic optimal transport with priors on the plan and a virtual frame.

    L = <T, D> + w_intra (C(X) + C(Y)) + w_inter C(X, Y),   D_ij = |x_i - y_j|^2
    T = diag(u) K diag(v),   K = Q exp((S - D) / lambda_2)          (Sinkhorn)

Q is a mixture of two Gaussians: around the diagonal (consistency) and around the best match of each frame (optimality);
S rewards the same two in the form of an inverse difference moment. A virtual frame stands before the first frame of
each video, at a fixed cost, and takes what has no match. C(X) pulls close frames of a video together and pushes distant
ones apart; C(X, Y) prefers the best match in the other video to the worst.

Source: Liu et al., CVPR 2022; SPEC section 10. The released code differs in these points: it divides <T, D> twice by
the number of entries, so that C(X) and C(Y) are nearly all it trains on; its best match stands one column before the
right one, since the virtual frame shifts columns; its best and worst matches are those of K D instead of T; and its
distances within C(X) and C(X, Y) are means over the channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import Count, NotNegative, Positive, Range, check_fields
from vasot_lib.data import Batch
from vasot_lib.losses import intra_video_contrast, squared_distances
from vasot_lib.methods.base import Method


@dataclass(frozen=True)
class PriorTransport:
    """Hyper-parameters of the plan and of the contrastive terms.

    lambda_2 grows with N M: at 20 frames the cost moves ``log K`` by up to 4 / 10, at 256 frames by 4 / 1638, and the
    plan is the prior. What the embeddings say then enters through the best match in the optimality prior alone.

    Attributes:
        moment: lambda_1 / (N + M), weight of the inverse difference moment S.
        divergence: lambda_2 / (N M / 4), weight of the divergence of T from the prior, which smooths the plan.
        delta: standard deviation of both priors, in units of the distance between neighbours on the diagonal.
        virtual_cost: cost of matching with the virtual frame.
        virtual_distance: how far from the diagonal the virtual frame counts, in frames; 1.5 times 5 in the release.
        decay: weight of the consistency prior after s steps is decay^sqrt(s), between .001 and .999.
        sweeps: of Sinkhorn.
        intra, margin, window: weight of C(X) and C(Y), their margin, and the sampled frames that count as close.
        inter, temperature: weight of C(X, Y), and what its distances are divided by.
    """

    moment: NotNegative = 1.0
    divergence: Positive = 0.1
    delta: Positive = 2.0
    virtual_cost: NotNegative = 0.5
    virtual_distance: NotNegative = 7.5
    decay: Annotated[float, Range(above=0, most=1)] = 0.999
    sweeps: Count = 20
    intra: NotNegative = 0.5
    margin: Positive = 2.0
    window: NotNegative = 15.0
    inter: NotNegative = 1e-4
    temperature: Positive = 0.5

    def __post_init__(self) -> None:
        check_fields(self)

    def consistency(self, step: int) -> float:
        """Weight phi of the consistency prior at a step of the training."""
        return min(max(self.decay ** math.sqrt(step), 0.001), 0.999)

    def log_kernel(self, distance: Tensor, mask_x: Tensor, mask_y: Tensor, phi: float) -> Tensor:
        """(B, N + 1, M + 1) ``log K`` with the virtual frames first, up to a constant; finite everywhere.

        Args:
            distance: (B, N, M) squared distances.
            mask_x: (B, N) bool, real frames.
            mask_y: (B, M) bool, real frames.
            phi: weight of the consistency prior, between 0 and 1.
        """
        rows, columns = ((mask.sum(1) + 1)[:, None, None].to(distance.dtype) for mask in (mask_x, mask_y))  # (B, 1, 1)
        i = torch.arange(1, distance.shape[1] + 2, device=distance.device)[None, :, None] / rows
        j = torch.arange(1, distance.shape[2] + 2, device=distance.device)[None, None, :] / columns
        # The virtual frame's best match is the virtual frame, column 1; real columns start at 2.
        nearest = distance.detach().masked_fill(~mask_y.unsqueeze(1), torch.inf).argmin(2)
        best = F.pad(nearest + 2, (1, 0), value=1).unsqueeze(2) / columns
        unit = (rows**-2 + columns**-2).sqrt()
        off = (i - j).abs(), (j - best).abs()  # from the diagonal, from the best match
        virtual = 2.0 * self.virtual_distance / (rows + columns)
        edge = torch.zeros_like(off[0], dtype=torch.bool)
        edge[:, 0, 1:] = edge[:, 1:, 0] = True
        consistency, optimality = (torch.where(edge, virtual, distances) for distances in off)
        prior = torch.logaddexp(
            math.log(phi) - (consistency / unit / self.delta).square() / 2,
            math.log(1.0 - phi) - (optimality / unit / self.delta).square() / 2,
        )
        moment = phi / (consistency.square() + 1.0) + (1.0 - phi) / (optimality.square() + 1.0)
        lambda_1 = self.moment * (rows + columns - 2.0)
        lambda_2 = self.divergence * (rows - 1.0) * (columns - 1.0) / 4.0
        return prior + (lambda_1 * moment - self.add_virtual_frame(distance)) / lambda_2

    def add_virtual_frame(self, distance: Tensor) -> Tensor:
        """(B, N + 1, M + 1) costs of all matches."""
        return F.pad(distance, (1, 0, 1, 0), value=self.virtual_cost)

    def log_plan(self, log_kernel: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """(B, N + 1, M + 1) ``log T`` between uniform marginals over real and virtual frames, -inf on padding."""
        mask_x, mask_y = (F.pad(mask, (1, 0), value=True) for mask in (mask_x, mask_y))
        p, q = (mask.to(log_kernel.dtype) / mask.sum(1, keepdim=True) for mask in (mask_x, mask_y))
        real = mask_x.unsqueeze(2) & mask_y.unsqueeze(1)
        # The largest entry of every row and every column becomes 1, which u and v make up for: exp cannot empty one.
        for dim in (2, 1):
            top = log_kernel.detach().masked_fill(~real, -torch.inf).amax(dim, keepdim=True)
            log_kernel = log_kernel - top.clamp_min(torch.finfo(top.dtype).min)
        log_kernel = log_kernel.masked_fill(~real, -torch.inf)
        kernel = log_kernel.exp()
        u = p
        for _ in range(self.sweeps):
            v = q / torch.where(mask_y, _product(kernel.transpose(1, 2), u), 1.0)
            u = p / torch.where(mask_x, _product(kernel, v), 1.0)
        log_u, log_v = (torch.where(mask, scale, 1.0).log() for mask, scale in ((mask_x, u), (mask_y, v)))
        # Not log (u K v): far from the priors K is 0 in float32, and the worst match would be any of many.
        return log_u.unsqueeze(2) + log_kernel + log_v.unsqueeze(1)


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(2)).squeeze(2)


class VAVA(Method):
    """Alignment by transport with a consistency and an optimality prior and a virtual frame.

    It aligns by the nearest embedding and not by its plan: while phi is above a half, for some 480,000 steps, the rows
    of a plan peak at the diagonal whatever the encoder has learnt. On toy the plan's matches have the frame error of
    the straight line, .053, before the training and after it.
    """

    name = "vava"
    tasks = ("alignment",)
    paired = True
    Hyper = PriorTransport

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``alignment``, ``intra`` and ``inter``, means over the pairs of the batch."""
        hyper: PriorTransport = self.hyper
        mask_x, mask_y = batch.mask[0::2], batch.mask[1::2]
        distance = squared_distances(embedded[0::2], embedded[1::2])  # (B, N, M)
        log_kernel = hyper.log_kernel(distance, mask_x, mask_y, hyper.consistency(self.step))
        log_plan = hyper.log_plan(log_kernel, mask_x, mask_y)
        alignment = (log_plan.exp() * hyper.add_virtual_frame(distance)).sum((1, 2)).mean()
        # Twice the mean over videos is the mean over pairs of the sum over both.
        intra = hyper.intra * 2.0 * intra_video_contrast(embedded, batch.mask, hyper.window, hyper.margin)
        inter = hyper.inter * self._contrast(distance, log_plan.detach()[:, 1:, 1:], mask_x, mask_y)
        return {"loss": alignment + intra + inter, "alignment": alignment, "intra": intra, "inter": inter}

    def _contrast(self, distance: Tensor, log_plan: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """C(X, Y), cross-entropy that tells the mean distance of the best matches from that of the worst."""
        ends = []
        for d, t, rows, columns in (
            (distance, log_plan, mask_x, mask_y),
            (distance.transpose(1, 2), log_plan.transpose(1, 2), mask_y, mask_x),
        ):
            least = t.masked_fill(~columns.unsqueeze(1), torch.inf).argmin(2)
            chosen = d.gather(2, torch.stack((t.argmax(2), least), 2))  # (B, N, 2)
            share = rows / rows.sum(1, keepdim=True)
            ends.append((chosen * share.unsqueeze(2)).sum(1))
        best, worst = torch.stack(ends).sum(0).unbind(1)
        return F.softplus((best - worst) / self.hyper.temperature).mean()
