"""SMQ: segmentation by quantised patches, a code for each action, on the joints of a skeleton or on any features.

    d(X, C_k) = sum_t |x_t - c_kt|,   k = argmin_k d                                    (patches of P frames)
    L = mean (stop(C_k) - X)^2 + w mean (r - r')^2

The features are divided into J joints. A temporal convolution encodes each joint by itself; x_t are the latent vectors
of all joints of frame t, side by side. The video is cut into patches of P frames, and each is replaced by one of K
codes of P frames. A second convolution decodes each joint from the codes. r are the features, or where there are two
joints or more the distances between all pairs of joints, and r' the same of what was decoded. Every frame gets the
action of its patch. Codes are the moving means of their patches; one that replaces too few is replaced by the mean of
patches that are drawn from the half that is closest to a code.

Source: Gökay, Spurio, Bach and Gall, ICCV 2025, arXiv 2508.04513; formulas also from the released code.

Differences: the encoder that all methods here share, once for each joint, stands before the convolution, which has no
dropout; the codes start at means of patches and move after the step (:mod:`vasot_kit.methods.quantising`); and the last
patch of a video, where it is shorter, is compared by the frames that it has and moves no code, while the release fills
it up with zeros. The published patches are a second long, 60, 50 or 30 frames; most recordings here have fewer frames
a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_kit.methods.quantising import (
    Quantiser,
    TwoStages,
    mean_over_frames,
    widths,
    without_padding,
)
from vasot_lib.checks import Count, NotNegative, Share, check_fields
from vasot_lib.data import Batch, Dataset, Video, collate
from vasot_lib.encoders import Encoder, MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.methods.base import Method, Reduce


@dataclass(frozen=True)
class MotionPatches:
    """Hyper-parameters of SMQ.

    Attributes:
        patch: P, in frames.
        joints: J, the number of groups of equal size into which the features are divided, in their order; 1 takes all
            features as one joint.
        weight: w, of the reconstruction.
        decay: share of the moving means that stays in a step.
        dead: a code that replaces fewer patches in a step, as a moving mean, is itself replaced, by the mean of as many
            patches (at least one).
        width, layers: channels and number of convolutions of each stage.
    """

    patch: Count = 10
    joints: Count = 1
    weight: NotNegative = 0.001
    decay: Share = 0.5
    dead: NotNegative = 10.0
    width: Count = 128
    layers: Count = 3

    def __post_init__(self) -> None:
        check_fields(self)


class JointEncoder(Encoder):
    """One encoder for all joints: (..., J C) features to the (..., J D) embeddings of the joints, side by side."""

    def __init__(self, encoder: MLPEncoder, joints: int):
        super().__init__(joints * encoder.n_out, unit_length=False)
        self.joint, self.joints = encoder, joints

    def forward(self, features: Tensor) -> Tensor:
        """(..., J D) embeddings."""
        return self.joint(features.unflatten(-1, (self.joints, -1))).flatten(-2)


class Patches(Quantiser):
    """Codes for patches of frames, compared by the sum of the distances of their frames.

    Attributes:
        sums: (K, P, D) moving mean of the sum of the patches that each code replaces in a step.
    """

    sums: Tensor

    def __init__(self, k: int, patch: int, dim: int, decay: float, dead: float):
        super().__init__(k, patch, dim, decay, dead, drawn=max(1, round(dead)))
        self.counts.fill_(self.drawn)
        self.register_buffer("sums", self.codes * self.drawn)

    def start(self, codes: Tensor) -> None:
        """Set the (K, P, D) codes, as if each were the mean of as many patches as a new code is."""
        self.codes.copy_(codes)
        self.restart(torch.ones(len(codes), dtype=torch.bool, device=codes.device))

    def restart(self, where: Tensor) -> None:
        """Let the codes where (K,) ``where`` is True count as the mean of as many patches as were drawn."""
        self.counts[where] = float(self.drawn)
        self.sums[where] = self.codes[where] * self.drawn

    def similarity(self, patches: Tensor, mask: Tensor | None = None) -> Tensor:
        """(M, K) the negative sum of the distances between the frames of (M, P, D) patches and of codes."""
        distance = torch.cdist(patches.transpose(0, 1), self.codes.transpose(0, 1))  # (P, M, K)
        return -(distance if mask is None else distance * mask.T.unsqueeze(2)).sum(0)

    def moved(self, counts: Tensor, sums: Tensor) -> Tensor:
        """(K, P, D) codes: the moving mean of the sums over that of the counts."""
        self.sums.lerp_(sums, 1.0 - self.decay)
        return self.sums / self.counts.clamp_min(1e-5).view(-1, 1, 1)

    def candidates(self, patches: Tensor) -> Tensor:
        """(M',) numbers of the half of the (M, P, D) patches that is closest to a code."""
        closest = self.similarity(patches).amax(1)
        return (closest >= closest.median()).nonzero().squeeze(1)


class SMQ(Method):
    """Segmentation by vector quantisation of patches of a few frames, without an order of the actions.

    Attributes:
        convolution: of each joint, two stages.
        decoder: of each joint, from its part of the codes to its features, two stages.
        patches: the quantiser, with one code for each action.
    """

    name = "smq"
    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)
    paired = False
    Hyper: ClassVar[type] = MotionPatches
    unit_length = False

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        n_in, hidden, latent = widths(encoder, self.name)
        if n_in % hyper.joints:
            raise InputError(f"hyper.joints is {hyper.joints}; it must divide the number of features, {n_in}")
        channels = n_in // hyper.joints
        if hyper.joints > 1:
            encoder = JointEncoder(MLPEncoder(channels, hidden, latent, unit_length=False), hyper.joints)
        super().__init__(encoder, n_actions, hyper)
        middle = max(1, latent // 2)
        self.convolution = TwoStages(latent, hyper.width, middle, latent, hyper.layers)
        self.decoder = TwoStages(latent, hyper.width, middle, channels, hyper.layers)
        self.patches = Patches(n_actions, hyper.patch, encoder.n_out, hyper.decay, hyper.dead)

    @torch.no_grad()
    def initialise(self, dataset: Dataset, n_frames: int, generator: torch.Generator) -> None:
        """Start each code at the mean of patches that are drawn from all videos.

        Raises:
            InputError: no video has as many frames as a patch.
        """
        whole = []
        for video in dataset.videos:
            batch = without_padding(collate([video], n_frames, generator))
            patches, mask = self._cut(self.embed_frames(batch.features, batch.mask), batch.mask)
            whole.append(patches[mask.all(2)])
        every = torch.cat(whole)
        if not len(every):
            raise InputError(f"hyper.patch is {self.hyper.patch} but no video has so many frames; give fewer")
        drawn = torch.randint(len(every), (self.n_actions, self.patches.drawn), generator=generator)
        self.patches.start(every[drawn].mean(1))

    def begin_epoch(self, dataset: Dataset, n_frames: int, share: float) -> None:
        """Forget what calls outside of a training step have shown."""
        self.patches.forget()

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, J D) latent vectors of all joints of a frame, each joint encoded by itself."""
        return self._of_joints(self.convolution, self.encoder(features), mask)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss, without the padding of videos that are shorter than the sample."""
        return super().forward(without_padding(batch))

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``commitment`` and ``reconstruction``, the latter with its weight."""
        patches, mask = self._cut(embedded, batch.mask)
        replaced, commitment, found = self.patches(patches, mask)
        if self.training and torch.is_grad_enabled() and self.share:
            self.patches.observe(patches.detach(), mask, found, batch.videos)
        codes = replaced.flatten(1, 2)[:, : embedded.shape[1]]
        decoded = self._of_joints(self.decoder, codes, batch.mask)
        error = (self._compared(decoded) - self._compared(batch.features)).square().mean(2)
        reconstruction = self.hyper.weight * mean_over_frames(error, batch.mask)
        return {
            "loss": commitment.mean() + reconstruction,
            "commitment": commitment.mean(),
            "reconstruction": reconstruction,
        }

    def end_step(self, reduce: Reduce) -> None:
        """Move the codes to the means of the patches that they replace."""
        self.patches.follow(reduce)

    @torch.no_grad()
    def segment(self, video: Video) -> Tensor:
        """(N,) action of each frame: the code of its patch."""
        mask = torch.ones(1, len(video), dtype=torch.bool, device=self.device)
        patches, real = self._cut(self.embed(video)[None], mask)
        return self.patches(patches, real)[2][0].repeat_interleave(self.hyper.patch)[: len(video)]

    def _cut(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, P, D) patches of (B, N, D) embeddings, and (B, M, P) their masks; the last one is filled up."""
        missing = -x.shape[1] % self.hyper.patch
        size = (-1, self.hyper.patch)
        return F.pad(x, (0, 0, 0, missing)).unflatten(1, size), F.pad(mask, (0, missing)).unflatten(1, size)

    def _of_joints(self, convolution: TwoStages, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N, J C') of (B, N, J C), by a convolution that sees one joint at a time."""
        j = self.hyper.joints
        apart = x.unflatten(2, (j, -1)).transpose(1, 2).flatten(0, 1)  # (B J, N, C)
        found = convolution(apart, mask.repeat_interleave(j, 0))
        return found.unflatten(0, (-1, j)).transpose(1, 2).flatten(2)

    def _compared(self, features: Tensor) -> Tensor:
        """(B, N, C) features themselves, or (B, N, J J) distances between all pairs of two joints or more."""
        if self.hyper.joints == 1:
            return features
        joints = features.unflatten(2, (self.hyper.joints, -1))
        return torch.cdist(joints, joints).flatten(2)
