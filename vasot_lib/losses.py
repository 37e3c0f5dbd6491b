"""Losses: cross-entropy between soft matches and transport targets, and the contrastive term against collapse."""

from __future__ import annotations

import torch
from torch import Tensor


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

    With d_ij the squared distance of two embeddings and t the frame's place in its video, 0 to 1, a pair costs
    ``(1 + (t_i - t_j)^2) max(0, margin - d_ij)`` where ``|t_i - t_j| > window / length``, else ``d_ij``. The mean over
    all pairs of real frames, then over samples: one cluster for everything costs about ``margin``.

    Args:
        x: (B, N, D) unit-length embeddings.
        mask: (B, N) bool, real frames.
        window: frames that count as close.
        margin: squared distance from which distant frames are far enough apart.

    Source: LAV's regulariser, SPEC sections 5 and 10.
    """
    length = mask.sum(1).to(x.dtype)[:, None, None]
    distance = (2.0 - 2.0 * x @ x.transpose(1, 2)).clamp_min(0.0)
    frame = torch.arange(x.shape[1], device=x.device)
    apart = (frame[:, None] - frame).abs()
    pair = torch.where(apart > window, (1.0 + (apart / length) ** 2) * (margin - distance).clamp_min(0.0), distance)
    both = mask.unsqueeze(2) & mask.unsqueeze(1)
    return ((pair * both).sum((1, 2)) / both.sum((1, 2))).mean()
