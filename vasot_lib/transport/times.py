"""A temporal prior that is learnt from the recordings: when does each action happen in the others?

The prior of the paper, |i / N - k / K|, says that every recording shows all actions in one order and for equally long.
Where steps change places, repeat or differ in length it is wrong. Here, once an epoch, the plans of all recordings are
counted: p_k(t) is the density of the relative times at which action k happens in *other* recordings. Its cost is

    R_ik = - log( (1 - u) p_k(i / N) + u ),     weighted by the entropy's epsilon.

So weighted it multiplies the plan by the density to the power 1 - alpha, the weight of linear costs, much as a prior
does in Bayes' rule. Where the order is free, densities are flat and R says nothing; where it is fixed, they are narrow,
wherever and however long an action is. A recording's own plan does not count in its own prior, which would make it
repeat its own mistakes. In the plans that are counted, and after the training, all recordings count; to leave each out
there too changed no score by more than chance.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vasot_lib.transport.cost import temporal_prior

BINS = 50  # of relative time
WIDTH = 0.04  # scale of the exponential kernel that smooths the counts, a share of a recording
# u, the share of the uniform density. VASOT's MoF with .33 and .5, three seeds of a version that counted after every
# step: .691 and .708 on mocap6, .725 and .687 on toy, .635 and .658 on class scores of 50 Salads (two seeds), where it
# was .482 with .06.
UNIFORM = 0.5


class TimesOfActions(nn.Module):
    """When each action happens: counted over all recordings, and for each of them over the others.

    Attributes:
        counts: (K, BINS) share of the frames of all recordings by action and relative time; zero until counted.
        costs: (V, K, BINS) R of each recording, in units of epsilon; |i / N - k / K| until counted. It is not saved,
            because every epoch starts by computing it.
    """

    counts: Tensor
    costs: Tensor

    def __init__(self, k: int):
        super().__init__()
        self.register_buffer("counts", torch.zeros(k, BINS))
        self.register_buffer("costs", torch.zeros(0, k, BINS), persistent=False)

    @property
    def known(self) -> bool:
        """Whether plans have been counted."""
        return bool(self.counts.any())

    def start(self, n_videos: int, rho: float) -> None:
        """Give all recordings the prior of the paper with the weight rho, in units of epsilon."""
        bins, k = self.counts.shape[1], self.counts.shape[0]
        self.costs = rho * temporal_prior(k, bins, device=self.counts.device).expand(n_videos, -1, -1).clone()

    def count(self, targets: list[Tensor]) -> None:
        """Count the plans of all recordings.

        Args:
            targets: of each recording (N_v, K) pseudo-labels, whose rows sum to 1.
        """
        times = torch.stack([_by_time(each) for each in targets])
        total = times.sum(0)
        self.counts.copy_(total / len(targets))
        if len(self.costs) != len(times):  # not in a training, whose first epoch has called start
            self.costs = torch.empty_like(times)
        self.costs.copy_(_cost(total - times))  # in place: a recorded step reads this memory

    def cost(self, mask: Tensor, videos: Tensor | None = None) -> Tensor:
        """(B, N, K) R of the frames of B recordings.

        Args:
            mask: (B, N) bool, real frames.
            videos: (B,) their numbers in the training data; None for recordings that are not part of it, where all
                recordings count.
        """
        costs = _cost(self.counts[None]).expand(len(mask), -1, -1) if videos is None else self.costs[videos]
        return costs.transpose(1, 2).gather(1, _bins(mask).unsqueeze(2).expand(-1, -1, costs.shape[1]))


def _bins(mask: Tensor) -> Tensor:
    """(B, N) number of the bin of relative time of each frame."""
    frame = torch.arange(mask.shape[1], device=mask.device)
    return (frame * BINS // mask.sum(1, keepdim=True)).clamp_max(BINS - 1)


def _by_time(targets: Tensor) -> Tensor:
    """(K, BINS) share of the frames of a recording by action and relative time."""
    bins = _bins(torch.ones(1, len(targets), dtype=torch.bool, device=targets.device))[0]
    return targets.new_zeros(BINS, targets.shape[1]).index_add_(0, bins, targets).T / len(targets)


def _cost(counts: Tensor) -> Tensor:
    """R from (..., K, BINS) counts, with the density 1 for an action that never happens."""
    centre = torch.arange(BINS, device=counts.device) / BINS
    kernel = torch.exp(-(centre[:, None] - centre).abs() / WIDTH)
    kernel = kernel / kernel.sum(1, keepdim=True)  # all that is counted stays within the recording
    share = counts.sum(-1, keepdim=True)
    density = counts.clamp_min(0) @ kernel * BINS / share.clamp_min(1e-9)
    return -((1 - UNIFORM) * torch.where(share > 1e-6, density, 1.0) + UNIFORM).log()
