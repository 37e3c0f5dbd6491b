"""GTCC: generalised temporal cycle consistency, for videos with repeated, reordered and irrelevant frames.

    alpha_i(j) = softmax_j(-|x_i - y_j| / tau)      how well frame x_i matches each frame j of Y
               ~ sum_k pi_ik G_ik(j)                fitted by a mixture of K Gaussians over j, with weights pi_ik
    v_ik       = sum_j G_ik(j) y_j                  one soft nearest neighbour in Y for each Gaussian
    beta_ik(t) = softmax_t(-|v_ik - x_t| / tau)     over frames t of X in a window, at random before or after frame i
    mu_ik      = sum_t beta_ik(t) t                 the frame at which the cycle through Gaussian k ends
    l_i        = sum_k pi_ik (i - mu_ik)^2          squared error of the cycle, in frames^2
    L          = mean_i B_i l_i + (1 - B_i) / l_i   with the gate B_i in (0, 1]

Because of the mixture, a frame can be matched to an action that occurs twice in Y. The window excludes repetitions of
the action in X from the way back. The gate B_i is small for frames without a counterpart in Y, whose cycle error then
grows instead of shrinking. L is averaged over both directions.

Source: Donahue and Elhamifar, CVPR 2024; SPEC section 10. As in the released code there is no variance term and no
division by the variance as in TCC. Differences from the released code:

- It fits each mixture by L-BFGS on the symmetric KL divergence; here EM fits all mixtures at once. No gradient flows
  through the mixture in either.
- Its window before frame i excludes frame i, so that a correct cycle has an error; here both windows include it.
- It adds 1e-6 to the denominator of beta, which moves mu to frame 0 where all distances are large; here beta is a
  softmax.
- Its gate network has five layers, and a last bias that the standardisation cancels; here it has two and no such bias.
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

MIN_VARIANCE = 0.5  # frames^2, of a Gaussian; alpha is known at whole frames only, so a narrower one cannot be fitted
ONE_FRAME_VARIANCE = 1.0 / 12.0  # frames^2, the variance of a uniform distribution over one frame


@dataclass(frozen=True)
class MultiCycleBack:
    """Hyper-parameters of GTCC; the defaults are those of the release for videos without a fixed order of the steps.

    For videos in a fixed order the release sets ``components`` 5, ``window`` .5 and ``decay`` 1.

    Attributes:
        tau: temperature of both softmaxes, which take Euclidean distances, not squared ones.
        components: K, the number of Gaussians in each mixture.
        iterations: number of EM iterations.
        window: delta, length of the window as a share of the length of the video, in (0, 1].
        decay: gamma, in (0, 1]; the gate is at least gamma^(epoch + 1). With 1 there is no gate.
        starts: number of frames of each video at which a cycle starts, drawn anew in each step.
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
        """(B, S) squared error l_i, in frames^2, of the cycles X -> Y -> X that start at S frames i of X.

        Args:
            x: (B, N, D) embeddings.
            y: (B, M, D) embeddings.
            mask_x: (B, N) bool, True on real frames.
            mask_y: (B, M) bool.
            starts: (B, S) the frames i.
            ahead: (B,) bool, True if the windows lie after frame i, False if before.
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
    """(B, S, N) bool, True on the frames of X at which a cycle from frame i may end.

    The window has w = share times length frames: i - w + 1 to i, or i to i + w - 1 if ``ahead``. If i is among the
    first or last w frames of the video, where the window may be cut off, it includes all of those w frames as well.

    Args:
        starts: (B, S) frames i at which the cycles start.
        ahead: (B,) bool, True if the window lies after frame i.
        mask: (B, N) bool, True on real frames.
        share: length of the window as a share of the length of the video, in (0, 1].
    """
    length = mask.sum(1)[:, None, None]
    width = (length * share).round().clamp_min(2)  # within one frame, every cycle would be correct
    frame = torch.arange(mask.shape[1], device=mask.device)
    offset = frame - starts.unsqueeze(2)  # (B, S, N)
    offset = torch.where(ahead[:, None, None], offset, -offset)
    near = (offset >= 0) & (offset < width)
    start = starts.unsqueeze(2)
    edges = ((start < width) & (frame < width)) | ((start >= length - width) & (frame >= length - width))
    return (near | edges) & mask.unsqueeze(1)


def fit_mixture(alpha: Tensor, mask: Tensor, components: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Fit a mixture of K Gaussians over the frames to each of B S distributions over the frames, by EM.

    EM minimises KL(alpha || mixture) by treating frame j as a sample with weight alpha(j). It starts from evenly spaced
    Gaussians whose standard deviation is the distance between neighbours.

    Args:
        alpha: (B, S, M) distributions; rows sum to 1 and are 0 on padding.
        mask: (B, M) bool, True on real frames.
        components: K.
        iterations: number of EM iterations.

    Returns:
        weights pi (B, S, K), summing to 1 over K, and Gaussians G (B, S, K, M), summing to 1 over the real frames.
    """
    length = mask.sum(1)[:, None, None].to(alpha.dtype)
    # Time is counted from the middle of the video: with smaller numbers the variances lose fewer digits.
    time = torch.arange(mask.shape[1], device=mask.device) - (length - 1) / 2  # (B, 1, M)
    moments = torch.stack((torch.ones_like(time), time, time.square()), 3)  # (B, 1, M, 3)
    position = (torch.arange(components, dtype=alpha.dtype, device=alpha.device) + 0.5) / components - 0.5
    mean = (position * length).expand(*alpha.shape[:2], components)  # (B, S, K)
    variance = (length / components).square().clamp_min(MIN_VARIANCE).expand_as(mean)
    weight = torch.full_like(mean, 1.0 / components)
    for _ in range(iterations):
        responsibility = (weight.log().unsqueeze(3) + _log_density(time, mean, variance)).softmax(2)  # (B, S, K, M)
        total, first, second = ((responsibility * alpha.unsqueeze(2)) @ moments).unbind(3)  # (B, S, K) each
        weight = total.clamp_min(1e-8)  # so that a Gaussian without any samples keeps a finite mean
        mean = first / weight
        variance = (second / weight - mean.square()).clamp_min(MIN_VARIANCE)
    density = _log_density(time, mean, variance).masked_fill(~mask[:, None, None], -torch.inf)
    return weight / weight.sum(2, keepdim=True), density.softmax(3)


