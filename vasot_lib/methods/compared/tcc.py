"""TCC: temporal cycle consistency.

    x_i -> softmax over j of -|x_i - y_j|^2 / (D tau) -> soft neighbour v_i in Y
    v_i -> softmax over k of -|v_i - x_k|^2 / (D tau) = beta_i, with mean mu_i and variance s_i^2 in time
    L   =  mean_i (i - mu_i)^2 / s_i^2 + lambda log s_i^2

A frame that finds its match in the other video and returns should arrive where it started. Cycle-back regression, both
directions X -> Y -> X and Y -> X -> Y. Source: Dwibedi et al., CVPR 2019; SPEC section 10. The text weights log s_i and
has neither D nor tau in the softmax; the formula above is that of the released code.
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
        tau: temperature of both softmaxes; the squared distances are divided by the width of the embeddings as well.
        variance_weight: lambda, the weight of log s^2, which keeps the variance from growing.
    """

    tau: Positive = 0.1
    variance_weight: NotNegative = 0.001

    def __post_init__(self) -> None:
        check_fields(self)

    def loss(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> Tensor:
        """Scalar: X -> Y -> X, the mean over the real frames of each X and then over samples.

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
        # A cycle that ends in one frame for certain has variance 0: a division by 0, and a logarithm that pays for
        # sharpness without bound. Time is not resolved below one frame, so no variance counts as less than that of a
        # uniform distribution over one frame.
        variance = variance.clamp_min(1.0 / (12.0 * length.square()))
        per_frame = (time - mu).square() / variance + self.variance_weight * variance.log()
        return ((per_frame * mask_x).sum(1) / mask_x.sum(1)).mean()

    def _soft_match(self, x: Tensor, y: Tensor, mask_y: Tensor) -> Tensor:
        """(B, N, M) rows sum to 1 over the real frames of Y."""
        scores = -torch.cdist(x, y).square() / (x.shape[-1] * self.tau)
        return scores.masked_fill(~mask_y.unsqueeze(1), -torch.inf).softmax(2)


class TCC(Method):
    """Alignment by temporal cycle consistency, with cycle-back regression.

    Embeddings keep their length: divided by D and tau, the squared distances of unit-length ones are at most
    4 / (D tau) = 1 at D = 40, too close to each other for a softmax to tell frames apart.
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
        """Cycle-back regression over the pairs of the batch, both directions."""
        x, y, mask_x, mask_y = embedded[0::2], embedded[1::2], batch.mask[0::2], batch.mask[1::2]
        return {"loss": (self.hyper.loss(x, y, mask_x, mask_y) + self.hyper.loss(y, x, mask_y, mask_x)) / 2}
