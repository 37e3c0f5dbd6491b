"""The two problems of the paper, each as one frozen recipe: frames to frames, and frames to actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import Count, NotNegative, Positive, Range, Share, check_fields
from vasot_lib.transport.cost import cosine_cost, temporal_prior
from vasot_lib.transport.dummy import add_dummy, drop_dummy, dummy_marginal, keep_above
from vasot_lib.transport.solver import Plan, Scheme, solve
from vasot_lib.transport.structure import Distinct, Far, Near

Dummy = Literal["none", "soft", "threshold"]


class Matches(NamedTuple):
    """Targets of the alignment loss and the plan that they come from.

    Attributes:
        x_to_y: (B, N, M), row i sums to the share of frame i of X that is matched to real frames of Y (as far as the
            plan meets its row masses: unfinished plans, as in the release, do not).
        y_to_x: (B, M, N), the same seen from Y; with Y relaxed its rows may sum to more than 1.
        plan: with the dummy's row and column first, where there is one.
    """

    x_to_y: Tensor
    y_to_x: Tensor
    plan: Plan


@dataclass(frozen=True)
class Alignment:
    """How two videos are matched frame to frame (SPEC sections 2 to 4).

    Attributes:
        alpha: weight of the structure term; 0 leaves the structural prior out.
        radius: r, half-width of the neighbourhood as a share of the video's length.
        rho: weight of the temporal prior; 0 leaves it out.
        epsilon: weight of the entropy.
        relax: KL weight of Y's marginal, so that frames of Y may be left out or used twice; None is balanced.
        dummy: ``soft`` (release), ``threshold`` (paper) or ``none``.
        zeta: cost of the dummy frame, and the threshold.
        dummy_mass: share of mass that may go to the dummy; None is one frame's share.
        structured_dummy: the dummy is the first frame of the structure (release); otherwise it has no neighbours.
        scheme, iterations, sweeps, finish: see :func:`vasot_lib.transport.solve`.
    """

    alpha: Share = 0.3
    radius: Annotated[float, Range(above=0, most=1)] = 0.04
    rho: NotNegative = 0.35
    epsilon: Positive = 0.07
    relax: Positive | None = None
    dummy: Dummy = "soft"
    zeta: NotNegative = 0.5
    dummy_mass: Annotated[float, Range(least=0, below=1)] | None = None
    structured_dummy: bool = False
    scheme: Scheme = "sinkhorn"
    iterations: Count = 25
    sweeps: Count = 1
    finish: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def match(self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor) -> Matches:
        """Match the frames of B pairs of videos.

        Args:
            x: (B, N, D) embeddings of the frames of X.
            y: (B, M, D) embeddings of the frames of Y.
            mask_x: (B, N) bool, real frames.
            mask_y: (B, M) bool.
        """
        cost = cosine_cost(x, y)
        cost = cost.add_(temporal_prior(x.shape[1], y.shape[1], mask_x.sum(1), mask_y.sum(1)), alpha=self.rho)
        if self.dummy == "none":
            plan = self._solve(cost, mask_x, mask_y, None, None, free=0)
            n, m = mask_x.sum(1)[:, None, None], mask_y.sum(1)[:, None, None]
            return Matches(plan.matrix * n, plan.matrix.transpose(1, 2) * m, plan)
        precise = torch.promote_types(x.dtype, torch.float32)  # masses of half precision would not sum to 1
        mass_x, mass_y = (dummy_marginal(mask, self.dummy_mass).to(precise) for mask in (mask_x, mask_y))
        mask_x, mask_y = (F.pad(mask, (1, 0), value=True) for mask in (mask_x, mask_y))
        free = 0 if self.structured_dummy else 1
        cost = add_dummy(cost, self.zeta)
        plan = self._solve(cost, mask_x, mask_y, mass_x, mass_y, free)
        x_to_y, y_to_x = drop_dummy(plan.matrix, mass_x), drop_dummy(plan.matrix.transpose(1, 2), mass_y)
        if self.dummy == "threshold":
            x_to_y, y_to_x = keep_above(x_to_y, self.zeta), keep_above(y_to_x, self.zeta)
        return Matches(x_to_y, y_to_x, plan)

    def _solve(
        self, cost: Tensor, mask_x: Tensor, mask_y: Tensor, mass_x: Tensor | None, mass_y: Tensor | None, free: int
    ) -> Plan:
        return solve(
            cost, (Near(self.radius, free), Far(self.radius, free)), alpha=self.alpha, epsilon=self.epsilon,
            relax_y=self.relax, mask_x=mask_x, mask_y=mask_y, mass_x=mass_x, mass_y=mass_y,
            scheme=self.scheme, iterations=self.iterations, sweeps=self.sweeps, finish=self.finish,
        )  # fmt: skip


@dataclass(frozen=True)
class Segmentation:
    """How the frames of a video are matched to K actions (SPEC sections 2 and 3).

    Attributes:
        alpha, radius, rho, epsilon: as in :class:`Alignment`.
        relax: KL weight of the action marginal; None makes every action equally long.
        scheme, iterations, sweeps, finish: see :func:`vasot_lib.transport.solve`.
    """

    alpha: Share = 0.3
    radius: Annotated[float, Range(above=0, most=1)] = 0.04
    rho: NotNegative = 0.15
    epsilon: Positive = 0.07
    relax: Positive | None = 0.11
    scheme: Scheme = "mirror"
    iterations: Count = 25
    sweeps: Count = 1
    finish: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def match(self, x: Tensor, actions: Tensor, mask: Tensor) -> tuple[Tensor, Plan]:
        """Match the frames of B videos to K actions.

        Args:
            x: (B, N, D) frame embeddings.
            actions: (K, D) action embeddings.
            mask: (B, N) bool, real frames.

        Returns:
            (B, N, K) targets T*, rows summing to 1, and the plan that they come from.
        """
        n = mask.sum(1)
        prior = temporal_prior(x.shape[1], len(actions), n, torch.full_like(n, len(actions)))
        plan = solve(
            cosine_cost(x, actions).add_(prior, alpha=self.rho), (Near(self.radius), Distinct()), alpha=self.alpha,
            epsilon=self.epsilon, relax_y=self.relax, mask_x=mask, scheme=self.scheme, iterations=self.iterations,
            sweeps=self.sweeps, finish=self.finish,
        )  # fmt: skip
        return plan.matrix * n[:, None, None], plan
