"""The linear cost of a match: how unlike two embeddings are, and how far apart in relative time (temporal prior)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import FLOATS, Count, check_embeddings, check_tensors, check_value
from vasot_lib.errors import InputError


def unit_length(x: Tensor) -> Tensor:
    """(..., D) rows scaled to length 1, whatever finite length they have; rows of zeros stay zero."""
    rows = x.to(torch.promote_types(x.dtype, torch.float32))
    peak = rows.detach().abs().amax(-1, keepdim=True)
    peak = torch.where(peak > 0, peak, 1.0)
    # Squares of very long or short rows leave the range of floats. Division by a power of two rounds nothing.
    return F.normalize(rows / (peak / (2 * torch.frexp(peak).mantissa)), dim=-1).to(x.dtype)


def cosine_cost(x: Tensor, y: Tensor) -> Tensor:
    """``C_ij = 1 - cos(x_i, y_j)``, between 0 and 2.

    Args:
        x: (B, N, D) or (N, D) embeddings, of any finite length; an all-zero row costs 1 against everything.
        y: (B, M, D) or (M, D) embeddings of frames or actions.

    Returns:
        (B, N, M) or (N, M).

    Raises:
        InputError: no float tensors of one type and width.

    Source: SPEC section 2.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    >>> cosine_cost(x, x[:2])
    tensor([[0., 1.],
            [1., 0.],
            [2., 1.]])
    """
    check_embeddings(FLOATS, x=x, y=y)
    return (unit_length(x) @ unit_length(y).transpose(-1, -2)).neg_().add_(1.0)


def temporal_prior(
    n: int,
    m: int,
    lengths_x: Tensor | None = None,
    lengths_y: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """``R_ij = |i / N - j / M|`` with i and j counted from 0: no cost on the diagonal, up to 1 in the far corners.

    Args:
        n: number of rows, padding included.
        m: number of columns, padding included.
        lengths_x: (B,) number of real frames of each sample, which is N in the formula; None stands for ``n``.
        lengths_y: (B,) the same for the columns.
        device: device of the result; where lengths are given it is theirs.

    Returns:
        (n, m), or (B, n, m) where lengths are given; float32.

    Source: SPEC section 2. The released code divides by the padded length, so padding moves its diagonal.

    >>> temporal_prior(4, 2)
    tensor([[0.0000, 0.5000],
            [0.2500, 0.2500],
            [0.5000, 0.0000],
            [0.7500, 0.2500]])
    """
    check_value("n", n, Count)
    check_value("m", m, Count)
    i, j = _relative_time(n, lengths_x, device), _relative_time(m, lengths_y, device)
    return (i.unsqueeze(-1) - j.unsqueeze(-2)).abs_()


def _relative_time(n: int, lengths: Tensor | None, device: torch.device | str | None) -> Tensor:
    """``i / N`` for all entries of one side, (n,) or (B, n)."""
    if lengths is None:
        return torch.arange(n, device=device) / n
    check_tensors((torch.int64, torch.int32), lengths=lengths)
    if lengths.device.type == "cpu" and not bool(((lengths > 0) & (lengths <= n)).all()):  # a GPU would wait
        raise InputError(f"lengths are {lengths.tolist()}; every sample needs a real frame and has at most {n}")
    return torch.arange(n, device=lengths.device) / lengths.unsqueeze(-1)
