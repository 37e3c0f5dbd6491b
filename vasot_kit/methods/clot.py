"""CLOT: segmentation by transport at three levels: frames, segments, and frames that are refined by the segments.

    x_i <- norm(x_i + s_ik out_k),   out_k = (sum_i m_ik s_ik x_i + a_k) / (sum_i m_ik + 1)      (feature dispatching)
    S = norm(Decoder(queries, F)),   F_R = norm(F + softmax_q(F S' / (sqrt(D) tau)) S)           (refinement)
    L = L_FA + w_segment L_SA + w_refine L_RA

x_i is the embedding of frame i, a_k that of action k; m_ik is 1 for the action that is most similar to frame i and 0
for all others, and s_ik = sigmoid(b + a x_i . a_k) with trainable a and b. F are the dispatched embeddings. A
transformer decoder turns learned queries into segment embeddings S, which attend to the frames of a video; by
cross-attention to S the frames become F_R. Each of the three is matched to the actions by a plan of its own, as in
ASOT, and each loss is ASOT's cross-entropy with that plan. A video is segmented by the plan of F_R.

Source: Bueno-Benito and Dimiccoli, ICCV 2025, arXiv 2507.03539; formulas also from the released parts of the code,
which have no training script. What could not be read is chosen here: as many queries as actions, two decoder layers
with one head, losses of equal weight, and the transport settings of ASOT. The plan of the segments has no structural
prior, because a window of a few per cent of K segments holds none of their neighbours. The decoder has no dropout, so
that a batch can be divided among processes, and it sees the relative time of a frame.

The release differs in two points, which ``dispatch`` and ``cost`` offer as ``release``. It hands out the means of all
actions to every frame, not that of the nearest one alone. And it sorts the projections of the frames, as one does for
the sliced Wasserstein distance of two *sets*, but uses them as the cost of each *frame*, without the temporal prior:
row i of this cost belongs to the i-th smallest projection and not to frame i, so that the same frames in another order
have the same cost. What remains is an order of the actions that is the same for every video.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_lib.checks import Count, NotNegative
from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder
from vasot_lib.errors import InputError
from vasot_lib.losses import matching_loss
from vasot_lib.methods import ASOT, SegmentationTerm
from vasot_lib.transport import Segmentation, solve
from vasot_lib.transport.structure import Distinct, Near

PROJECTIONS, PROJECTION_RADIUS = 150, 2.0  # of the sliced cost [release]
POSITIONS = (
    256  # the length of a video in the units of the positional encoding: the frames that are sampled in training
)


@dataclass(frozen=True)
class ClosedLoop(SegmentationTerm):
    """Hyper-parameters of CLOT: those of ASOT's loss, whose problem and temperature are those of all three levels.

    Attributes:
        dispatch: feature dispatching as in the ``paper``, as in the ``release``, or ``none``.
        w_segment: weight of the loss of the segment embeddings; 0 leaves it out.
        w_refine: weight of the loss of the refined frames; 0 leaves it out, and videos are segmented by F.
        cost: cosine distance and temporal prior (``paper``), or the sorted projections of the ``release``.
        layers: number of layers of the decoder.
    """

    dispatch: Literal["none", "paper", "release"] = "paper"
    w_segment: NotNegative = 1.0
    w_refine: NotNegative = 1.0
    cost: Literal["paper", "release"] = "paper"
    layers: Count = 2


class Dispatch(nn.Module):
    """Feature dispatching: a frame gets its share of the mean of the frames that are nearest to the same action.

    Attributes:
        scale, shift: a and b, trainable.
    """

    def __init__(self, to_all: bool):
        super().__init__()
        self.to_all = to_all  # [release]
        self.scale, self.shift = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) unit-length embeddings, from (B, N, D) and (K, D) ones; padded frames are in no mean."""
        share = (self.shift + self.scale * (x @ actions.T)).sigmoid()  # (B, N, K) s
        nearest = F.one_hot(share.argmax(2), len(actions)).to(x.dtype)
        members = nearest * mask.unsqueeze(2)  # m
        sums = (share * members).transpose(1, 2) @ x + actions  # (B, K, D)
        means = sums / (members.sum(1).unsqueeze(2) + 1.0)
        return F.normalize(x + (share if self.to_all else share * nearest) @ means, dim=2)