def _log_density(time: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """(B, S, K, M) log density of each Gaussian at each frame, up to a constant."""
    offset = time.unsqueeze(2) - mean.unsqueeze(3)
    return -0.5 * (offset.square() / variance.unsqueeze(3) + variance.log().unsqueeze(3))


class Gate(nn.Module):
    """The gate B_i: how well frame x_i fits the video Y as a whole, by its product with a query computed from Y."""

    def __init__(self, dim: int, n_hidden: int = 128):
        super().__init__()
        # No last bias: subtracting the mean score below would cancel it.
        self.layers = nn.Sequential(nn.Linear(dim, n_hidden), nn.ReLU(), nn.Linear(n_hidden, dim))

    def forward(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor, floor: float) -> Tensor:
        """(B, N) gates between ``floor`` and 1, from (B, N, D) embeddings of X and (B, M, D) embeddings of Y."""
        real_y, real_x = mask_y.unsqueeze(2), mask_x.to(x.dtype)
        query = (self.layers(y) * real_y).sum(1) / real_y.sum(1)  # (B, D)
        score = (x @ query.unsqueeze(2)).squeeze(2)  # (B, N)
        # Without standardising the scores over the video, all gates would fall to the floor, where errors cost least.
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
        """``loss`` of the pairs in the batch, and the mean cycle error ``cycle`` in frames^2, over both directions."""
        x, y, mask_x, mask_y = embedded[0::2], embedded[1::2], batch.mask[0::2], batch.mask[1::2]
        starts, ahead = self.draw_cycles(batch)
        there = self._one_way(x, y, mask_x, mask_y, starts[0::2], ahead[0::2])
        back = self._one_way(y, x, mask_y, mask_x, starts[1::2], ahead[1::2])
        return {name: (there[name] + back[name]) / 2 for name in there}

    def draw_cycles(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Draw at random where the cycles of a step start and on which side of the start their windows lie.

        Each pair has its own generator, seeded by the number of its X and by torch's seed, which the training loop sets
        in every epoch. The draws therefore do not depend on how a batch is divided among processes.

        Returns:
            (B, S) different frames of each video, real ones before padding, and (B,) bool, True if windows lie after.
        """
        side = torch.empty(len(batch.mask))
        order = torch.full(batch.mask.shape, -1.0)  # so that topk takes padding last
        lengths = batch.mask.sum(1).tolist()
        for row, n in enumerate(lengths):
            if row % 2 == 0:
                generator = torch.Generator().manual_seed(torch.initial_seed() + int(batch.videos[row]))
            side[row] = torch.rand((), generator=generator)
            order[row, :n] = torch.rand(n, generator=generator)
        starts = order.topk(min(self.hyper.starts, order.shape[1]), dim=1).indices
        return starts.to(batch.mask.device), (side < 0.5).to(batch.mask.device)

    def _one_way(
        self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor, starts: Tensor, ahead: Tensor
    ) -> dict[str, Tensor]:
        """Loss and mean error of the cycles X -> Y -> X; arguments as in :meth:`MultiCycleBack.errors`."""
        error = self.hyper.errors(x, y, mask_x, mask_y, starts, ahead)  # (B, S)
        real = mask_x.gather(1, starts)

        def mean(values: Tensor) -> Tensor:
            return ((values * real).sum(1) / real.sum(1)).mean()

        if self.gate is None:
            return {"loss": mean(error), "cycle": mean(error.detach())}
        gate = self.gate(x, y, mask_x, mask_y, self.hyper.decay ** (self.epoch + 1)).gather(1, starts)
        # 1 / l_i is unbounded at a perfect cycle; errors below the resolution of one frame are not distinguished.
        gated = gate * error + (1.0 - gate) / error.clamp_min(ONE_FRAME_VARIANCE)
        return {"loss": mean(gated), "cycle": mean(error.detach())}
