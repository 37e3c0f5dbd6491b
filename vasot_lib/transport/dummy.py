"""Dummy (virtual) frames: one extra row and column of constant cost that take the mass of background frames.

Balanced marginals cap the dummy column at the mass of **one** frame, 1 / (M + 1), however many background frames
there are. ``dummy_mass`` lifts the cap: the dummy row and column each carry that share of the mass, and what they do
not need waits in the corner between them. Moving a pair of frames there pays as soon as their cost exceeds zeta
(partial transport), a little sooner with structure, which real pairs also pay for. That is the limit of small epsilon:
at .07 the entropy spreads mass into the dummy as well, and well-matched frames lose some of theirs. With an empty
corner, as with room for one frame, zeta adds the same to every plan and decides nothing. Source: SPEC section 4.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import Range, check_value


def add_dummy(cost: Tensor, zeta: float) -> Tensor:
    """Prepend a row and a column of cost zeta: (B, N, M) to (B, N + 1, M + 1).

    Both come first. The VASOT release puts the row first and the column last but removes index 0 of both, which
    shifts its pseudo-labels by one frame of Y.
    """
    return F.pad(cost, (1, 0, 1, 0), value=zeta)


def dummy_marginal(mask: Tensor, dummy_mass: float | None) -> Tensor:
    """Masses of the dummy and the real frames, (B, N + 1): equal shares where ``dummy_mass`` is None.

    Args:
        mask: (B, N) bool, the real frames.
        dummy_mass: share of the mass that the dummy carries, 0 <= share < 1; 1 / (N + 1) equals None.
    """
    frames = mask.sum(1, keepdim=True)
    if dummy_mass is None:
        share = 1.0 / (frames + 1)
    else:
        check_value("dummy_mass", dummy_mass, Annotated[float, Range(least=0, below=1)])
        share = torch.full_like(frames, dummy_mass, dtype=torch.get_default_dtype())
    return torch.cat((share, mask * (1.0 - share) / frames), dim=1)


def drop_dummy(plan: Tensor, mass_x: Tensor) -> Tensor:
    """Soft handling: targets of the real frames, (B, N + 1, M + 1) to (B, N, M).

    Row i is divided by its own mass, so it sums to the share that stayed on real frames, at most 1; a frame's loss
    is weighted by that share. [release]

    Args:
        plan: transport plan with the dummy first.
        mass_x: (B, N + 1) row masses p that the plan was solved with.
    """
    return plan[:, 1:, 1:] / mass_x[:, 1:].clamp_min(torch.finfo(plan.dtype).tiny).unsqueeze(2)


def keep_above(targets: Tensor, zeta: float) -> Tensor:
    """Threshold handling: rows whose largest matching probability is below zeta become zero, (B, N, M). [paper]

    A soft plan over hundreds of frames spreads each row over many of them, so that zeta = .5 drops nearly every
    frame: this handling is meant for the paper's 20 frames per video.
    """
    return targets * (targets.amax(2, keepdim=True) >= zeta)
