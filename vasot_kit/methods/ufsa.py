"""UFSA: segmentation by frame-to-segment alignment, where the order of the actions may differ between videos.

    L = L_frame + w_s L_segment + w_a L_align

- L_frame: the frames of a video attend to each other in a transformer encoder and are matched to K action prototypes
  by the transport plan and loss of TOT.
- The transcript is the order of the actions in a video, sorted by the frame at which each has most mass in that plan.
- L_segment: a transformer decoder reads the frames and predicts the transcript, one action after the other.
- L_align: the cross-attention of the decoder says which frames belong to which place of the transcript. It is trained
  to agree with a second transport plan, whose temporal prior follows the transcript instead of TOT's fixed order.

Source: Tran et al., WACV 2024; SPEC section 10.

Three properties of the release are treated as faults and not followed. (1) With its default encoder, plan and softmax
of L_frame are normalised over the frames of each action, while the paper normalises over the actions of each frame.
(2) L_align compares place s of the transcript with action s, which is only right in the fixed order. (3) If two actions
have their peak at the same frame, the first one enters the transcript twice. Other differences: the encoder of the
release is convolutional, with attention windows of 1 and 2 frames; it takes one whole video per step; it is trained in
two runs, first the encoder alone, here in one; and it uses dropout of .1 to .5, while nothing here is random, so that a
batch can be divided among processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_kit.methods.tot import TOT, TemporalTransport
from vasot_lib.checks import Count, NotNegative, Positive, Range, check_fields
from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder
from vasot_lib.losses import matching_loss

DECODER_WIDTH = 2048  # hidden width of the decoder's feed-forward layers, as in the release


@dataclass(frozen=True)
class FrameToSegment:
    """Hyper-parameters of UFSA.

    Attributes:
        transport: the transport problem of both plans, in the fixed order and in that of the transcript.
        tau: temperature of the softmax over actions.
        frozen: number of epochs at the beginning in which the prototypes keep their random initial values.
        alone: number of epochs at the beginning in which L_segment and L_align train the decoder, but not the encoder.
        w_segment: weight of L_segment; 1 in the release.
        w_align: weight of L_align; 1 in the release.
        align_tau: temperature of the softmax over places in L_align, which takes attention weights times the number of
            frames. The release divides the plain weights by .001, which corresponds to 1 here with 1000 frames.
        layers: number of layers of the transformer encoder, and of the decoder.
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
    """(B, K) actions sorted by the frame at which each has most mass in (B, N, K) targets; ties by action number."""
    return targets.argmax(1).argsort(dim=1, stable=True)


