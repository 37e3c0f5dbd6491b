"""The losses that several methods share (SPEC sections 5 and 10).

- :func:`matching_loss`: cross-entropy between transport targets and a softmax over cosines. It is the loss of VAOT,
  ASOT, VASOT, TOT and UFSA.
- :func:`contrastive_idm`: keeps embeddings from collapsing; an option of VAOT and VASOT. :func:`idm_per_video` is the
  same in the units of LAV.

They take float32 and float64, and raise an ``InputError`` for anything else, half precision included: sums over all
pairs of frames overflow or lose their digits there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vasot_lib.checks import FLOATS, NotNegativeWeight, Weight, check_embeddings, check_tensors, check_value
from vasot_lib.errors import InputError


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(B, N, M) squared Euclidean distances ``|x_i - y_j|^2 = 2 - 2 x_i . y_j`` of unit-length embeddings.

    Args:
        x: (B, N, D) unit-length embeddings.
        y: (B, M, D) unit-length embeddings.
    """
    return (2.0 - 2.0 * x @ y.transpose(1, 2)).clamp_min(0.0)  # rounding can make the distance of equal ones negative


def matching_loss(x: Tensor, y: Tensor, targets: Tensor, tau: float, mask_x: Tensor, mask_y: Tensor | None) -> Tensor:
    """``L = - mean_i sum_j T*_ij log P_ij`` with ``P_ij = softmax_j(x_i . y_j / tau)``.

    Both tasks use it: y_j are the frames of another video (alignment) or the action embeddings (segmentation). The mean
    is taken over the real frames of each video, then over the videos. Padded columns get probability 0.

    Args:
        x: (B, N, D) unit-length embeddings.
        y: (B, M, D) or (M, D) unit-length embeddings.
        targets: (B, N, M) T*, rows summing to at most 1; treated as constants, without a gradient.
        tau: temperature, > 0.
        mask_x: (B, N) bool, True on real frames.
        mask_y: (B, M) bool, or None if every column is real.

    Returns:
        scalar.

    Source: SPEC section 5.
    """
    masks = {"x": mask_x} if mask_y is None else {"x": mask_x, "y": mask_y}
    check_embeddings(FLOATS[:2], masks, x=x, y=y)
    check_value("tau", tau, Weight)
    check_tensors(FLOATS[:2], targets=targets)
    if targets.shape != (*x.shape[:2], y.shape[-2]):
        raise InputError(f"targets have shape {tuple(targets.shape)}; expected {(*x.shape[:2], y.shape[-2])}")
    scores = x @ y.transpose(-1, -2) / tau
    if mask_y is not None:
        scores = scores.masked_fill(~mask_y.unsqueeze(1), -torch.inf)
    log_p = scores.log_softmax(2)  # (B, N, M)
    # On padded columns T* is 0 and log P is -inf; their product would be NaN.
    per_frame = -torch.where(targets <= 0, 0.0, targets.detach() * log_p).sum(2)
    return ((per_frame * mask_x).sum(1) / mask_x.sum(1)).mean()


def contrastive_idm(x: Tensor, mask: Tensor, window: float = 10.0, margin: float = 2.0) -> Tensor:
    """Contrastive inverse-difference-moment: pulls close frames of one video together, pushes distant ones apart.

    The sum of :func:`idm_per_video` is divided by the number of pairs of real frames and averaged over the videos. Time
    is counted in sampled frames here. If all frames have the same embedding, the value is about ``margin``.

    Args:
        x: (B, N, D) unit-length embeddings.
        mask: (B, N) bool, True on real frames.
        window: largest number of frames between two frames that are pulled together.
        margin: squared distance beyond which a pair of distant frames costs nothing.

    Returns:
        scalar.

    Source: the regulariser of LAV; SPEC sections 5 and 10.
    """
    check_embeddings(FLOATS[:2], {"x": mask}, x=x)
    check_value("window", window, NotNegativeWeight)
    check_value("margin", margin, NotNegativeWeight)
    frame = torch.arange(x.shape[1], device=x.device).expand(mask.shape)
    return (idm_per_video(x, mask, frame, window, margin) / mask.sum(1) ** 2).mean()


def idm_per_video(x: Tensor, mask: Tensor, frame: Tensor, window: float, margin: float) -> Tensor:
    """(B,) contrastive inverse-difference-moment (IDM) of each video, summed over all pairs of its real frames.

    Let d_ij be the squared distance of the embeddings of frames i and j, and t_i the frame number over the length of
    the video. A pair costs ``(1 + (t_i - t_j)^2) max(0, margin - d_ij)`` if ``|t_i - t_j| > window / length``, and
    ``d_ij`` otherwise.

    Args:
        x: (B, N, D) unit-length embeddings.
        mask: (B, N) bool, True on real frames.
        frame: (B, N) frame number of each row, from 0; the largest one of a real frame plus 1 counts as the length.
        window: largest difference of frame numbers at which two frames are pulled together.
        margin: squared distance beyond which a pair of distant frames costs nothing.
    """
    length = (frame * mask).amax(1)[:, None, None] + 1
    apart = (frame.unsqueeze(2) - frame.unsqueeze(1)).abs()
    far = 1.0 + (apart.to(x.dtype) / length) ** 2
    return pull_and_push(x, mask, apart <= window, margin, pull=1.0, push=far)


def pull_and_push(
    x: Tensor, mask: Tensor, close: Tensor, margin: float, pull: Tensor | float, push: Tensor | float
) -> Tensor:
    """(B,) sums over all pairs of real frames: ``pull d_ij`` if the pair is close, else ``push max(0, margin - d_ij)``.

    ``close``, ``pull`` and ``push`` broadcast to (B, N, N).
    """
    distance = squared_distances(x, x)
    pair = torch.where(close, pull * distance, push * (margin - distance).clamp_min(0.0))
    return (pair * (mask.unsqueeze(2) & mask.unsqueeze(1))).sum((1, 2))