class SegmentDecoder(nn.Module):
    """Turns Q learned queries into the segment embeddings of each video."""

    def __init__(self, queries: int, dim: int, layers: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, dim))
        # Without biases, whose gradients in the attention would be rounding noise (see vasot_kit.methods.ufsa).
        layer = nn.TransformerDecoderLayer(dim, 1, 4 * dim, dropout=0.0, batch_first=True, bias=False)
        self.layers = nn.TransformerDecoder(layer, layers)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, Q, D) unit-length segment embeddings, from the (B, N, D) embeddings of the frames."""
        scaled = x * x.shape[2] ** 0.5  # to channels of about unit variance
        memory = scaled + time_encoding(x.shape[2], mask).to(x.dtype)
        queries = self.queries.expand(len(x), -1, -1)
        return F.normalize(self.layers(queries, memory, memory_key_padding_mask=~mask), dim=2)


def time_encoding(dim: int, mask: Tensor) -> Tensor:
    """(B, N, dim) sines and cosines of the relative time i / N of each frame, in 256 steps."""
    channel = torch.arange(dim, device=mask.device)
    time = torch.arange(mask.shape[1], device=mask.device) * POSITIONS / mask.sum(1, keepdim=True)  # (B, N)
    angle = time.unsqueeze(2) / 10000 ** ((channel - channel % 2) / dim)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


def refine(x: Tensor, segments: Tensor, tau: float) -> Tensor:
    """(B, N, D) F_R: frames plus the segment embeddings that they attend to, of unit length.

    Args:
        x: (B, N, D) embeddings of the frames.
        segments: (B, Q, D) segment embeddings.
        tau: temperature.
    """
    attention = (x @ segments.transpose(1, 2) / (x.shape[2] ** 0.5 * tau)).softmax(2)
    return F.normalize(x + attention @ segments, dim=2)


def sorted_projection_cost(x: Tensor, actions: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """(B, N, K) cost of the release: distances between sorted projections, of which row i is not frame i.

    A row is projected to its distances from 150 random points on a sphere of radius 2, scaled to unit length; then
    every projection is sorted over the frames, and over the actions.

    Args:
        x: (B, N, D) embeddings.
        actions: (K, D) action embeddings.
        mask: (B, N) bool, True on real frames, which come first.
        generator: draws the points.
    """
    points = F.normalize(torch.randn(PROJECTIONS, x.shape[2], generator=generator), dim=1).to(x) * PROJECTION_RADIUS
    of_frames, of_actions = (F.normalize(torch.cdist(rows, points), dim=-1) for rows in (x, actions))
    of_frames = of_frames.masked_fill(~mask.unsqueeze(2), torch.inf).sort(dim=1).values  # padding goes last
    return torch.cdist(of_frames.masked_fill(~mask.unsqueeze(2), 0.0), of_actions.sort(dim=0).values)


class CLOT(ASOT):
    """Segmentation by transport at the levels of frames, of segments, and of frames refined by segments."""

    name = "clot"
    Hyper: ClassVar[type] = ClosedLoop
    replays = False

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        if hyper.prior != "clock":
            raise InputError(f"hyper.prior is {hyper.prior!r}; CLOT also matches segments to actions: give 'clock'")
        super().__init__(encoder, n_actions, hyper)
        self.dispatch = None if hyper.dispatch == "none" else Dispatch(hyper.dispatch == "release")
        loop = hyper.w_segment or hyper.w_refine
        self.decoder = SegmentDecoder(n_actions, encoder.n_out, hyper.layers) if loop else None

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) F, the embeddings after feature dispatching."""
        x = self.encoder(features)
        if self.dispatch is None:
            return x
        with torch.autocast(x.device.type, enabled=False):
            return self.dispatch(x, self.actions.weight, mask)

    def embed_whole(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) F_R, the refined embeddings of the frames of B videos; F if they are not refined."""
        x = self.embed_frames(features, mask)
        if self.decoder is None or not self.hyper.w_refine:
            return x
        return refine(x, self.decoder(x, mask), self.hyper.tau)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss. The action embeddings are scaled first, since the frames are computed from them."""
        self.actions.renormalise()
        return super().forward(batch)

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``frame``, ``segment`` and ``refined``, each with its weight where it has one."""
        hyper, mask = self.hyper, batch.mask
        frames, converged = self._level(hyper.transport, embedded, mask)
        terms = {"frame": frames}
        if self.decoder is not None:
            segments = self.decoder(embedded, mask)
            if hyper.w_segment:
                every = torch.ones(segments.shape[:2], dtype=torch.bool, device=mask.device)
                loss, _ = self._level(replace(hyper.transport, alpha=0.0), segments, every)
                terms["segment"] = hyper.w_segment * loss
            if hyper.w_refine:
                loss, converged = self._level(hyper.transport, refine(embedded, segments, hyper.tau), mask)
                terms["refined"] = hyper.w_refine * loss
        return {"loss": torch.stack([*terms.values()]).sum(), **terms, "converged_segmentation": converged}

    def match(self, recipe: Segmentation, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, K) targets of (B, N, D) embeddings, and (B,) whether each plan converged."""
        if self.hyper.cost == "paper":
            return super().match(recipe, x, mask)
        # One set of projections per step, so that what a video gets does not depend on the rest of the batch.
        seed = torch.initial_seed() + self.step if self.training else 0
        cost = sorted_projection_cost(x, self.actions.weight, mask, torch.Generator().manual_seed(seed))
        plan = solve(
            cost, (Near(recipe.radius), Distinct()), alpha=recipe.alpha, epsilon=recipe.epsilon, relax_y=recipe.relax,
            mask_x=mask, scheme=recipe.scheme, iterations=recipe.iterations, sweeps=recipe.sweeps, finish=recipe.finish,
        )  # fmt: skip
        return plan.matrix * mask.sum(1)[:, None, None], plan.converged

    def _level(self, recipe: Segmentation, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of one level, and the share of its plans that converged."""
        with torch.no_grad():
            targets, converged = self.match(recipe, x, mask)
        return matching_loss(x, self.actions.weight, targets, self.hyper.tau, mask, None), converged.float().mean()
