"""Losses: cross-entropy between soft matches and transport targets, and the contrastive term against collapse."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(B, N, M) squared Euclidean distances ``|x_i - y_j|^2 = 2 - 2 x_i . y_j`` of unit-length embeddings.

    Args:
        x: (B, N, D) unit-length embeddings.
        y: (B, M, D) unit-length embeddings.
    """
    return (2.0 - 2.0 * x @ y.transpose(1, 2)).clamp_min(0.0)  # rounding could make equal embeddings negative


def matching_loss(x: Tensor, y: Tensor, targets: Tensor, tau: float, mask_x: Tensor, mask_y: Tensor | None) -> Tensor:
    """``L = - mean_i sum_j T*_ij log P_ij`` with ``P_ij = softmax_j(x_i . y_j / tau)``.

    The one loss of both tasks: y are the frames of another video (alignment) or the action embeddings (segmentation).
    The mean runs over the real frames of each sample and then over samples; padded columns get no probability.

    Args:
        x: (B, N, D) unit-length embeddings.
        y: (B, M, D) or (M, D) unit-length embeddings.
        targets: (B, N, M) T*, rows summing to at most 1; no gradient flows into them.
        tau: temperature, > 0.
        mask_x: (B, N) bool, real frames.
        mask_y: (B, M) bool, or None where every column is real.

    Returns:
        scalar.

    Source: SPEC section 5.
    """
    scores = x @ y.transpose(-1, -2) / tau
    if mask_y is not None:
        scores = scores.masked_fill(~mask_y.unsqueeze(1), -torch.inf)
    log_p = scores.log_softmax(2)
    # 0 * -inf on padded columns would be NaN.
    per_frame = -torch.where(targets.detach() > 0, targets.detach() * log_p, 0.0).sum(2)
    return ((per_frame * mask_x).sum(1) / mask_x.sum(1)).mean()


def contrastive_idm(x: Tensor, mask: Tensor, window: float = 10.0, margin: float = 2.0) -> Tensor:
    """Contrastive inverse-difference-moment: pulls close frames of one video together, pushes distant ones apart.

    The sum of :func:`idm_per_video` is divided by the number of pairs of real frames and averaged over the videos. Time
    is counted in sampled frames here. If all frames have the same embedding, the value is about ``margin``.

    Args:
        x: (B, N, D) unit-length embeddings.
        mask: (B, N) bool, real frames.
        window: frames that count as close.
        margin: squared distance from which distant frames are far enough apart.

    Source: LAV's regulariser, SPEC sections 5 and 10.
    """
    frame = torch.arange(x.shape[1], device=x.device).expand(mask.shape)
    return (idm_per_video(x, mask, frame, window, margin) / mask.sum(1) ** 2).mean()


def idm_per_video(x: Tensor, mask: Tensor, frame: Tensor, window: float, margin: float) -> Tensor:
    """(B,) contrastive inverse-difference-moment of each sample, the sum over all pairs of its real frames.

    With d_ij the squared distance of two embeddings and t the frame's place in its video, 0 to 1, a pair costs
    ``(1 + (t_i - t_j)^2) max(0, margin - d_ij)`` where ``|t_i - t_j| > window / length``, else ``d_ij``.

    Args:
        x: (B, N, D) unit-length embeddings.
        mask: (B, N) bool, real frames.
        frame: (B, N) frame numbers from 0; the last real one ends the video.
        window: frame numbers that count as close.
        margin: squared distance from which distant frames are far enough apart.
    """
    length = (frame * mask).amax(1)[:, None, None] + 1
    apart = (frame.unsqueeze(2) - frame.unsqueeze(1)).abs()
    far = 1.0 + (apart.to(x.dtype) / length) ** 2
    return _pull_and_push(x, mask, apart <= window, margin, pull=1.0, push=far)


def intra_video_contrast(x: Tensor, mask: Tensor, window: float, margin: float) -> Tensor:
    """Scalar: pulls close frames of one video together, the nearer in time the harder, and pushes distant ones apart.

    A pair costs ``d_ij / ((i - j)^2 + 1)`` where ``|i - j| <= window``, else ``max(0, margin - d_ij)``, with d_ij the
    squared distance. The mean over all pairs of real frames, then over samples.

    Args:
        x: (B, N, D) unit-length embeddings.
        mask: (B, N) bool, real frames.
        window: sampled frames that count as close.
        margin: squared distance from which distant frames are far enough apart.

    Source: VAVA's intra-video term, SPEC section 10.
    """
    frame = torch.arange(x.shape[1], device=x.device)
    apart = (frame[:, None] - frame).abs()
    sums = _pull_and_push(x, mask, apart <= window, margin, pull=1.0 / (apart.square() + 1.0), push=1.0)
    return (sums / mask.sum(1) ** 2).mean()


def _pull_and_push(
    x: Tensor, mask: Tensor, close: Tensor, margin: float, pull: Tensor | float, push: Tensor | float
) -> Tensor:
    """(B,) sums over the pairs of real frames: ``pull d_ij`` for close ones, else ``push max(0, margin - d_ij)``."""
    distance = squared_distances(x, x)
    pair = torch.where(close, pull * distance, push * (margin - distance).clamp_min(0.0))
    return (pair * (mask.unsqueeze(2) & mask.unsqueeze(1))).sum((1, 2))
