"""The linear term: what it costs to match two frames, or a frame and an action, and how far apart in time they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_cost(x: Tensor, y: Tensor) -> Tensor:
    """``C_ij = 1 - cos(x_i, y_j)``, between 0 and 2.

    Args:
        x: (B, N, D) or (N, D) embeddings, of any length; an all-zero row costs 1 against everything.
        y: (B, M, D) or (M, D) embeddings of frames or actions.

    Returns:
        (B, N, M) or (N, M).

    Source: SPEC section 2.
    """
    return (F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).transpose(-1, -2)).neg_().add_(1.0)


def temporal_prior(
    n: int,
    m: int,
    lengths_x: Tensor | None = None,
    lengths_y: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """``R_ij = |i / N - j / M|``, zero-based: cheap near the diagonal, up to 1 in the far corners.

    Args:
        n: rows, padding included.
        m: columns, padding included.
        lengths_x: (B,) real frames per sample, N in the formula; ``n`` where None.
        lengths_y: (B,) the same for the columns.
        device: where to make it; that of the lengths where they are given.

    Returns:
        (n, m), or (B, n, m) where lengths are given; float32.

    Source: SPEC section 2. The released code divides by the padded length, so padding moves its diagonal.
    """
    i, j = _relative_time(n, lengths_x, device), _relative_time(m, lengths_y, device)
    return (i.unsqueeze(-1) - j.unsqueeze(-2)).abs_()


def _relative_time(n: int, lengths: Tensor | None, device: torch.device | str | None) -> Tensor:
    if lengths is None:
        return torch.arange(n, device=device) / n
    return torch.arange(n, device=lengths.device) / lengths.unsqueeze(-1)