class DecoderLayer(nn.Module):
    """Transformer decoder layer: self-attention of the places of a transcript, then cross-attention to the frames.

    Unlike ``torch.nn.TransformerDecoderLayer`` it also returns the weights of the cross-attention.
    """

    def __init__(self, dim: int):
        super().__init__()
        # No biases: one on the keys has no effect on attention, so its gradient is rounding noise, which Adam would
        # scale up to steps of full size.
        self.self_attention = nn.MultiheadAttention(dim, 1, bias=False, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(dim, 1, bias=False, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(dim, DECODER_WIDTH), nn.ReLU(), nn.Linear(DECODER_WIDTH, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))

    def forward(self, places: Tensor, frames: Tensor, padding: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        """New (B, K, D) places, and (B, K, N) attention weights from places to frames.

        Args:
            places: (B, K, D) hidden states of the places of the transcript.
            frames: (B, N, D) embeddings.
            padding: (B, N) bool, True on padding.
            future: (K, K) bool, True where a place must not attend to a later one.
        """
        new, _ = self.self_attention(places, places, places, attn_mask=future, need_weights=False)
        places = self.norms[0](places + new)
        new, weights = self.cross_attention(places, frames, frames, key_padding_mask=padding)
        places = self.norms[1](places + new)
        return self.norms[2](places + self.feed_forward(places)), weights


class TranscriptDecoder(nn.Module):
    """Predicts the action at each place of a transcript from the actions before it and from the frames."""

    def __init__(self, n_actions: int, dim: int, layers: int):
        super().__init__()
        self.tokens = nn.Embedding(n_actions + 1, dim)  # the last one marks the start of a transcript
        self.layers = nn.ModuleList(DecoderLayer(dim) for _ in range(layers))
        self.predict = nn.Linear(dim, n_actions, bias=False)
        self.register_buffer("positions", _sinusoids(n_actions, dim), persistent=False)

    def forward(self, order: Tensor, frames: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each layer, (B, K, K) scores of the actions at each place, and (B, K, N) attention from places to frames.

        Args:
            order: (B, K) the transcript; the scores at place s depend on the actions at the places before s.
            frames: (B, N, D) embeddings.
            mask: (B, N) bool, True on real frames.
        """
        start = torch.full_like(order[:, :1], len(self.tokens.weight) - 1)
        places = self.tokens(torch.cat((start, order[:, :-1]), 1)) + self.positions
        future = torch.ones(order.shape[1], order.shape[1], dtype=torch.bool, device=order.device).triu(1)
        outputs = []
        for layer in self.layers:
            places, weights = layer(places, frames, ~mask, future)
            outputs.append((self.predict(places), weights))
        return outputs


def _sinusoids(n: int, dim: int) -> Tensor:
    """(n, dim) positional encoding of Vaswani et al., 2017."""
    channel = torch.arange(dim)
    angle = torch.arange(n).unsqueeze(1) / 10000 ** ((channel - channel % 2) / dim)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


def transcript_loss(scores: Tensor, order: Tensor) -> Tensor:
    """L_segment: cross-entropy of (B, K, K) scores with a (B, K) transcript, the mean over places and videos."""
    return F.cross_entropy(scores.transpose(1, 2), order)


def alignment_loss(weights: Tensor, targets: Tensor, order: Tensor, mask: Tensor, tau: float) -> Tensor:
    """L_align = ``- mean_i log softmax_s(N w_si / tau)``, at the place s of the most likely action of frame i in T*.

    Args:
        weights: (B, K, N) attention w from places to frames, rows summing to 1.
        targets: (B, N, K) T*.
        order: (B, K) the transcript.
        mask: (B, N) bool, True on real frames.
        tau: temperature, > 0.

    Returns:
        scalar, the mean over real frames and then over videos.
    """
    n = mask.sum(1)
    log_p = (weights.transpose(1, 2) * n[:, None, None] / tau).log_softmax(2)  # (B, N, K), last axis s
    place = order.argsort(1).gather(1, targets.argmax(2))  # (B, N)
    per_frame = -log_p.gather(2, place.unsqueeze(2)).squeeze(2)
    return ((per_frame * mask).sum(1) / n).mean()


class UFSA(TOT):
    """Segmentation by TOT on the output of a transformer, with a decoder of the order of the actions in each video."""

    name = "ufsa"
    Hyper: ClassVar[type] = FrameToSegment

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        dim = encoder.n_out
        layer = nn.TransformerEncoderLayer(dim, 1, 4 * dim, dropout=0.0, batch_first=True, bias=False)
        self.transformer = nn.TransformerEncoder(layer, hyper.layers, enable_nested_tensor=False)
        self.decoder = TranscriptDecoder(n_actions, dim, hyper.layers)

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) unit-length embeddings, where each frame attends to the other real frames of its video.

        There is no positional encoding: from the time alone, the embeddings could satisfy the temporal prior of the
        plan without regard to what the frames show.
        """
        attended = self.transformer(self._unit_variance(self.encoder(features)), src_key_padding_mask=~mask)
        return F.normalize(attended.to(self.actions.weight.dtype), dim=-1)  # to float32 first, as in Encoder.normalise

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``frame``, ``segment`` and ``align``, with their weights; the last two averaged over the layers."""
        self.prepare_prototypes()
        hyper, actions, mask = self.hyper, self.actions.weight, batch.mask
        fixed = hyper.transport.match(embedded, actions, mask)  # T* in the fixed order
        order = transcript(fixed)
        permuted = hyper.transport.match(embedded, actions, mask, order)  # T* in the order of the transcript
        # While the encoder is to learn from L_frame alone, the decoder gets its embeddings without their gradient.
        memory = embedded.detach() if self.epoch < hyper.alone else embedded
        outputs = self.decoder(order, self._unit_variance(memory), mask)
        segment = sum(transcript_loss(scores, order) for scores, _ in outputs) / len(outputs)
        align = sum(alignment_loss(weights, permuted, order, mask, hyper.align_tau) for _, weights in outputs)
        terms = {
            "frame": matching_loss(embedded, actions, fixed, hyper.tau, mask, None),
            "segment": hyper.w_segment * segment,
            "align": hyper.w_align * align / len(outputs),
        }
        return {"loss": torch.stack([*terms.values()]).sum(), **terms}

    def action_order(self, embedded: Tensor) -> list[int]:
        """Order of the K actions in a video with (N, D) frame embeddings: its transcript."""
        mask = torch.ones(1, len(embedded), dtype=torch.bool, device=embedded.device)
        return transcript(self.hyper.transport.match(embedded[None], self.actions.weight, mask))[0].tolist()

    def _unit_variance(self, x: Tensor) -> Tensor:
        """Scale unit-length embeddings by sqrt(D), to channels of about unit variance, as attention layers expect."""
        return x * x.shape[-1] ** 0.5
