"""The two problems of the paper, each as one frozen recipe: frames to frames, and frames to actions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.errors import InputError, unknown_name
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


def _check(recipe: Alignment | Segmentation) -> None:
    """Refuse values out of range when a recipe is made, before any data is read."""
    ranges = {"alpha": (0.0, 1.0), "radius": (1e-9, 1.0), "rho": (0.0, math.inf), "epsilon": (1e-9, math.inf)}
    for name, (low, high) in ranges.items():
        value = getattr(recipe, name)
        if not (low <= value <= high and value < math.inf):
            raise InputError(f"{name} is {value}; it must lie between {low:g} and {high:g}")
    if recipe.relax is not None and not 0.0 < recipe.relax < math.inf:
        raise InputError(f"relax is {recipe.relax}; it must be a positive number, or None for balanced")
    if recipe.scheme not in get_args(Scheme):
        raise unknown_name("scheme", recipe.scheme, get_args(Scheme))
    if recipe.iterations < 1 or recipe.sweeps < 1:
        raise InputError(
            f"iterations is {recipe.iterations} and sweeps is {recipe.sweeps}; at least 1 of each is needed"
        )


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

    alpha: float = 0.3
    radius: float = 0.04
    rho: float = 0.35
    epsilon: float = 0.07
    relax: float | None = None
    dummy: Dummy = "soft"
    zeta: float = 0.5
    dummy_mass: float | None = None
    structured_dummy: bool = False
    scheme: Scheme = "sinkhorn"
    iterations: int = 25
    sweeps: int = 1
    finish: bool = True

    def __post_init__(self) -> None:
        _check(self)
        if self.dummy not in get_args(Dummy):
            raise unknown_name("dummy handling", self.dummy, get_args(Dummy))
        if not 0.0 <= self.zeta < math.inf:
            raise InputError(f"zeta is {self.zeta}; it must be a number that is not negative")
        if self.dummy_mass is not None and not 0.0 <= self.dummy_mass < 1.0:
            raise InputError(
                f"dummy_mass is {self.dummy_mass}; the dummy's share of the mass is at least 0 and below 1"
            )

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

    alpha: float = 0.3
    radius: float = 0.04
    rho: float = 0.15
    epsilon: float = 0.07
    relax: float | None = 0.11
    scheme: Scheme = "mirror"
    iterations: int = 25
    sweeps: int = 1
    finish: bool = True

    def __post_init__(self) -> None:
        _check(self)

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
