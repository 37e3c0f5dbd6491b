"""Encoders: from what a data set stores per frame to unit-length embeddings."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MLPEncoder(nn.Module):
    """Per-frame two-layer perceptron, ``in -> hidden -> out``, ReLU between (SPEC section 6).

    Attributes:
        n_out: width of the embeddings; every encoder has it.
        unit_length: whether embeddings are scaled to length 1, which the methods made of cosines need.
    """

    def __init__(self, n_in: int, n_hidden: int = 128, n_out: int = 40, unit_length: bool = True):
        super().__init__()
        self.n_out = n_out
        self.unit_length = unit_length
        self.layers = nn.Sequential(nn.Linear(n_in, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))

    def forward(self, features: Tensor) -> Tensor:
        """(..., n_in) features to (..., n_out) embeddings."""
        # In mixed precision the layers give bfloat16: too coarse for a length of 1 and for the costs made of it.
        embedded = self.layers(features).to(self.layers[0].weight.dtype)
        return F.normalize(embedded, dim=-1) if self.unit_length else embedded
