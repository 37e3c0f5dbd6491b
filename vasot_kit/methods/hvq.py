"""HVQ: segmentation by two quantisers, of which the second gathers the codes of the first into actions.

    z_i = code of x_i among 2 K,   q_i = code of z_i among K        (cosine similarity)
    L = mean_i (stop(z_i) - x_i)^2 + mean_i (stop(q_i) - z_i)^2 + w mean_i (f_i - Decoder(q)_i)^2

x_i is the embedding of frame i by a temporal convolution over the whole video, f_i its feature vector, scaled to unit
length. The codes get no gradient but turn towards the mean direction of the frames that they stand for. After training
the K actions are ordered by the mean relative time of their frames, and FIFA cuts every video in this order: from the
lengths l_k that the actions have in it by their codes, it descends

    E(l) = mean_ik M_ik c_ik + |sum_k l_k - 1|,   M_ik = sigmoid(s (t_i - b_k)) sigmoid(s (e_k - t_i))

in log l_k. b_k and e_k are the beginning and the end of action k, t_i the time of frame i, s the sharpness of the
boundaries, and c_ik = - log softmax_k (cosine of z_i and q_k + mean cosine of x_i and the codes that q_k gathers).

Source: Spurio, Bahrami, Francesca and Gall, AAAI 2025, arXiv 2412.17640; FIFA: Souri et al., GCPR 2021, arXiv
2108.03894. The text could not be read: the formulas come from copies of the released code and from what others cite.

What is uncertain. The unit of time in FIFA: a frame here, with which its 50 steps move boundaries; the released code
has the whole video (preset ``release``), where a sharpness of .1 is so flat that they hardly move. Whether the
reconstruction is a mean: the released code asks for the sum over all N C entries by an argument that gives their mean,
which stands here. And the order of the columns of c, which the released code leaves in that of the codes, while the
lengths are in that of time: here both are in that of time.

Other differences: the encoder that all methods here share stands before the convolution; the codes move after the step
(:mod:`vasot_kit.methods.quantising`); FIFA's term for the mean length of each action, whose published weight of .001
could change a length by 3 %, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from vasot_kit.methods.quantising import (
    Quantiser,
    TwoStages,
    mean_over_frames,
    widths,
    without_padding,
)
from vasot_lib.checks import Count, NotNegative, Positive, Share, check_fields
from vasot_lib.data import Batch, Dataset, Video, collate
from vasot_lib.encoders import Encoder
from vasot_lib.errors import InputError
from vasot_lib.methods.base import Method, Reduce


@dataclass(frozen=True)
class Hierarchy:
    """Hyper-parameters of HVQ.

    Attributes:
        weight: w, of the reconstruction.
        decay: share of a code that stays in a step; the rest is the mean direction of what it stands for.
        fine: number of codes of the first quantiser for each action.
        dead, dead_actions: a code is replaced where fewer frames use it in a step, as a moving mean; of the first
            quantiser and of the second.
        layers: number of convolutions of each stage, the last over frames 2^(layers - 1) apart.
        fifa_steps, fifa_rate: number and size of the steps that FIFA takes.
        fifa_sharpness: s, over the unit of time.
        fifa_time: unit of time, one frame or the whole video.
    """

    weight: NotNegative = 0.002
    decay: Share = 0.8
    fine: Count = 2
    dead: NotNegative = 3.0
    dead_actions: NotNegative = 1.0
    layers: Count = 10
    fifa_steps: Count = 50
    fifa_rate: Positive = 0.6
    fifa_sharpness: Positive = 0.1
    fifa_time: Literal["frames", "video"] = "frames"

    def __post_init__(self) -> None:
        check_fields(self)


class Directions(Quantiser):
    """Codes for single frames, compared by cosines."""

    def similarity(self, patches: Tensor, mask: Tensor | None = None) -> Tensor:
        """(M, K) cosines of (M, 1, D) frames and codes."""
        return F.normalize(patches[:, 0], dim=1) @ F.normalize(self.codes[:, 0], dim=1).T

    def shown(self, patches: Tensor) -> Tensor:
        """(M, 1, D) frames, scaled to unit length."""
        return F.normalize(patches, dim=2)

    def moved(self, counts: Tensor, sums: Tensor) -> Tensor:
        """(K, 1, D) codes, those that were used a step closer to the mean direction of their frames."""
        used = (counts > 0).view(-1, 1, 1)
        directions = torch.where(used, F.normalize(sums, dim=2), F.normalize(self.codes, dim=2))
        return self.codes.lerp(directions, 1.0 - self.decay)


def fifa(cost: Tensor, lengths: Tensor, steps: int, rate: float, sharpness: float) -> Tensor:
    """(K,) lengths of the actions, as shares of the video, after some steps down the energy E.

    Args:
        cost: (N, K) cost of each action at each frame, the actions in the order in which they occur.
        lengths: (K,) shares to start from; one that is 0 stays 0.
        steps: number of steps.
        rate: their size.
        sharpness: s, over the length of the video.
    """
    time = torch.linspace(0.0, 1.0, len(cost), dtype=cost.dtype, device=cost.device).unsqueeze(1)
    log_lengths = lengths.clamp_min(1e-16).log().requires_grad_()
    with torch.enable_grad():
        for _ in range(steps):
            share = log_lengths.exp()
            ends = share.cumsum(0)
            inside = (sharpness * (time - ends + share)).sigmoid() * (sharpness * (ends - time)).sigmoid()  # M
            energy = (inside * cost).mean() + (share.sum() - 1.0).abs()
            (gradient,) = torch.autograd.grad(energy, log_lengths)
            log_lengths = (log_lengths - rate * gradient).detach().requires_grad_()
    share = log_lengths.detach().exp()
    return share / share.sum()


def in_order(shares: Tensor, n: int) -> Tensor:
    """(n,) action of each frame, from the (K,) shares of actions 0 to K - 1 that follow one another."""
    ends = (shares.cumsum(0) * n).round().long()
    ends[-1] = n
    return torch.searchsorted(ends, torch.arange(n, device=shares.device), right=True)


class HVQ(Method):
    """Segmentation by two levels of vector quantisation, and FIFA in the order of the mean times of the actions.

    Attributes:
        convolution: of the encoder, two stages.
        decoder: from the codes of the second level back to the features, two stages.
        fine: the first quantiser.
        actions: the second; after training action k is the k-th in time.
    """

    name = "hvq"
    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)
    paired = False
    Hyper: ClassVar[type] = Hierarchy
    unit_length = False

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        n_in, _, dim = widths(encoder, self.name)
        self.convolution = TwoStages(dim, dim, dim, dim, hyper.layers)
        self.decoder = TwoStages(dim, dim, dim, n_in, hyper.layers)
        self.fine = Directions(hyper.fine * n_actions, 1, dim, hyper.decay, hyper.dead)
        self.actions = Directions(n_actions, 1, dim, hyper.decay, hyper.dead_actions)

    @torch.no_grad()
    def initialise(self, dataset: Dataset, n_frames: int, generator: torch.Generator) -> None:
        """Set both codebooks to K-means centres: of the embeddings of the first video, and of the codes of these.

        Raises:
            InputError: fewer frames in it than codes.
        """
        batch = without_padding(collate(dataset.videos[:1], n_frames, generator))
        x = self.embed_frames(batch.features, batch.mask)[0]
        for quantiser in (self.fine, self.actions):
            k = len(quantiser.codes)
            if len(x) < k:
                raise InputError(f"K is {self.n_actions} but the first video has {len(x)} frames; HVQ needs {k}")
            seed = int(torch.randint(2**31 - 1, (), generator=generator))
            centres = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(x.numpy()).cluster_centers_
            quantiser.codes.copy_(torch.from_numpy(centres).to(x).unsqueeze(1))
            x = quantiser.codes[quantiser.similarity(x.unsqueeze(1)).argmax(1), 0]

    def begin_epoch(self, dataset: Dataset, n_frames: int, share: float) -> None:
        """Forget what calls outside of a training step have shown."""
        self.fine.forget()
        self.actions.forget()

    def embed_frames(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) embeddings of the frames, each computed from the features of the frames around it."""
        x = self.encoder(F.normalize(features, dim=2))
        return self.convolution(x, mask)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss, without the padding of videos that are shorter than the sample."""
        return super().forward(without_padding(batch))

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms ``fine`` and ``actions``, the commitments of the levels, and ``reconstruction`` with its weight."""
        mask = batch.mask.unsqueeze(2)
        x, terms = embedded.unsqueeze(2), {}
        for name, quantiser in (("fine", self.fine), ("actions", self.actions)):
            replaced, commitment, found = quantiser(x, mask)
            if self.training and torch.is_grad_enabled() and self.share:
                quantiser.observe(x.detach(), mask, found, batch.videos)
            terms[name], x = commitment.mean(), replaced
        error = (F.normalize(batch.features, dim=2) - self.decoder(x.squeeze(2), batch.mask)).square().mean(2)
        terms["reconstruction"] = self.hyper.weight * mean_over_frames(error, batch.mask)
        return {"loss": torch.stack([*terms.values()]).sum(), **terms}

    def end_step(self, reduce: Reduce) -> None:
        """Turn the codes of both levels towards what the videos of the step have shown."""
        self.fine.follow(reduce)
        self.actions.follow(reduce)

    def _levels(self, video: Video) -> tuple[Tensor, Tensor]:
        """(N, K) similarities of the frames to the actions, and (N,) the action of each frame by its codes alone."""
        to_fine = self.fine.similarity(self.embed(video).unsqueeze(1))  # (N, 2 K)
        of_fine = self.actions.similarity(self.fine.codes)  # (2 K, K)
        nearest = of_fine[to_fine.argmax(1)]
        gathered = F.one_hot(of_fine.argmax(1), self.n_actions).to(nearest)
        gathered = to_fine @ gathered / gathered.sum(0).clamp_min(1.0)
        return nearest + gathered, nearest.argmax(1)

    @torch.no_grad()
    def finalise(self, dataset: Dataset, generator: torch.Generator) -> None:
        """Number the actions by the mean relative time of their frames; those without any come last."""
        sums, counts = torch.zeros(self.n_actions), torch.zeros(self.n_actions)
        for video in dataset.videos:
            _, found = self._levels(video)
            sums.index_add_(0, found, torch.arange(len(video)) / len(video))
            counts += torch.bincount(found, minlength=self.n_actions)
        order = torch.where(counts > 0, sums / counts.clamp_min(1.0), 2.0).argsort(stable=True)
        self.actions.codes.copy_(self.actions.codes[order])
        self.actions.counts.copy_(self.actions.counts[order])

    @torch.no_grad()
    def segment(self, video: Video) -> Tensor:
        """(N,) action of each frame: FIFA from the lengths by codes, in the order 0 to K - 1."""
        scores, found = self._levels(video)
        lengths = torch.bincount(found, minlength=self.n_actions).to(scores) / len(video)
        sharpness = self.hyper.fifa_sharpness * (len(video) if self.hyper.fifa_time == "frames" else 1)
        shares = fifa(-scores.log_softmax(1), lengths, self.hyper.fifa_steps, self.hyper.fifa_rate, sharpness)
        return in_order(shares, len(video))
