"""The two transport problems of the paper: frames to frames (alignment) and frames to actions (segmentation).

Each is a frozen dataclass of settings whose ``match`` builds the cost, solves the problem and returns training targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vasot_lib.checks import (
    FLOATS,
    Count,
    NotNegativeWeight,
    Radius,
    Range,
    Share,
    Weight,
    check_embeddings,
    check_fields,
    check_tensors,
)
from vasot_lib.errors import InputError
from vasot_lib.transport.cost import cosine_cost, temporal_prior
from vasot_lib.transport.dummy import add_dummy, drop_dummy, dummy_marginal, keep_above
from vasot_lib.transport.solver import Plan, Scheme, solve
from vasot_lib.transport.structure import Distinct, Far, Near

Dummy = Literal["none", "soft", "threshold"]


class AlignmentTargets(NamedTuple):
    """Pseudo-labels for the alignment loss, and the transport plan from which they were computed.

    Attributes:
        x_to_y: (B, N, M) matching probabilities; row i sums to the share of frame i of X that is matched to real frames
            of Y (if the plan meets its row masses, which without ``finish``, as in the release, it does not).
        y_to_x: (B, M, N), the same seen from Y; with Y relaxed its rows may sum to more than 1.
        plan: the solved plan; if there is a dummy frame, its row and column come first.
    """

    x_to_y: Tensor
    y_to_x: Tensor
    plan: Plan


@dataclass(frozen=True)
class Alignment:
    """Settings by which two videos are matched frame to frame (SPEC sections 2 to 4).

    Attributes:
        alpha: weight of the structure term; 0 switches the structural prior off.
        radius: r, half-width of the neighbourhood as a share of the video's length.
        rho: weight of the temporal prior; 0 switches it off.
        epsilon: weight of the entropy.
        relax: weight of the KL penalty on Y's marginal, which lets frames of Y be left out or used more than once; None
            fixes the marginal (balanced transport).
        dummy: how the dummy frame is used, ``soft`` (release) or ``threshold`` (paper); ``none`` for no dummy frame.
        zeta: cost of the dummy frame; with ``threshold`` also the threshold.
        dummy_mass: share of the mass that the dummy carries; None gives it the mass of one frame.
        structured_dummy: the dummy takes part in the structural prior as the frame before the first one (release);
            otherwise it has no neighbours.
        scheme, iterations, sweeps, finish: see :func:`vasot_lib.transport.solve`.
    """

    alpha: Share = 0.3
    radius: Radius = 0.04
    rho: NotNegativeWeight = 0.35
    epsilon: Weight = 0.07
    relax: Weight | None = None
    dummy: Dummy = "soft"
    zeta: NotNegativeWeight = 0.5
    dummy_mass: Annotated[float, Range(least=0, below=1)] | None = None
    structured_dummy: bool = False
    scheme: Scheme = "sinkhorn"
    iterations: Count = 25
    sweeps: Count = 1
    finish: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def match(
        self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor, *, dummy_shares: tuple[float, float] | None = None
    ) -> AlignmentTargets:
        """Match the frames of B pairs of videos.

        Args:
            x: (B, N, D) embeddings of the frames of X.
            y: (B, M, D) embeddings of the frames of Y.
            mask_x: (B, N) bool, real frames.
            mask_y: (B, M) bool.
            dummy_shares: mass of the dummy's row and of its column where these differ; None takes ``dummy_mass``.

        >>> x = torch.eye(3)[None]  # three frames, each unlike the others
        >>> y = x[:, [0, 2, 0]]  # the second of them has no partner here and goes to the dummy
        >>> mask = torch.ones(1, 3, dtype=torch.bool)
        >>> recipe = Alignment(alpha=0.0, rho=0.0, epsilon=0.1, dummy_mass=0.5)
        >>> recipe.match(x, y, mask, mask).x_to_y[0].mul(100).round()  # per cent of each frame
        tensor([[49.,  0., 49.],
                [ 0.,  0.,  0.],
                [ 0., 89.,  0.]])
        """
        check_embeddings(FLOATS, {"x": mask_x, "y": mask_y}, x=x, y=y)
        prior = temporal_prior(x.shape[1], y.shape[1], mask_x.sum(1), mask_y.sum(1))
        cost = cosine_cost(x, y).add_(prior, alpha=self.rho)
        mass_x = mass_y = None
        if self.dummy != "none":
            precise = torch.promote_types(x.dtype, torch.float32)  # in half precision masses would not sum to 1
            shares = dummy_shares or (self.dummy_mass, self.dummy_mass)
            mass_x, mass_y = (dummy_marginal(m, s).to(precise) for m, s in zip((mask_x, mask_y), shares, strict=True))
            mask_x, mask_y = (F.pad(mask, (1, 0), value=True) for mask in (mask_x, mask_y))
            cost = add_dummy(cost, self.zeta)
        free = 0 if self.dummy == "none" or self.structured_dummy else 1
        plan = solve(
            cost, (Near(self.radius, free), Far(self.radius, free)), alpha=self.alpha, epsilon=self.epsilon,
            relax_y=self.relax, mask_x=mask_x, mask_y=mask_y, mass_x=mass_x, mass_y=mass_y,
            scheme=self.scheme, iterations=self.iterations, sweeps=self.sweeps, finish=self.finish,
        )  # fmt: skip
        if mass_x is None or mass_y is None:
            n, m = mask_x.sum(1)[:, None, None], mask_y.sum(1)[:, None, None]
            return AlignmentTargets(plan.matrix * n, plan.matrix.transpose(1, 2) * m, plan)
        x_to_y, y_to_x = drop_dummy(plan.matrix, mass_x), drop_dummy(plan.matrix.transpose(1, 2), mass_y)
        if self.dummy == "threshold":
            x_to_y, y_to_x = keep_above(x_to_y, self.zeta), keep_above(y_to_x, self.zeta)
        return AlignmentTargets(x_to_y, y_to_x, plan)


@dataclass(frozen=True)
class Segmentation:
    """Settings by which the frames of a video are matched to K actions (SPEC sections 2 and 3).

    Attributes:
        alpha, radius, rho, epsilon: as in :class:`Alignment`.
        relax: weight of the KL penalty on the masses of the actions; None gives every action equally many frames.
        scheme, iterations, sweeps, finish: see :func:`vasot_lib.transport.solve`.
    """

    alpha: Share = 0.3
    radius: Radius = 0.04
    rho: NotNegativeWeight = 0.15
    epsilon: Weight = 0.07
    relax: Weight | None = 0.11
    scheme: Scheme = "mirror"
    iterations: Count = 25
    sweeps: Count = 1
    finish: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def match(self, x: Tensor, actions: Tensor, mask: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Plan]:
        """Match the frames of B videos to K actions.

        Args:
            x: (B, N, D) frame embeddings.
            actions: (K, D) action embeddings, or (B, K, D) where each video has its own.
            mask: (B, N) bool, real frames.
            prior: (B, N, K) cost in the place of rho times the temporal prior.

        Returns:
            (B, N, K) pseudo-labels T*, whose rows sum to 1 (but for a balanced plan without ``finish``, which need not
            meet its row masses), and the plan from which they were computed.

        >>> frames = torch.tensor([[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]])
        >>> labels, plan = Segmentation(alpha=0.0, rho=0.0, epsilon=0.25).match(
        ...     frames, torch.eye(2), torch.ones(1, 3, dtype=torch.bool)
        ... )
        >>> labels[0].mul(100).round()  # per cent of each frame
        tensor([[98.,  2.],
                [96.,  4.],
                [ 1., 99.]])
        """
        check_embeddings(FLOATS, {"x": mask}, x=x, actions=actions)
        cost, n, k = cosine_cost(x, actions), mask.sum(1), actions.shape[-2]
        if prior is None:
            prior = self.rho * temporal_prior(x.shape[1], k, n, torch.full_like(n, k))
        check_tensors(FLOATS, prior=prior)
        if prior.shape != cost.shape:
            raise InputError(f"prior has shape {tuple(prior.shape)}; expected {tuple(cost.shape)}")
        plan = solve(
            cost.add_(prior), (Near(self.radius), Distinct()), alpha=self.alpha,
            epsilon=self.epsilon, relax_y=self.relax, mask_x=mask, scheme=self.scheme, iterations=self.iterations,
            sweeps=self.sweeps, finish=self.finish,
        )  # fmt: skip
        return plan.matrix * n[:, None, None], plan
