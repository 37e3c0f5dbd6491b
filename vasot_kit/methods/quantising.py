"""What HVQ and SMQ share: a dilated temporal convolution of two stages, and codes that follow what they stand for.

A *quantiser* has K codes. A patch x of P frames (one frame in HVQ) is replaced by the most similar code,

    x' = x + stop(c_k - x),   k = argmax_k s(x, c_k),   commitment = mean (stop(c_k) - x)^2

so that the gradient passes to x as if nothing had been replaced (straight-through estimator, van den Oord et al.,
2017). The codes get no gradient. They follow a moving mean of the patches that they replace, and a code that is hardly
used is replaced itself, by what a step has shown.

The releases of both methods move the codes before they replace anything in the same step, and draw new codes from all
videos of a batch at once. Here codes move after the step, by sums over its videos, and a new code comes from one video,
which is drawn: then a step is the same however its batch is divided among processes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder, MLPEncoder
from vasot_lib.errors import InputError
from vasot_lib.methods.base import Reduce


class Stage(nn.Module):
    """One stage: to ``width`` channels, residual convolutions over 3 frames that are 1, 2, 4, ... apart, to ``n_out``.

    Source: Abu Farha and Gall, *MS-TCN*, CVPR 2019, without its dropout, so that a batch can be divided.
    """

    def __init__(self, n_in: int, width: int, n_out: int, layers: int):
        super().__init__()
        self.first, self.last = nn.Conv1d(n_in, width, 1), nn.Conv1d(width, n_out, 1)
        gaps = [2**layer for layer in range(layers)]
        self.dilated = nn.ModuleList(nn.Conv1d(width, width, 3, padding=gap, dilation=gap) for gap in gaps)
        self.mixing = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in gaps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, n_out, N) from (B, n_in, N), 0 on padding, with a (B, 1, N) mask that is 1 on real frames."""
        x = self.first(x) * mask
        for dilated, mixing in zip(self.dilated, self.mixing, strict=True):
            x = (x + mixing(F.relu(dilated(x)))) * mask
        return self.last(x) * mask


