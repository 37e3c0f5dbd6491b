"""TOT: segmentation by online clustering with pseudo-labels from temporal optimal transport.

    L = L_xa + w L_tc,   L_xa = - mean_i sum_k T*_ik log softmax_k(x_i . a_k / tau)

x_i is the embedding of frame i, a_k the prototype (action embedding) of action k. The pseudo-labels T* are the entropic
transport plan between the frames of a video and the K prototypes. Each action gets the same number of frames, and a
Gaussian around the diagonal favours one fixed order of the actions, 1 to K. L_tc is a temporal coherence term, with
w = 0 in TOT and w = 1 in TOT+TCL. Source: Kumar et al., CVPR 2022; SPEC section 10.

The release differs in two points. It computes one plan for all videos of a batch (two by default), so that the actions
are equally frequent in the batch, not in each video. Its embeddings are the output of a sigmoid and, like its
prototypes, not of unit length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vasot_lib.checks import Count, NotNegative, Positive, Range, check_fields
from vasot_lib.data import Batch, Dataset, Video
from vasot_lib.encoders import Encoder
from vasot_lib.losses import matching_loss
from vasot_lib.methods.base import ActionEmbeddings, Method
from vasot_lib.paths import viterbi
from vasot_lib.transport import solve, temporal_prior


@dataclass(frozen=True)
class TemporalTransport:
    """The transport problem between the frames of a video and K actions in a given order.

    Attributes:
        epsilon: weight of the entropy.
        sigma: standard deviation of the Gaussian around the diagonal; in actions if N is much larger than K.
        sweeps: number of Sinkhorn sweeps. Each ends with the update of the frames, so the plan meets the marginal of
            the frames exactly and that of the actions approximately.
    """

    epsilon: Positive = 0.08
    sigma: Positive = 1.5
    sweeps: Count = 3

    def __post_init__(self) -> None:
        check_fields(self)

    @torch.no_grad()
    def match(self, x: Tensor, actions: Tensor, mask: Tensor, order: Tensor | None = None) -> Tensor:
        """Pseudo-labels of the frames of B videos, each video with a transport plan of its own.

        Sinkhorn sweeps with uniform marginals on the kernel ``exp(x_i . a_k / epsilon) exp(-d_ij^2 / (2 sigma^2))``,
        where j is the place of action k in the order and ``d_ij = |i / N - j / K| / sqrt(1 / N^2 + 1 / K^2)`` its
        distance from the diagonal; i and j count from 0.

        Args:
            x: (B, N, D) frame embeddings.
            actions: (K, D) prototypes.
            mask: (B, N) bool, True on real frames.
            order: (B, K) the action at each place of the order; None is the order 0 to K - 1.

        Returns:
            (B, N, K) targets T*, rows of real frames summing to 1.
        """
        n, k = mask.sum(1), len(actions)
        distance = temporal_prior(x.shape[1], k, n, torch.full_like(n, k))  # |i / N - j / K|, (B, N, K)
        squared = distance.square() / (1.0 / n.square() + 1.0 / k**2)[:, None, None]
        if order is not None:
            place = order.argsort(1)  # (B, K) place j of each action
            squared = squared.gather(2, place.unsqueeze(1).expand_as(squared))
        cost = torch.add(-x @ actions.T, squared, alpha=self.epsilon / (2.0 * self.sigma**2))
        # solve() ends each sweep with the columns. Frames are made the columns, so that their marginal is exact.
        plan = solve(
            cost.transpose(1, 2).contiguous(), epsilon=self.epsilon, mask_y=mask,
            scheme="mirror", iterations=1, sweeps=self.sweeps, finish=False,
        )  # fmt: skip
        return plan.matrix.transpose(1, 2) * n[:, None, None]


@dataclass(frozen=True)
class OnlineClustering:
    """Hyper-parameters of TOT.

    Attributes:
        transport: the transport problem whose plan gives the pseudo-labels.
        tau: temperature of the softmax over actions.
        frozen: number of epochs at the beginning in which the prototypes keep their random initial values. The release
            counts steps instead, 4000 by default, which a training on a small data set never reaches.
        coherence: w, the weight of the temporal coherence term: 0 is TOT, 1 is TOT+TCL [release].
        parts: number of parts into which a video is cut for the coherence term.
        coherence_tau: temperature of the coherence term. The release divides both embeddings by .1, which amounts to a
            temperature of .01.
    """

    transport: TemporalTransport = field(default_factory=TemporalTransport)
    tau: Positive = 0.1
    frozen: Annotated[int, Range(least=0)] = 0
    coherence: NotNegative = 0.0
    parts: Annotated[int, Range(least=2)] = 32
    coherence_tau: Positive = 0.1

    def __post_init__(self) -> None:
        check_fields(self)


def temporal_coherence(x: Tensor, mask: Tensor, parts: int, step: int, tau: float) -> Tensor:
    """N-pair loss: the anchor frame of each part of a video should be most similar to the frame that follows it.

    ``- mean_p log softmax_q(x_a(p) . x_(a(q) + 1) / tau)`` at q = p, with one anchor frame a(p) in each part p. The
    release draws the anchors at random and compares the parts of all videos of a batch. Here the anchor moves through
    its part by one frame per training step, and each video is compared with itself only, so that the loss of a video
    does not depend on the rest of the batch.

    Args:
        x: (B, N, D) embeddings.
        mask: (B, N) bool, at least two real frames in each row.
        parts: P, the number of parts of a video; a video with fewer than 2 P frames has one part per two frames.
        step: number of the training step, which determines the anchors.
        tau: temperature, > 0.

    Returns:
        scalar, the mean over videos.
    """
    n = mask.sum(1, keepdim=True)  # (B, 1)
    count = (n // 2).clamp_max(parts)
    part = torch.arange(parts, device=x.device)
    start, end = part * n // count, (part + 1) * n // count  # (B, P)
    real = part < count  # (B, P) False on parts that a short video does not have
    anchor = torch.where(real, start + step % (end - start - 1), 0).unsqueeze(2).expand(-1, -1, x.shape[2])
    scores = x.gather(1, anchor) @ x.gather(1, anchor + 1).transpose(1, 2) / tau  # (B, P, P)
    log_p = scores.masked_fill(~real.unsqueeze(1), -torch.inf).log_softmax(2).diagonal(dim1=1, dim2=2)
    return -(torch.where(real, log_p, 0.0).sum(1) / count.squeeze(1)).mean()


class TOT(Method):
    """Segmentation by online clustering with pseudo-labels from transport, in one fixed order of the actions.

    Attributes:
        actions: the prototypes.
        initial_prototypes: (K, D) their random initial values.
    """

    name = "tot"
    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)
    paired = False
    Hyper: ClassVar[type] = OnlineClustering
    initial_prototypes: Tensor

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        self.actions = ActionEmbeddings(n_actions, encoder.n_out)
        self.register_buffer("initial_prototypes", self.actions.weight.detach().clone())

    def prepare_prototypes(self) -> None:
        """Scale the prototypes to unit length, after resetting them to their initial values while they are frozen.

        Frozen prototypes still receive gradients and optimiser steps, because every parameter must take part in the
        loss; this undoes the step. It is called before every step and once after the last one.
        """
        if self.epoch < self.hyper.frozen:
            with torch.no_grad():
                self.actions.weight.copy_(self.initial_prototypes)
        self.actions.renormalise()

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``cluster`` (L_xa) and, if it has a weight, ``coherence`` (w L_tc)."""
        self.prepare_prototypes()
        hyper = self.hyper
        targets = hyper.transport.match(embedded, self.actions.weight, batch.mask)
        terms = {"cluster": matching_loss(embedded, self.actions.weight, targets, hyper.tau, batch.mask, None)}
        if hyper.coherence:
            coherence = temporal_coherence(embedded, batch.mask, hyper.parts, self.step, hyper.coherence_tau)
            terms["coherence"] = hyper.coherence * coherence
        return {"loss": torch.stack([*terms.values()]).sum(), **terms}

    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """Scale, and if they are frozen reset, the prototypes once more after the last step."""
        self.prepare_prototypes()

    def action_order(self, embedded: Tensor) -> list[int]:
        """Order of the K actions in a video with (N, D) frame embeddings: here 0 to K - 1 for every video."""
        return list(range(self.n_actions))

    @torch.no_grad()
    def segment(self, video: Video) -> Tensor:
        """(N,) action of each frame: the most likely segmentation into all K actions in their order (Viterbi).

        Raises:
            InputError: the video has fewer than K frames.
        """
        self.refuse_shorter(video)
        x = self.embed(video)
        log_p = (x @ self.actions.weight.T / self.hyper.tau).log_softmax(1)
        path: np.ndarray = viterbi(log_p.cpu().numpy(), order=self.action_order(x))
        return torch.from_numpy(path).to(x.device)
