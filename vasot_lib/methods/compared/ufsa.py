"""UFSA: unsupervised frame-to-segment alignment, where the order of the actions may differ between videos.

    L = L_frame + w_s L_segment + w_a L_align

Frames see each other in a transformer encoder and are matched to action prototypes as in TOT: L_frame. When in a
video each action peaks in that plan gives its order, the transcript. A transcript decoder reads the frames and predicts
the next action at each place: L_segment. Its cross-attention says which frames belong to which place, and shall agree
with a second plan, made with the prior of that order: L_align. Source: Tran et al., WACV 2024; SPEC section 10.

Three places of the release are not followed. (1) With its default encoder the plan and the softmax of L_frame run over
(actions, frames) arrays, so each action spreads over the frames, where the text has frames choose actions. (2) L_align
compares place s of the decoder with action s, which agree in the fixed order only. (3) Of two actions that peak at the
same frame, the first one enters the transcript twice. Its encoder is convolutional with attention windows of 1 and 2
frames, it sees whole videos, one per step, and it trains in two runs, the encoder alone first; here that is one run.
It drops out channels, from .1 to .5; here nothing is drawn, so that a batch can be cut into parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_lib.checks import Count, NotNegative, Positive, Range, check_fields
from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder
from vasot_lib.losses import matching_loss
from vasot_lib.methods.compared.tot import TOT, TemporalTransport

DECODER_WIDTH = 2048  # of its feed-forward layers, as in the release


@dataclass(frozen=True)
class FrameToSegment:
    """Hyper-parameters of UFSA.

    Attributes:
        transport: how the pseudo-labels are made, in the fixed order and in that of a video.
        tau: temperature of the softmax over actions.
        frozen: epochs in which the prototypes stay as they were drawn.
        alone: epochs in which the encoder learns from L_frame only; the decoder learns beside it.
        w_segment: weight of L_segment. [release: 1]
        w_align: weight of L_align. [release: 1]
        align_tau: temperature of the softmax over places, of attention weights as multiples of the uniform one. The
            release divides plain weights by .001, which is 1 here for a video of 1000 frames.
        layers: of the encoder and of the decoder.
    """

    transport: TemporalTransport = field(default_factory=lambda: TemporalTransport(epsilon=0.07, sigma=0.75))
    tau: Positive = 0.1
    frozen: Annotated[int, Range(least=0)] = 20
    alone: Annotated[int, Range(least=0)] = 50
    w_segment: NotNegative = 1.0
    w_align: NotNegative = 1.0
    align_tau: Positive = 1.0
    layers: Count = 2

    def __post_init__(self) -> None:
        check_fields(self)


def transcript(targets: Tensor) -> Tensor:
    """(B, K) actions by the frame at which each has most mass in (B, N, K) targets; the lower number first in a tie."""
    return targets.argmax(1).argsort(dim=1, stable=True)


class DecoderLayer(nn.Module):
    """Attention among the places of a transcript, then from places to frames; torch's own keeps its weights back."""

    def __init__(self, dim: int):
        super().__init__()
        # A bias on keys changes no attention: its gradient is rounding, which Adam would blow up to full steps.
        self.self_attention = nn.MultiheadAttention(dim, 1, bias=False, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(dim, 1, bias=False, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(dim, DECODER_WIDTH), nn.ReLU(), nn.Linear(DECODER_WIDTH, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))

    def forward(self, places: Tensor, frames: Tensor, padding: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, D) places and their (B, K, N) attention weights, from places, (B, N, D) frames and what to hide."""
        new, _ = self.self_attention(places, places, places, attn_mask=future, need_weights=False)
        places = self.norms[0](places + new)
        new, weights = self.cross_attention(places, frames, frames, key_padding_mask=padding)
        places = self.norms[1](places + new)
        return self.norms[2](places + self.feed_forward(places)), weights


class TranscriptDecoder(nn.Module):
    """Predicts the action at each place of a transcript from those before it and from the frames."""

    def __init__(self, n_actions: int, dim: int, layers: int):
        super().__init__()
        self.tokens = nn.Embedding(n_actions + 1, dim)  # the last one starts a transcript
        self.layers = nn.ModuleList(DecoderLayer(dim) for _ in range(layers))
        self.predict = nn.Linear(dim, n_actions, bias=False)
        self.register_buffer("positions", _sinusoids(n_actions, dim), persistent=False)

    def forward(self, order: Tensor, frames: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per layer (B, K, K) scores of the actions at each place and (B, K, N) attention from places to frames.

        Args:
            order: (B, K) actions at the places; place s is predicted from those before it.
            frames: (B, N, D).
            mask: (B, N) bool, real frames.
        """
        begin = torch.full_like(order[:, :1], len(self.tokens.weight) - 1)
        places = self.tokens(torch.cat((begin, order[:, :-1]), 1)) + self.positions
        future = torch.ones(order.shape[1], order.shape[1], dtype=torch.bool, device=order.device).triu(1)
        found = []
        for layer in self.layers:
            places, weights = layer(places, frames, ~mask, future)
            found.append((self.predict(places), weights))
        return found


def _sinusoids(n: int, dim: int) -> Tensor:
    """(n, dim) positional encoding of Vaswani et al., 2017."""
    channel = torch.arange(dim)
    angle = torch.arange(n).unsqueeze(1) / 10000 ** ((channel - channel % 2) / dim)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


def transcript_loss(scores: Tensor, order: Tensor) -> Tensor:
    """Cross-entropy of (B, K, K) scores with the (B, K) actions at the places, the mean over places and videos."""
    return F.cross_entropy(scores.transpose(1, 2), order)


def alignment_loss(weights: Tensor, targets: Tensor, order: Tensor, mask: Tensor, tau: float) -> Tensor:
    """``- mean_i log softmax_s(N w_si / tau)`` at the place s of the action that frame i has most mass on.

    Args:
        weights: (B, K, N) attention from places to frames, rows summing to 1.
        targets: (B, N, K) T* by action.
        order: (B, K) action at each place.
        mask: (B, N) bool, real frames.
        tau: temperature, > 0.

    Returns:
        scalar, the mean over real frames and then over videos.
    """
    n = mask.sum(1)
    log_p = (weights.transpose(1, 2) * n[:, None, None] / tau).log_softmax(2)  # (B, N, K) by place
    place = order.argsort(1).gather(1, targets.argmax(2))  # (B, N)
    per_frame = -log_p.gather(2, place.unsqueeze(2)).squeeze(2)
    return ((per_frame * mask).sum(1) / n).mean()


class UFSA(TOT):
    """Segmentation by TOT on a transformer, with a transcript decoder that lets the order of the actions differ."""

    name = "ufsa"
    Hyper: ClassVar[type] = FrameToSegment

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        dim = encoder.n_out
        layer = nn.TransformerEncoderLayer(dim, 1, 4 * dim, dropout=0.0, batch_first=True, bias=False)
        self.transformer = nn.TransformerEncoder(layer, hyper.layers, enable_nested_tensor=False)
        self.decoder = TranscriptDecoder(n_actions, dim, hyper.layers)

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) unit-length embeddings of frames that have seen the other real frames of their video.

        There is no positional encoding: told the time, they would need nothing else to meet the prior.
        """
        seen = self.transformer(self._unit_variance(self.encoder(features)), src_key_padding_mask=~mask)
        return F.normalize(seen.to(self.actions.weight.dtype), dim=-1)  # as in Encoder

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``frame``, ``segment`` and ``align``, weighted, over the videos of the batch."""
        self.prepare_prototypes()
        hyper, actions, mask = self.hyper, self.actions.weight, batch.mask
        fixed = hyper.transport.match(embedded, actions, mask)
        order = transcript(fixed)
        permuted = hyper.transport.match(embedded, actions, mask, order)
        # Detached, not left out: every parameter takes part in every loss.
        memory = embedded.detach() if self.epoch < hyper.alone else embedded
        found = self.decoder(order, self._unit_variance(memory), mask)
        segment = sum(transcript_loss(scores, order) for scores, _ in found) / len(found)
        align = sum(alignment_loss(weights, permuted, order, mask, hyper.align_tau) for _, weights in found)
        terms = {
            "frame": matching_loss(embedded, actions, fixed, hyper.tau, mask, None),
            "segment": hyper.w_segment * segment,
            "align": hyper.w_align * align / len(found),
        }
        return {"loss": torch.stack([*terms.values()]).sum(), **terms}

    def action_order(self, embedded: Tensor) -> list[int]:
        """K actions in the order in which (N, D) frames go through them: that of their peaks in the plan."""
        mask = torch.ones(1, len(embedded), dtype=torch.bool, device=embedded.device)
        return transcript(self.hyper.transport.match(embedded[None], self.actions.weight, mask))[0].tolist()

    def _unit_variance(self, x: Tensor) -> Tensor:
        """Channels of unit-length embeddings, scaled to the size that attention layers are initialised for."""
        return x * x.shape[-1] ** 0.5
