"""Dummy (virtual) frames: one extra row and column of constant cost zeta that take the mass of background frames.

With balanced marginals and uniform masses the dummy column takes as much mass as **one** frame, 1 / (M + 1), however
many background frames there are, and since it always takes that much, zeta adds the same amount to the cost of every
plan and decides nothing.

``dummy_mass`` changes both: the dummy's row and column each carry that share of the mass, and the part of it that they
do not take from real frames lies in the corner where they cross. Then moving the mass of a pair of frames to the dummy
lowers the cost as soon as the pair costs more than zeta (partial transport), and a little earlier with a structural
prior, which is one more cost of real pairs. This describes the limit of small epsilon. At an epsilon of .07 the entropy
spreads some mass of well-matched frames into the dummy as well. Source: SPEC section 4.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import FLOATS, NotNegativeWeight, Range, check_tensors, check_value
from vasot_lib.errors import InputError


def add_dummy(cost: Tensor, zeta: float) -> Tensor:
    """Put a row and a column of cost zeta before the others: (B, N, M) to (B, N + 1, M + 1).

    The VASOT release puts the dummy row first and the dummy column last, but later removes index 0 of both, which
    shifts its pseudo-labels by one frame of Y.

    >>> add_dummy(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), zeta=0.5)
    tensor([[[0.5000, 0.5000, 0.5000],
             [0.5000, 0.0000, 1.0000],
             [0.5000, 1.0000, 0.0000]]])
    """
    check_tensors(FLOATS, cost=cost)
    check_value("zeta", zeta, NotNegativeWeight)
    return F.pad(cost, (1, 0, 1, 0), value=zeta)


def dummy_marginal(mask: Tensor, dummy_mass: float | None) -> Tensor:
    """Masses of the dummy and the real frames, (B, N + 1): equal shares where ``dummy_mass`` is None.

    Args:
        mask: (B, N) bool, the real frames.
        dummy_mass: share of the mass that the dummy carries, 0 <= share < 1; None stands for 1 / (N + 1).

    >>> dummy_marginal(torch.ones(1, 3, dtype=torch.bool), dummy_mass=0.4)
    tensor([[0.4000, 0.2000, 0.2000, 0.2000]])
    """
    check_tensors((torch.bool,), mask=mask)
    if mask.ndim != 2 or (mask.device.type == "cpu" and not bool(mask.any(1).all())):  # a GPU would wait
        raise InputError(f"mask has shape {tuple(mask.shape)}; expected (batch, frames), a real frame in every sample")
    frames = mask.sum(1, keepdim=True)
    if dummy_mass is None:
        share = 1.0 / (frames + 1)
    else:
        check_value("dummy_mass", dummy_mass, Annotated[float, Range(least=0, below=1)])
        share = torch.full_like(frames, dummy_mass, dtype=torch.get_default_dtype())
    return torch.cat((share, mask * (1.0 - share) / frames), dim=1)


def drop_dummy(plan: Tensor, mass_x: Tensor) -> Tensor:
    """Soft handling: matching probabilities of the real frames, (B, N + 1, M + 1) to (B, N, M). [release]

    Row i is divided by the mass p_i. It sums to the share of the frame's mass that did not go to the dummy, which is at
    most 1; this share is the weight of the frame in the loss.

    Args:
        plan: transport plan with the dummy's row and column first.
        mass_x: (B, N + 1) row masses p that the plan was solved with.

    >>> plan = torch.tensor([[[0.1, 0.1, 0.2], [0.0, 0.3, 0.0], [0.2, 0.0, 0.1]]])
    >>> drop_dummy(plan, plan.sum(2))  # of the second real frame, 2 / 3 went to the dummy
    tensor([[[1.0000, 0.0000],
             [0.0000, 0.3333]]])
    """
    return plan[:, 1:, 1:] / mass_x[:, 1:].clamp_min(torch.finfo(plan.dtype).tiny).unsqueeze(2)


def keep_above(targets: Tensor, zeta: float) -> Tensor:
    """Threshold handling: rows whose largest matching probability is below zeta become zero, (B, N, M). [paper]

    It is meant for the paper's 20 frames per video. With hundreds of frames a soft plan spreads each row over many of
    them, and zeta = .5 drops nearly every frame.

    >>> keep_above(torch.tensor([[[0.8, 0.2], [0.4, 0.4]]]), zeta=0.5)
    tensor([[[0.8000, 0.2000],
             [0.0000, 0.0000]]])
    """
    return targets * (targets.amax(2, keepdim=True) >= zeta)
