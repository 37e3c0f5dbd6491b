"""GTCC: generalised temporal cycle consistency, for videos with repeated, reordered and irrelevant frames.

    alpha_i          = softmax_j(-|x_i - y_j| / tau), as a function of j fitted by  sum_k pi_ik G_ik(j),  Gaussians
    v_ik             = sum_j G_ik(j) y_j              one soft neighbour per place in Y that frame i may belong to
    beta_ik          = softmax_t(-|v_ik - x_t| / tau) over a window to one side of frame i, which side is random
    l_i              = sum_k pi_ik (i - mu_ik)^2,     mu_ik = sum_t beta_ik(t) t, in frames
    L                = mean_i B_i l_i + (1 - B_i) / l_i

The mixture lets an action that comes twice in Y be matched twice; the window keeps its repetitions in X out of the way
back; the gate B_i lets frames without counterpart be pushed away from Y. Both directions, averaged.
Source: Donahue and Elhamifar, CVPR 2024; SPEC section 10. The details are those of the released code, which also sets
the weight of TCC's variance term to 0 and then does not divide by the variance; except that

- it fits each mixture by L-BFGS on the symmetric divergence; here EM fits all of them at once. In both, no gradient
  flows through the mixture;
- its backward window leaves out frame i itself, so that a correct cycle costs something; here it is in both windows;
- it adds 1e-6 to the sum below beta, which sends mu to frame 0 where all distances are large; here it is a softmax;
- its gate network has five layers and a bias that the standardisation cancels; here two layers and no such bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from vasot_lib.checks import Count, Positive, Range, check_fields
from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder
from vasot_lib.methods.base import Method

MIN_VARIANCE = 0.5  # frames^2, of a component; narrower than one frame is not seen in samples at whole frames
ONE_FRAME_VARIANCE = 1.0 / 12.0  # frames^2, the variance of a uniform distribution over one frame


@dataclass(frozen=True)
class MultiCycleBack:
    """Hyper-parameters of the multi-cycle-back regression; the release's for unscripted recordings.

    For videos in a fixed order the release sets ``components`` 5, ``window`` .5 and ``decay`` 1.

    Attributes:
        tau: temperature of both softmaxes, on Euclidean distances that are not squared.
        components: K, Gaussians per mixture.
        iterations: of EM.
        window: delta, length of the one-sided window as a share of the video, in (0, 1].
        decay: gamma, in (0, 1]; no gate is below gamma^(epoch + 1). 1: no gate.
        starts: frames of each video that cycles start from, drawn anew in each step.
    """

    tau: Positive = 0.1
    components: Count = 15
    iterations: Count = 8
    window: Annotated[float, Range(above=0, most=1)] = 0.2
    decay: Annotated[float, Range(above=0, most=1)] = 0.95
    starts: Count = 20

    def __post_init__(self) -> None:
        check_fields(self)

    def errors(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor, starts: Tensor, ahead: Tensor) -> Tensor:
        """(B, S) squared error l of the cycles X -> Y -> X, in frames^2.

        Args:
            x: (B, N, D) embeddings.
            y: (B, M, D) embeddings.
            mask_x: (B, N) bool, real frames.
            mask_y: (B, M) bool, real frames.
            starts: (B, S) frames of X.
            ahead: (B,) bool, which way the windows look from the start.
        """
        first = x.gather(1, starts.unsqueeze(2).expand(-1, -1, x.shape[2]))  # (B, S, D)
        with torch.no_grad():
            scores = -torch.cdist(first, y) / self.tau
            alpha = scores.masked_fill(~mask_y.unsqueeze(1), -torch.inf).softmax(2)  # (B, S, M)
            weight, gaussians = fit_mixture(alpha, mask_y, self.components, self.iterations)
        neighbours = gaussians.flatten(1, 2) @ y  # (B, S K, D)
        back = (-torch.cdist(neighbours, x) / self.tau).unflatten(1, weight.shape[1:])  # (B, S, K, N)
        within = one_sided_window(starts, ahead, mask_x, self.window)  # (B, S, N)
        beta = back.masked_fill(~within.unsqueeze(2), -torch.inf).softmax(3)
        mu = beta @ torch.arange(x.shape[1], dtype=x.dtype, device=x.device)  # (B, S, K)
        return (weight * (starts.unsqueeze(2) - mu).square()).sum(2)


def one_sided_window(starts: Tensor, ahead: Tensor, mask: Tensor, share: float) -> Tensor:
    """(B, S, N) bool: the frames that a cycle may return to.

    Of w = share times length frames, those from i - w + 1 to i, or from i to i + w - 1. Where i lies in the first or
    last w frames of the video, all of these as well, since its own window may be cut off.

    Args:
        starts: (B, S) frames i.
        ahead: (B,) bool, the second kind of window instead of the first.
        mask: (B, N) bool, real frames.
        share: in (0, 1].
    """
    length = mask.sum(1)[:, None, None]
    width = (length * share).round().clamp_min(2)  # of one frame alone, every cycle would be correct
    frame = torch.arange(mask.shape[1], device=mask.device)
    offset = frame - starts.unsqueeze(2)  # (B, S, N)
    offset = torch.where(ahead[:, None, None], offset, -offset)
    near = (offset >= 0) & (offset < width)
    start = starts.unsqueeze(2)
    edges = ((start < width) & (frame < width)) | ((start >= length - width) & (frame >= length - width))
    return (near | edges) & mask.unsqueeze(1)


def fit_mixture(alpha: Tensor, mask: Tensor, components: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Mixtures of K Gaussians over the frames, fitted to distributions over the frames by EM.

    EM minimises KL(alpha || mixture): every frame is a sample that counts alpha times. The first components are evenly
    spaced, each as wide as the space between two.

    Args:
        alpha: (B, S, M) rows that sum to 1, and 0 on padding.
        mask: (B, M) bool, real frames.
        components: K.
        iterations: of EM.

    Returns:
        weights (B, S, K), summing to 1 over K, and Gaussians (B, S, K, M), summing to 1 over the real frames.
    """
    length = mask.sum(1)[:, None, None].to(alpha.dtype)
    # Time is counted from the middle, so that the second moments lose fewer digits.
    time = torch.arange(mask.shape[1], device=mask.device) - (length - 1) / 2  # (B, 1, M)
    moments = torch.stack((torch.ones_like(time), time, time.square()), 3)  # (B, 1, M, 3)
    share = (torch.arange(components, dtype=alpha.dtype, device=alpha.device) + 0.5) / components - 0.5
    mean = (share * length).expand(*alpha.shape[:2], components)  # (B, S, K)
    variance = (length / components).square().clamp_min(MIN_VARIANCE).expand_as(mean)
    weight = torch.full_like(mean, 1.0 / components)
    for _ in range(iterations):
        responsibility = (weight.log().unsqueeze(3) + _log_density(time, mean, variance)).softmax(2)  # (B, S, K, M)
        total, first, second = ((responsibility * alpha.unsqueeze(2)) @ moments).unbind(3)  # (B, S, K) each
        weight = total.clamp_min(1e-8)  # a component that nothing belongs to stays finite
        mean = first / weight
        variance = (second / weight - mean.square()).clamp_min(MIN_VARIANCE)
    density = _log_density(time, mean, variance).masked_fill(~mask[:, None, None], -torch.inf)
    return weight / weight.sum(2, keepdim=True), density.softmax(3)


