"""Whether the embeddings have collapsed, so that all frames have nearly the same one (SPEC section 5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vasot_lib.errors import InputError
from vasot_lib.transport.cost import unit_length


def measure_collapse(embeddings: Tensor | np.ndarray) -> dict[str, float]:
    """Mean pairwise cosine and effective rank of a set of embeddings; both are about 1 if the embeddings collapsed.

    The rows are scaled to unit length first and not centred. ``mean_cosine`` is the mean over all pairs of different
    rows. ``effective_rank`` is exp of the entropy of the singular values divided by their sum (Roy and Vetterli 2007);
    it lies between 1 and D.

    Args:
        embeddings: (N, D), at least two rows.

    Raises:
        InputError: the embeddings are not a matrix of at least two rows.
    """
    rows = torch.as_tensor(embeddings).detach()
    if rows.ndim != 2 or len(rows) < 2:
        raise InputError(f"embeddings have shape {tuple(rows.shape)}; expected (N, D) with N of at least 2")
    # In float64, because the square roots below would turn rounding errors of 1e-7 into singular values of 3e-4.
    rows = unit_length(rows.double())
    if not rows.any():  # a dead encoder: one point, although zeros have no direction
        return {"mean_cosine": 1.0, "effective_rank": 1.0}
    n = len(rows)
    mean_cosine = (rows.sum(dim=0).square().sum() - rows.square().sum()) / (n * (n - 1))
    gram = rows.T @ rows if rows.shape[1] < n else rows @ rows.T
    spectrum = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    weight = spectrum / spectrum.sum().clamp_min(1e-300)
    return {"mean_cosine": float(mean_cosine), "effective_rank": float(torch.special.entr(weight).sum().exp())}
