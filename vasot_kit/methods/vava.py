"""VAVA: alignment by entropic optimal transport with a prior on the plan and a virtual frame.

    L = <T, D> + w_intra (C(X) + C(Y)) + w_inter C(X, Y),   D_ij = |x_i - y_j|^2
    T = diag(u) K diag(v),   K = Q exp((S - D) / lambda_2)          (Sinkhorn)

x_i and y_j are unit-length embeddings of the frames of two videos. The transport plan T combines their distances with
two priors on where matches lie: near the diagonal (consistency) and near the best match of each frame (optimality).
Q is a mixture of a Gaussian for each; S is an inverse difference moment, lambda_1 / (d^2 + 1) for the same two
distances d. A virtual frame before the first frame of each video can be matched at a fixed cost and takes frames
without a match. C(X) pulls frames of a video that are close in time together and pushes distant ones apart. C(X, Y)
makes the best match of a frame in the other video closer than its worst.

Source: Liu et al., CVPR 2022; SPEC section 10. Differences from the released code: it divides <T, D> twice by the
number of entries, so that C(X) and C(Y) dominate its loss; it takes the best match of a frame one column too early, as
it does not count the virtual frame's column; it reads best and worst matches from K D instead of T; and it averages the
squared distances in C(X) and C(X, Y) over the channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import (
    FLOATS,
    Count,
    NotNegative,
    NotNegativeWeight,
    Positive,
    Range,
    check_embeddings,
    check_fields,
    check_value,
)
from vasot_lib.data import Batch
from vasot_lib.losses import pull_and_push, squared_distances
from vasot_lib.methods.base import Method


@dataclass(frozen=True)
class PriorTransport:
    """Hyper-parameters of the plan and of the contrastive terms.

    lambda_2 grows with N M. With 20 frames, D changes ``log K`` by up to 4 / 10; with 256 frames only by 4 / 1638, so
    that T is nearly the prior and depends on the embeddings only through the best match in the optimality prior.

    Attributes:
        moment: lambda_1 / (N + M), weight of the inverse difference moment S.
        divergence: lambda_2 / (N M / 4), weight of the KL divergence of T from Q; larger values smooth the plan.
        delta: standard deviation of both Gaussians, in units of the distance between neighbours on the diagonal.
        virtual_cost: cost of matching a frame with the virtual frame.
        virtual_distance: distance of matches with the virtual frame under both priors, in frames; 7.5 in the release.
        decay: after s steps the weight of the consistency prior is phi = decay^sqrt(s), clipped to [.001, .999].
        sweeps: number of Sinkhorn sweeps.
        intra, margin, window: weight of C(X) and C(Y), and their margin and window as in
            :func:`intra_video_contrast`.
        inter, temperature: weight of C(X, Y), and the temperature that its distances are divided by.
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
        """phi, the weight of the consistency prior at a training step."""
        return min(max(self.decay ** math.sqrt(step), 0.001), 0.999)

    def log_kernel(self, distance: Tensor, mask_x: Tensor, mask_y: Tensor, phi: float) -> Tensor:
        """(B, N + 1, M + 1) ``log K`` up to a constant, virtual frames in row 0 and column 0; finite on padding.

        Args:
            distance: (B, N, M) squared distances D.
            mask_x: (B, N) bool, True on real frames.
            mask_y: (B, M) bool.
            phi: weight of the consistency prior, between 0 and 1.
        """
        rows, columns = ((mask.sum(1) + 1)[:, None, None].to(distance.dtype) for mask in (mask_x, mask_y))  # (B, 1, 1)
        i = torch.arange(1, distance.shape[1] + 2, device=distance.device)[None, :, None] / rows
        j = torch.arange(1, distance.shape[2] + 2, device=distance.device)[None, None, :] / columns
        # Counted from 1, the virtual frame is column 1 and real columns start at 2. Its best match is itself.
        nearest = distance.detach().masked_fill(~mask_y.unsqueeze(1), torch.inf).argmin(2)
        best = F.pad(nearest + 2, (1, 0), value=1).unsqueeze(2) / columns
        unit = (rows**-2 + columns**-2).sqrt()
        from_diagonal, from_best = (i - j).abs(), (j - best).abs()
        virtual = 2.0 * self.virtual_distance / (rows + columns)
        with_virtual = torch.zeros_like(from_diagonal, dtype=torch.bool)
        with_virtual[:, 0, 1:] = with_virtual[:, 1:, 0] = True
        consistency, optimality = (torch.where(with_virtual, virtual, d) for d in (from_diagonal, from_best))
        prior = torch.logaddexp(
            math.log(phi) - (consistency / unit / self.delta).square() / 2,
            math.log(1.0 - phi) - (optimality / unit / self.delta).square() / 2,
        )
        moment = phi / (consistency.square() + 1.0) + (1.0 - phi) / (optimality.square() + 1.0)
        lambda_1 = self.moment * (rows + columns - 2.0)
        lambda_2 = self.divergence * (rows - 1.0) * (columns - 1.0) / 4.0
        return prior + (lambda_1 * moment - self.add_virtual_frame(distance)) / lambda_2

    def add_virtual_frame(self, distance: Tensor) -> Tensor:
        """(B, N + 1, M + 1) costs D with a row and a column of ``virtual_cost`` in front, from (B, N, M) distances."""
        return F.pad(distance, (1, 0, 1, 0), value=self.virtual_cost)

    def log_plan(self, log_kernel: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """(B, N + 1, M + 1) ``log T``, -inf on padding, by Sinkhorn sweeps between uniform marginals.

        Args:
            log_kernel: (B, N + 1, M + 1) ``log K``.
            mask_x: (B, N) bool, True on real frames.
            mask_y: (B, M) bool.
        """
        mask_x, mask_y = (F.pad(mask, (1, 0), value=True) for mask in (mask_x, mask_y))
        p, q = (mask.to(log_kernel.dtype) / mask.sum(1, keepdim=True) for mask in (mask_x, mask_y))
        real = mask_x.unsqueeze(2) & mask_y.unsqueeze(1)
        # Scaling rows and columns of K does not change T, because u and v make up for it. With a largest entry of 1 in
        # every row and column, none of them can become all zero in exp.
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
        # The sum of logarithms, not the log of u K v, which is 0 in float32 far from the priors: then many entries
        # would tie for the worst match.
        return log_u.unsqueeze(2) + log_kernel + log_v.unsqueeze(1)


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    """(B, N) products of (B, N, M) matrices with (B, M) vectors."""
    return (matrix @ vector.unsqueeze(2)).squeeze(2)


def intra_video_contrast(x: Tensor, mask: Tensor, window: float, margin: float) -> Tensor:
    """VAVA's intra-video term: pulls frames close in time together, the closer the harder, and distant ones apart.

    With d_ij the squared distance of two embeddings, a pair costs ``d_ij / ((i - j)^2 + 1)`` if ``|i - j| <= window``,
    and ``max(0, margin - d_ij)`` otherwise. The mean is taken over all pairs of real frames, then over the videos.

    Args:
        x: (B, N, D) unit-length embeddings.
        mask: (B, N) bool, True on real frames.
        window: largest number of sampled frames between two frames that are pulled together.
        margin: squared distance beyond which a pair of distant frames costs nothing.

    Returns:
        scalar.

    Source: Liu et al., CVPR 2022; SPEC section 10.
    """
    check_embeddings(FLOATS[:2], {"x": mask}, x=x)
    check_value("window", window, NotNegativeWeight)
    check_value("margin", margin, NotNegativeWeight)
    frame = torch.arange(x.shape[1], device=x.device)
    apart = (frame[:, None] - frame).abs()
    sums = pull_and_push(x, mask, apart <= window, margin, pull=1.0 / (apart.square() + 1.0), push=1.0)
    return (sums / mask.sum(1) ** 2).mean()


class VAVA(Method):
    """Alignment by transport with a consistency and an optimality prior and a virtual frame.

    Frames are aligned by the nearest embedding and not by the plan. While phi is above 1/2, for some 480,000 steps, the
    rows of a plan have their maximum at the diagonal whatever the encoder has learnt: on toy, the frame error of the
    plan is that of the straight line, .053, before and after training.
    """

    name = "vava"
    tasks = ("alignment",)
    paired = True
    Hyper = PriorTransport

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``alignment``, ``intra`` and ``inter`` with their weights, each the mean over the pairs."""
        hyper: PriorTransport = self.hyper
        mask_x, mask_y = batch.mask[0::2], batch.mask[1::2]
        distance = squared_distances(embedded[0::2], embedded[1::2])  # (B, N, M)
        log_kernel = hyper.log_kernel(distance, mask_x, mask_y, hyper.consistency(self.step))
        log_plan = hyper.log_plan(log_kernel, mask_x, mask_y)
        alignment = (log_plan.exp() * hyper.add_virtual_frame(distance)).sum((1, 2)).mean()
        # intra_video_contrast averages over all videos; twice that is the mean over pairs of C(X) + C(Y).
        intra = hyper.intra * 2.0 * intra_video_contrast(embedded, batch.mask, hyper.window, hyper.margin)
        inter = hyper.inter * self._contrast(distance, log_plan.detach()[:, 1:, 1:], mask_x, mask_y)
        return {"loss": alignment + intra + inter, "alignment": alignment, "intra": intra, "inter": inter}

    def _contrast(self, distance: Tensor, log_plan: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """C(X, Y) = log(1 + exp((best - worst) / temperature)), the mean over pairs.

        ``best`` and ``worst`` are the mean distances of the best and the worst matches of all frames, those of X in Y
        plus those of Y in X.
        """
        sums = []
        for d, t, rows, columns in (
            (distance, log_plan, mask_x, mask_y),
            (distance.transpose(1, 2), log_plan.transpose(1, 2), mask_y, mask_x),
        ):
            least = t.masked_fill(~columns.unsqueeze(1), torch.inf).argmin(2)
            chosen = d.gather(2, torch.stack((t.argmax(2), least), 2))  # (B, N, 2)
            share = rows / rows.sum(1, keepdim=True)
            sums.append((chosen * share.unsqueeze(2)).sum(1))  # (B, 2) mean distances of best and worst matches
        best, worst = torch.stack(sums).sum(0).unbind(1)
        return F.softplus((best - worst) / self.hyper.temperature).mean()
