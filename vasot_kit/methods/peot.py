"""PEOT: ASOT on embeddings that are smoothed over neighbouring frames and drawn from a Gaussian of each frame.

    F = norm(MLP(X)),   A_ij = (f_i . f_j + 1) / 2 for |i - j| <= 1, else 0,   A^ = D^-1/2 A D^-1/2,   D = diag(A 1)
    mu = A^ (F W_mu + b_mu),   log sigma = A^ (F W_sigma + b_sigma)
    L = mean over s of L_xa(norm(mu + e_s sigma)),   e_s ~ N(0, 1) for each frame and channel

L_xa is ASOT's loss: the cross-entropy of the frames' similarities to the action embeddings with the transport plan
between the two. Each of the S samples has a plan of its own. After training a frame is embedded as norm(mu). The action
embeddings have a learning rate of their own, below that of the encoder on most data sets.

Source: Li, Vu and Gall, ECCV 2026, arXiv 2607.05263. The formulas have no biases b; the release's linear layers have
them, and so have those here. The release averages the loss over all rows of a batch, padding included; here, as for
every method, it is the mean over the real frames of a video and then over videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_lib.checks import Positive, Range
from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder
from vasot_lib.methods import ASOT, SegmentationTerm


@dataclass(frozen=True)
class ProbabilisticTerm(SegmentationTerm):
    """Hyper-parameters of PEOT: those of ASOT's loss, and of the embeddings that it is computed for.

    Attributes:
        samples: S, the number of embeddings that are drawn for each frame in a step; 0 trains norm(mu) itself, without
            a variance, which the paper compares with.
        smooth: whether mu and log sigma are averaged over neighbouring frames by A^; False is A^ = 1.
        actions_lr: learning rate of the action embeddings; None is that of all other parameters.
    """

    samples: Annotated[int, Range(least=0)] = 3
    smooth: bool = True
    actions_lr: Positive | None = 1e-4


def smooth(values: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """(B, N, D) averages ``A^ V`` over each frame and its two neighbours, in O(N D) time and memory.

    Args:
        values: (B, N, D) V.
        x: (B, N, D) unit-length embeddings F, whose cosines are the weights.
        mask: (B, N) bool, True on real frames, which come first; padding has no neighbours.
    """
    link = ((x[:, :-1] * x[:, 1:]).sum(2) + 1.0) / 2.0 * (mask[:, :-1] & mask[:, 1:])  # (B, N - 1) A_i,i+1
    degree = 1.0 + F.pad(link, (0, 1)) + F.pad(link, (1, 0))  # A_ii = 1, as f_i has length 1
    root = degree.rsqrt().unsqueeze(2)
    scaled, link = values * root, link.unsqueeze(2)
    around = F.pad(link * scaled[:, 1:], (0, 0, 0, 1)) + F.pad(link * scaled[:, :-1], (0, 0, 1, 0))
    return (scaled + around) * root


class PEOT(ASOT):
    """Segmentation by ASOT on probabilistic embeddings, smoothed over neighbouring frames.

    Attributes:
        mean: the linear map W_mu, b_mu.
        log_sigma: the linear map W_sigma, b_sigma; None without samples.
    """

    name = "peot"
    Hyper: ClassVar[type] = ProbabilisticTerm
    replays = False

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        self.mean = nn.Linear(encoder.n_out, encoder.n_out)
        self.log_sigma = nn.Linear(encoder.n_out, encoder.n_out) if hyper.samples else None

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The action embeddings at their own learning rate, all other parameters at ``lr``."""
        actions = list(self.actions.parameters())
        others = [parameter for name, parameter in self.named_parameters() if not name.startswith("actions.")]
        return [{"params": others, "lr": lr}, {"params": actions, "lr": self.hyper.actions_lr or lr}]

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) norm(mu), the embedding of a frame at the middle of its Gaussian."""
        return F.normalize(self._smoothed(self.mean, self.encoder(features), mask), dim=-1)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss, from S embeddings of each frame that are drawn anew in each step."""
        if self.log_sigma is None:
            return super().forward(batch)
        x = self.encoder(batch.features)
        mean, log_sigma = (self._smoothed(layer, x, batch.mask) for layer in (self.mean, self.log_sigma))
        with torch.autocast(x.device.type, enabled=False):
            drawn = mean + self.noise(batch, mean) * log_sigma.exp()  # (S, B, N, D)
            return self.loss_terms(F.normalize(drawn, dim=-1).flatten(0, 1), batch)

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """ASOT's loss, the mean over all samples of all videos.

        Args:
            embedded: (S B, N, D) embeddings, one sample of all B videos after the other.
            batch: the batch that they were computed from.
        """
        copies = len(embedded) // len(batch.mask)
        mask, videos = batch.mask.repeat(copies, 1), batch.videos.repeat(copies)
        return super().loss_terms(embedded, Batch(batch.features, mask, batch.index, videos))

    def noise(self, batch: Batch, like: Tensor) -> Tensor:
        """(S, B, N, D) standard normal numbers e, in the float type and on the device of ``like``.

        Each video has its own generator, seeded by its number and by torch's seed, which the training loop sets in
        every epoch: what is drawn does not depend on how a batch is divided among processes.
        """
        shape = (self.hyper.samples, *like.shape[1:])
        drawn = [
            torch.randn(shape, generator=torch.Generator().manual_seed(torch.initial_seed() + video))
            for video in batch.videos.tolist()
        ]
        return torch.stack(drawn, 1).to(like)

    def _smoothed(self, layer: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
        values = layer(x).to(x.dtype)  # in mixed precision the layer gives bfloat16
        return smooth(values, x, mask) if self.hyper.smooth else values
