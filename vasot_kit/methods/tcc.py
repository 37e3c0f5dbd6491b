"""TCC: alignment by temporal cycle consistency.

    v_i    = sum_j softmax_j(-|x_i - y_j|^2 / (D tau)) y_j         the soft nearest neighbour of frame x_i in Y
    beta_i = softmax_k(-|v_i - x_k|^2 / (D tau))                   a distribution over the frames k of X
    mu_i, s_i^2                                                    mean and variance of the time k / N under beta_i
    L      = mean_i (i / N - mu_i)^2 / s_i^2 + lambda log s_i^2

The nearest neighbour in X of the nearest neighbour in Y of a frame should be that frame. D is the width of the
embeddings and N the number of frames. This is the variant called cycle-back regression, averaged over the directions
X -> Y -> X and Y -> X -> Y. Source: Dwibedi et al., CVPR 2019; SPEC section 10. The formula is that of the released
code; the paper has log s_i instead of log s_i^2, and neither D nor tau.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vasot_lib.checks import NotNegative, Positive, check_fields
from vasot_lib.data import Batch
from vasot_lib.encoders import Encoder
from vasot_lib.methods.base import Method


@dataclass(frozen=True)
class CycleBack:
    """Hyper-parameters of the cycle-back regression.

    Attributes:
        tau: temperature of both softmaxes.
        variance_weight: lambda, the weight of log s^2, which keeps the variance from growing.
    """

    tau: Positive = 0.1
    variance_weight: NotNegative = 0.001

    def __post_init__(self) -> None:
        check_fields(self)

    def loss(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """Scalar loss of the cycles X -> Y -> X, the mean over the real frames of each X and then over the pairs.

        Args:
            x: (B, N, D) embeddings.
            y: (B, M, D) embeddings.
            mask_x: (B, N) bool, real frames.
            mask_y: (B, M) bool, real frames.
        """
        neighbour = self._soft_match(x, y, mask_y) @ y  # (B, N, D)
        beta = self._soft_match(neighbour, x, mask_x)  # (B, N, N)
        length = mask_x.sum(1, keepdim=True).to(x.dtype)  # (B, 1)
        time = torch.arange(x.shape[1], device=x.device) / length  # (B, N), 0 to 1
        mu = (beta * time.unsqueeze(1)).sum(2)  # (B, N)
        variance = (beta * (time.unsqueeze(1) - mu.unsqueeze(2)).square()).sum(2)
        # If beta is concentrated on one frame, s^2 is 0 and the loss is unbounded. Frames resolve time to 1 / N only,
        # so s^2 is kept above the variance of a uniform distribution over one frame.
        variance = variance.clamp_min(1.0 / (12.0 * length.square()))
        per_frame = (time - mu).square() / variance + self.variance_weight * variance.log()
        return ((per_frame * mask_x).sum(1) / mask_x.sum(1)).mean()

    def _soft_match(self, x: Tensor, y: Tensor, mask_y: Tensor) -> Tensor:
        """(B, N, M) softmax over the real frames of Y for each row of (B, N, D) x."""
        scores = -torch.cdist(x, y).square() / (x.shape[-1] * self.tau)
        return scores.masked_fill(~mask_y.unsqueeze(1), -torch.inf).softmax(2)


class TCC(Method):
    """Alignment by temporal cycle consistency, with cycle-back regression.

    The embeddings are not scaled to unit length. If they were, |x_i - y_j|^2 / (D tau) would be at most
    4 / (D tau) = 1 at D = 40, and the softmax would be nearly uniform.
    """

    name = "tcc"
    tasks = ("alignment",)
    paired = True
    unit_length = False
    Hyper = CycleBack

    def __init__(self, encoder: Encoder, n_actions: int, hyper: Any):
        super().__init__(encoder, n_actions, hyper)
        encoder.remove_output_bias()

    def loss_terms(self, embedded: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Cycle-back regression of the pairs in the batch, averaged over both directions."""
        x, y, mask_x, mask_y = embedded[0::2], embedded[1::2], batch.mask[0::2], batch.mask[1::2]
        return {"loss": (self.hyper.loss(x, y, mask_x, mask_y) + self.hyper.loss(y, x, mask_y, mask_x)) / 2}