class TwoStages(nn.Module):
    """Two stages, one after the other, with ``middle`` channels between them."""

    def __init__(self, n_in: int, width: int, middle: int, n_out: int, layers: int):
        super().__init__()
        self.stages = nn.ModuleList([Stage(n_in, width, middle, layers), Stage(middle, width, n_out, layers)])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N, n_out) float32 or float64, as the weights, from (B, N, n_in).

        Args:
            x: what stands on padding does not matter.
            mask: (B, N) bool, True on real frames.
        """
        real = mask.unsqueeze(1).to(x.dtype)
        x = x.masked_fill(~mask.unsqueeze(2), 0.0).transpose(1, 2)
        for stage in self.stages:
            x = stage(x, real)
        return x.transpose(1, 2).to(next(self.parameters()).dtype)  # in mixed precision the layers give bfloat16


class Quantiser(nn.Module):
    """K codes of P frames each. What is similar, and how codes follow what they replace, is for subclasses to say.

    Attributes:
        codes: (K, P, D).
        counts: (K,) moving mean of the number of patches that each code replaces in a step.
        decay: of the moving means: the share that stays in a step.
        dead: a code whose count is below this is replaced.
        drawn: number of patches whose mean is a new code.
    """

    codes: Tensor
    counts: Tensor

    def __init__(self, k: int, patch: int, dim: int, decay: float, dead: float, drawn: int = 1):
        super().__init__()
        self.register_buffer("codes", torch.randn(k, patch, dim))
        self.register_buffer("counts", torch.full((k,), float(dead)))
        self.decay, self.dead, self.drawn = decay, dead, drawn
        self.forget()

    def similarity(self, patches: Tensor, mask: Tensor | None = None) -> Tensor:
        """(M, K) how similar each patch is to each code.

        Args:
            patches: (M, P, D).
            mask: (M, P) bool, True on the frames that count; None for all.
        """
        raise NotImplementedError

    def moved(self, counts: Tensor, sums: Tensor) -> Tensor:
        """(K, P, D) codes after a step, whose moving counts have been updated already.

        Args:
            counts: (K,) number of patches that each code has replaced in the step.
            sums: (K, P, D) their sum.
        """
        raise NotImplementedError

    def shown(self, patches: Tensor) -> Tensor:
        """(M, P, D) what the sums of :meth:`moved` add up; by default the (M, P, D) patches themselves."""
        return patches

    def candidates(self, patches: Tensor) -> Tensor:
        """(M',) numbers of the (M, P, D) patches of a video from which new codes are drawn; by default of all M."""
        return torch.arange(len(patches), device=patches.device)

    def restart(self, where: Tensor) -> None:
        """Set what a subclass remembers of the codes that were replaced, True in (K,) ``where``."""

    def forward(self, patches: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Replace patches by codes.

        Args:
            patches: (B, M, P, D), the patches of B videos.
            mask: (B, M, P) bool, True on real frames; a patch may have fewer than P, and a padded one has none.

        Returns:
            (B, M, P, D) what the patches are replaced by, with their gradient; (B,) the commitment, the mean over the
            real frames and the channels of a video; (B, M) numbers of the codes.
        """
        flat, real = patches.flatten(0, 1), mask.flatten(0, 1)
        found = self.similarity(flat.detach(), real).argmax(1)
        codes = self.codes[found].view_as(patches)
        error = ((codes - patches).square().mean(3) * mask).sum((1, 2)) / mask.sum((1, 2))
        return patches + (codes - patches).detach(), error, found.view(patches.shape[:2])

    def forget(self) -> None:
        """Forget what the step at hand has shown so far."""
        self._seen: list[Tensor] = []

    @torch.no_grad()
    def observe(self, patches: Tensor, mask: Tensor, found: Tensor, videos: Tensor) -> None:
        """Note what the videos of a step, or of a part of it, show: sums, counts, and a new code in case one is needed.

        Each video has its own generator, seeded by its number and by torch's seed, which the training loop sets in
        every epoch. Patches with fewer than P frames are left out.

        Args:
            patches: (B, M, P, D), as in :meth:`forward`.
            mask: (B, M, P).
            found: (B, M) numbers of the codes that replaced them.
            videos: (B,) numbers of the videos.
        """
        k, device = len(self.codes), patches.device
        for x, real, code, video in zip(patches, mask.all(2), found, videos.tolist(), strict=True):
            x, code = x[real], code[real]
            if not len(x):
                continue
            members = F.one_hot(code, k).to(x.dtype)  # (M, K)
            sums = torch.einsum("mk,mpd->kpd", members, self.shown(x))
            generator = torch.Generator().manual_seed(torch.initial_seed() + video)
            pool = self.candidates(x)
            draw = torch.rand(k, self.drawn, generator=generator).mul(len(pool)).long().to(device)
            rank = torch.rand(k, generator=generator).to(x)  # the video with the highest one gives the new code
            self._note(members.sum(0), sums, rank, x[pool[draw]].mean(1))

    def _note(self, counts: Tensor, sums: Tensor, rank: Tensor, new: Tensor) -> None:
        if self._seen:
            counts, sums = counts + self._seen[0], sums + self._seen[1]
            first = (rank >= self._seen[2]).view(-1, 1, 1)
            rank, new = torch.maximum(rank, self._seen[2]), torch.where(first, new, self._seen[3])
        self._seen = [counts, sums, rank, new]

    @torch.no_grad()
    def follow(self, reduce: Reduce) -> None:
        """Move the codes after a step, and replace those that are hardly used.

        Args:
            reduce: gives the ``sum`` or the ``max`` of a tensor over all processes.
        """
        none = torch.full_like(self.counts, -1.0)
        counts, sums, rank, new = self._seen or [torch.zeros_like(none), torch.zeros_like(self.codes), none, self.codes]
        counts, sums, highest = reduce(counts, "sum"), reduce(sums, "sum"), reduce(rank, "max")
        new = reduce(torch.where((rank == highest).view(-1, 1, 1), new, 0.0), "sum")
        self.forget()
        if not bool((highest >= 0).all()):
            return  # no video of the step has a whole patch
        self.counts.lerp_(counts, 1.0 - self.decay)
        self.codes.copy_(self.moved(counts, sums))
        dead = self.counts < self.dead
        self.codes[dead] = new[dead]
        self.restart(dead)


def without_padding(batch: Batch) -> Batch:
    """The batch without the columns that are padding in all of its videos."""
    n = int(batch.mask.sum(1).max())
    return Batch(batch.features[:, :n], batch.mask[:, :n], batch.index[:, :n], batch.videos)


def widths(encoder: Encoder, name: str) -> tuple[int, int, int]:
    """Numbers of features, of hidden channels, and of embedding channels of an encoder of features.

    Raises:
        InputError: an encoder of pictures; method ``name`` has to reconstruct features.
    """
    if not isinstance(encoder, MLPEncoder):
        raise InputError(f"method {name!r} reconstructs features and cannot be trained on pictures; give it features")
    first = encoder.layers[0]
    assert isinstance(first, nn.Linear)
    return first.in_features, first.out_features, encoder.n_out


def mean_over_frames(values: Tensor, mask: Tensor) -> Tensor:
    """() the mean of (B, N) values over the real frames of a video, then over the videos."""
    return ((values * mask).sum(1) / mask.sum(1)).mean()
