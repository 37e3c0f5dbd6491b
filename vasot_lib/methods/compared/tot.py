"""TOT: temporal optimal transport, clusters frames online while it learns to embed them.

    L = L_xa + w L_tc,   L_xa = - mean_i sum_k T*_ik log softmax_k(x_i . a_k / tau)

T* is the transport plan between the frames of a video and K action prototypes of which each takes an equal share of the
frames. A Gaussian around the diagonal favours one fixed order of the actions, 1 to K. L_tc is the temporal coherence
term, w = 0 in TOT and 1 in TOT+TCL. Source: Kumar et al., CVPR 2022; SPEC section 10.

The release differs from this file in two things. It solves one plan over all videos of a batch (two by default), so
that actions are equally frequent in the batch; here every video has a plan of its own. Its embeddings end in a
sigmoid and, like its prototypes, have any length; here both are of unit length.
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
from vasot_lib.errors import InputError
from vasot_lib.losses import matching_loss
from vasot_lib.methods.base import ActionEmbeddings, Method
from vasot_lib.paths import viterbi
from vasot_lib.transport import solve, temporal_prior


@dataclass(frozen=True)
class TemporalTransport:
    """How the frames of a video are matched to K actions in a given order.

    Attributes:
        epsilon: weight of the entropy.
        sigma: width of the Gaussian around the diagonal, in actions where a video has many more frames than actions.
        sweeps: Sinkhorn sweeps; the last half of each makes the frames exact, the actions are met as far as it got.
    """

    epsilon: Positive = 0.08
    sigma: Positive = 1.5
    sweeps: Count = 3

    def __post_init__(self) -> None:
        check_fields(self)

    @torch.no_grad()
    def match(self, x: Tensor, actions: Tensor, mask: Tensor, order: Tensor | None = None) -> Tensor:
        """Match the frames of B videos to K actions, each video by itself.

        Sinkhorn sweeps on ``exp(x_i . a_k / epsilon) exp(-d_ij^2 / (2 sigma^2))`` with both marginals uniform, where j
        is the place of action k and ``d_ij = |i / N - j / K| / sqrt(1 / N^2 + 1 / K^2)``, zero-based.

        Args:
            x: (B, N, D) frame embeddings.
            actions: (K, D) prototypes.
            mask: (B, N) bool, real frames.
            order: (B, K) action at each place; 0 to K - 1 in turn where None.

        Returns:
            (B, N, K) targets T*, rows of real frames summing to 1.
        """
        n, k = mask.sum(1), len(actions)
        distance = temporal_prior(x.shape[1], k, n, torch.full_like(n, k))  # (B, N, K) by place
        squared = distance.square() / (1.0 / n.square() + 1.0 / k**2)[:, None, None]
        if order is not None:
            place = order.argsort(1)  # (B, K) of each action
            squared = squared.gather(2, place.unsqueeze(1).expand_as(squared))
        cost = torch.add(-x @ actions.T, squared, alpha=self.epsilon / (2.0 * self.sigma**2))
        # Sweeps end on the columns, so frames are made the columns: their masses shall be exact.
        plan = solve(
            cost.transpose(1, 2).contiguous(), epsilon=self.epsilon, mask_y=mask,
            scheme="mirror", iterations=1, sweeps=self.sweeps, finish=False,
        )  # fmt: skip
        return plan.matrix.transpose(1, 2) * n[:, None, None]


@dataclass(frozen=True)
class OnlineClustering:
    """Hyper-parameters of TOT.

    Attributes:
        transport: how the pseudo-labels are made.
        tau: temperature of the softmax over actions.
        frozen: epochs in which the prototypes stay as they were drawn. The release counts steps instead, 4000 by
            default, which on a small data set is for good.
        coherence: weight of the temporal coherence term; 0 is TOT, 1 is TOT+TCL. [release: the plain sum]
        parts: parts that a video is cut into for that term.
        coherence_tau: its temperature. The release divides both embeddings by .1, so that it works with .01.
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
    """N-pair loss: one frame of each part of a video shall be nearest to the frame after it, among those of all parts.

    ``- mean_p log softmax_q(x_a(p) . x_(a(q) + 1) / tau)`` at q = p, with the anchor a(p) in part p. The release draws
    the anchors and takes the parts of all videos of a batch together; here they walk through the part by one frame
    per step and each video is by itself, so that batch mates do not matter.

    Args:
        x: (B, N, D) embeddings.
        mask: (B, N) bool, at least two real frames each.
        parts: parts of a video; shorter videos have one for every two frames.
        step: number of the training step.
        tau: temperature, > 0.

    Returns:
        scalar, the mean over videos.
    """
    n = mask.sum(1, keepdim=True)  # (B, 1)
    count = (n // 2).clamp_max(parts)
    part = torch.arange(parts, device=x.device)
    start, end = part * n // count, (part + 1) * n // count  # (B, P)
    real = part < count
    anchor = torch.where(real, start + step % (end - start - 1), 0).unsqueeze(2).expand(-1, -1, x.shape[2])
    scores = x.gather(1, anchor) @ x.gather(1, anchor + 1).transpose(1, 2) / tau  # (B, P, P)
    log_p = scores.masked_fill(~real.unsqueeze(1), -torch.inf).log_softmax(2).diagonal(dim1=1, dim2=2)
    return -(torch.where(real, log_p, 0.0).sum(1) / count.squeeze(1)).mean()


class TOT(Method):
    """Segmentation by online clustering with pseudo-labels from temporal optimal transport, in one fixed order."""

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
        """Prototypes as a step shall find them: as drawn while they are frozen, of unit length always.

        Frozen ones get their gradient and take their step like any parameter, and are put back before the next one and
        at the end.
        """
        if self.epoch < self.hyper.frozen:
            with torch.no_grad():
                self.actions.weight.copy_(self.initial_prototypes)
        self.actions.renormalise()

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Clustering loss and, where it is weighted, ``coherence``, over the videos of the batch."""
        self.prepare_prototypes()
        hyper = self.hyper
        targets = hyper.transport.match(embedded, self.actions.weight, batch.mask)
        terms = {"cluster": matching_loss(embedded, self.actions.weight, targets, hyper.tau, batch.mask, None)}
        if hyper.coherence:
            coherence = temporal_coherence(embedded, batch.mask, hyper.parts, self.step, hyper.coherence_tau)
            terms["coherence"] = hyper.coherence * coherence
        return {"loss": torch.stack([*terms.values()]).sum(), **terms}

    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """Put the prototypes back after the last step as before every other one."""
        self.prepare_prototypes()

    def action_order(self, embedded: Tensor) -> list[int]:
        """K actions in the order in which (N, D) frames go through them: 0 to K - 1 for every video."""
        return list(range(self.n_actions))

    @torch.no_grad()
    def segment(self, video: Video) -> Tensor:
        """Action of each frame: the best path through all K actions in their order, each for at least one frame.

        Raises:
            InputError: a video with fewer than K frames.
        """
        if len(video) < self.n_actions:
            raise InputError(
                f"video {video.name!r} has {len(video)} frames, too few for {self.n_actions} actions in order; "
                "drop it or use fewer actions"
            )
        x = self.embed(video)
        log_p = (x @ self.actions.weight.T / self.hyper.tau).log_softmax(1)
        path: np.ndarray = viterbi(log_p.cpu().numpy(), order=self.action_order(x))
        return torch.from_numpy(path).to(x.device)