def _log_density(time: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """(B, S, K, M), up to a constant."""
    offset = time.unsqueeze(2) - mean.unsqueeze(3)
    return -0.5 * (offset.square() / variance.unsqueeze(3) + variance.log().unsqueeze(3))


class Gate(nn.Module):
    """B, how much each frame of X is to be aligned with Y, from a weight vector that Y makes of its frames."""

    def __init__(self, dim: int, n_hidden: int = 128):
        super().__init__()
        # No last bias: the mean that is taken off below would cancel it.
        self.layers = nn.Sequential(nn.Linear(dim, n_hidden), nn.ReLU(), nn.Linear(n_hidden, dim))

    def forward(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor, floor: float) -> Tensor:
        """(B, N) in [floor, 1], from (B, N, D) and (B, M, D) embeddings; about half of it above the middle."""
        real_y, real_x = mask_y.unsqueeze(2), mask_x.to(x.dtype)
        query = (self.layers(y) * real_y).sum(1) / real_y.sum(1)  # (B, D)
        score = (x @ query.unsqueeze(2)).squeeze(2)  # (B, N)
        # Standardised over the video: otherwise the gates would all fall to the floor, where errors cost least.
        n = real_x.sum(1, keepdim=True)
        score = score - (score * real_x).sum(1, keepdim=True) / n
        variance = (score.square() * real_x).sum(1, keepdim=True) / n
        return floor + (1.0 - floor) * (score * (variance + 1e-12).rsqrt()).sigmoid()


class GTCC(Method):
    """Alignment by generalised temporal cycle consistency."""

    name = "gtcc"
    tasks = ("alignment",)
    paired = True
    unit_length = False
    Hyper = MultiCycleBack

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        encoder.remove_output_bias()  # neither the distances nor the standardised scores of the gate depend on it
        self.gate = Gate(encoder.n_out) if hyper.decay < 1.0 else None

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``loss`` over the pairs of the batch, both directions; ``cycle``, the mean error in frames^2."""
        x, y, mask_x, mask_y = embedded[0::2], embedded[1::2], batch.mask[0::2], batch.mask[1::2]
        starts, ahead = self.draw_cycles(batch)
        there = self._one_way(x, y, mask_x, mask_y, starts[0::2], ahead[0::2])
        back = self._one_way(y, x, mask_y, mask_x, starts[1::2], ahead[1::2])
        return {name: (there[name] + back[name]) / 2 for name in there}

    def draw_cycles(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is random in a step: where cycles start, and which way the windows look.

        Each pair has a generator of its own, seeded by its X and by torch's seed, which the training loop sets anew in
        every epoch: how a batch is cut for several processes changes no draw.

        Returns:
            (B, S) frames of each video, real ones first and none twice, and (B,) bool, True where windows look ahead.
        """
        side = torch.empty(len(batch.mask))
        order = torch.full(batch.mask.shape, -1.0)  # below that of every real frame
        lengths = batch.mask.sum(1).tolist()
        for row, n in enumerate(lengths):
            if row % 2 == 0:
                generator = torch.Generator().manual_seed(torch.initial_seed() + batch.videos[row])
            side[row] = torch.rand((), generator=generator)
            order[row, :n] = torch.rand(n, generator=generator)
        starts = order.topk(min(self.hyper.starts, order.shape[1]), dim=1).indices
        return starts.to(batch.mask.device), (side < 0.5).to(batch.mask.device)

    def _one_way(
        self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor, starts: Tensor, ahead: Tensor
    ) -> dict[str, Tensor]:
        error = self.hyper.errors(x, y, mask_x, mask_y, starts, ahead)  # (B, S)
        real = mask_x.gather(1, starts)

        def mean(values: Tensor) -> Tensor:
            return ((values * real).sum(1) / real.sum(1)).mean()

        if self.gate is None:
            return {"loss": mean(error), "cycle": mean(error.detach())}
        keep = self.gate(x, y, mask_x, mask_y, self.hyper.decay ** (self.epoch + 1)).gather(1, starts)
        # 1 / l has a pole at a perfect cycle; what is closer than one frame's width is not told apart.
        gated = keep * error + (1.0 - keep) / error.clamp_min(ONE_FRAME_VARIANCE)
        return {"loss": mean(gated), "cycle": mean(error.detach())}
