"""Embeddings and batches for the tests of methods."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vasot_lib.data import Batch

WIDTH = 9


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random vectors of unit length along the last dimension, float64."""
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def strided(lengths: tuple[int, ...], strides: tuple[int, ...]) -> Batch:
    """Of each video so many frames, one of every stride; the rest is padding up to ``WIDTH``."""
    frame = torch.stack([torch.arange(WIDTH).clamp_max(n - 1) * s for n, s in zip(lengths, strides, strict=True)])
    mask = torch.arange(WIDTH) < torch.tensor(lengths)[:, None]
    return Batch(torch.zeros(len(lengths), WIDTH, 1), mask, frame, torch.arange(len(lengths)))
