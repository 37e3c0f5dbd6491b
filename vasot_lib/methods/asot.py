"""ASOT: action segmentation by semi-relaxed fused Gromov-Wasserstein optimal transport.

    L = L_xa,   L_xa = - mean_i sum_k T*_ik log softmax_k(x_i . a_k / tau)

x_i are unit-length embeddings of the frames of a video X, a_k unit-length embeddings of K actions, tau is a
temperature. The targets T* (pseudo-labels) come from the transport plan between frames and actions, with structural
priors (Near for frames, Distinct for actions) and temporal prior. The marginal of the actions is relaxed, so that
actions may differ in length. Source: Xu and Gould, CVPR 2024; SPEC sections 2 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vasot_lib.checks import Positive, check_fields
from vasot_lib.data import Batch, Dataset, Video, collate
from vasot_lib.encoders import Encoder
from vasot_lib.losses import matching_loss
from vasot_lib.methods.base import ActionEmbeddings, Method
from vasot_lib.transport import Segmentation
from vasot_lib.transport.times import TimesOfActions

FirstActions = Literal["kmeans", "kmeans_in_order", "random"]
CLOCK_SHARE = 1 / 3  # of the epochs, in which a learnt temporal prior is still that of the paper
VIDEOS_AT_A_TIME = 16  # whose plans are counted


@dataclass(frozen=True)
class SegmentationTerm:
    """Hyper-parameters of the segmentation loss.

    Attributes:
        transport: the transport problem whose plan gives the pseudo-labels in training.
        decode: the transport problem whose plan segments a full-length video after training.
        tau: temperature of the softmax.
        actions: how the action embeddings are initialised: ``kmeans`` [paper, ASOT], ``kmeans_in_order`` (K-means
            centres numbered by the mean relative time of their frames) [ours] or ``random`` [VASOT release].
        prior: the temporal prior: ``clock`` (|i / N - k / K|, weighted by rho) [paper], or ``learnt`` from the plans of
            the other recordings after a third of the epochs, see :mod:`vasot_lib.transport.times` [ours].
    """

    transport: Segmentation = field(default_factory=Segmentation)
    decode: Segmentation = field(default_factory=lambda: Segmentation(alpha=0.6, epsilon=0.04, relax=0.01))
    tau: Positive = 0.1
    actions: FirstActions = "kmeans"
    prior: Literal["clock", "learnt"] = "clock"

    def __post_init__(self) -> None:
        check_fields(self)

    def loss(self, x: Tensor, actions: Tensor, mask: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The scalar loss, from (B, N, D) frame and (K, D) action embeddings, and the share of converged plans.

        ``actions`` and ``prior``: as in :meth:`vasot_lib.transport.Segmentation.match`.
        """
        with torch.no_grad():
            targets, plan = self.transport.match(x, actions, mask, prior)
        return matching_loss(x, actions, targets, self.tau, mask, None), plan.converged.float().mean()


class ASOT(Method):
    """Segmentation by semi-relaxed fused Gromov-Wasserstein transport from frames to actions."""

    name = "asot"
    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)
    paired = False
    Hyper: ClassVar[type] = SegmentationTerm
    replays: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        self.actions = ActionEmbeddings(n_actions, encoder.n_out)
        if self.segmentation.prior == "learnt":
            self.times = TimesOfActions(n_actions)

    @property
    def segmentation(self) -> SegmentationTerm:
        """Hyper-parameters of the segmentation loss; VASOT keeps them in a field of its own."""
        return self.hyper

    def initialise(self, dataset: Dataset, n_frames: int, generator: torch.Generator) -> None:
        """Initialise the action embeddings as the hyper-parameter ``actions`` says."""
        if self.segmentation.actions != "random":
            in_order = self.segmentation.actions == "kmeans_in_order"
            self.actions.initialise(self.encoder, dataset, n_frames, generator, in_order)

    @torch.no_grad()
    def begin_epoch(self, dataset: Dataset, n_frames: int, share: float) -> None:
        """Count when each action happens, after a third of the epochs."""
        if self.segmentation.prior == "clock":
            return
        recipe = self.segmentation.transport
        if len(self.times.costs) != len(dataset.videos):
            self.times.start(len(dataset.videos), recipe.rho / recipe.epsilon)
        if share >= CLOCK_SHARE or self.times.known:  # known where a finished training goes on
            training = self.training
            self.eval()  # without dropout and augmentation
            parts = range(0, len(dataset.videos), VIDEOS_AT_A_TIME)
            self.times.count([found for first in parts for found in self._counted(dataset, first, n_frames)])
            self.train(training)

    def _counted(self, dataset: Dataset, first: int, n_frames: int) -> list[Tensor]:
        """(N_v, K) pseudo-labels of some of the recordings, from the frames in the middle of equal bins."""
        videos = dataset.videos[first : first + VIDEOS_AT_A_TIME]
        batch = collate(videos, n_frames, None).to(self.device)
        x = self.embed_frames(batch.features, batch.mask).float()
        targets, _ = self.match(self.segmentation.transport, x, batch.mask)
        return [rows[real] for rows, real in zip(targets, batch.mask, strict=True)]

    def time_cost(self, batch: Batch) -> Tensor | None:
        """The learnt temporal prior of a training batch for ``Segmentation.match``; None for that of the paper."""
        if self.segmentation.prior == "clock":
            return None
        return self.segmentation.transport.epsilon * self.times.cost(batch.mask, batch.videos)

    def segmentation_loss(self, embedded: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of the videos of a batch, and the share of converged plans."""
        self.actions.renormalise()
        return self.segmentation.loss(embedded, self.actions.weight, batch.mask, self.time_cost(batch))

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Segmentation loss of the videos in the batch."""
        loss, converged = self.segmentation_loss(embedded, batch)
        return {"loss": loss, "converged_segmentation": converged}

    def match(self, recipe: Segmentation, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, K) targets of (B, N, D) embeddings, and (B,) whether each plan converged."""
        known = self.segmentation.prior == "learnt" and self.times.known
        prior = recipe.epsilon * self.times.cost(mask) if known else None
        targets, plan = recipe.match(x, self.actions.weight, mask, prior)
        return targets, plan.converged

    @torch.no_grad()
    def decode(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N) action with the largest entry in each frame's row of the decoding plan of (B, N, D) embeddings."""
        return self.match(self.segmentation.decode, x, mask)[0].argmax(2)

    def segment(self, video: Video) -> Tensor:
        """(N,) action with the largest entry in each frame's row of the decoding plan."""
        x = self.embed(video)[None]
        return self.decode(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))[0]
