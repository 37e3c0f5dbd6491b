"""The known defects of the released code; each can be switched on alone in an otherwise correct run.

A defect that settings can express is a set of overrides. Any other has a transport recipe of its own here, which
nothing else in the kit uses. Source: SPEC sections 3, 4, 7 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from vasot_kit.experiments.config import Config, with_overrides
from vasot_lib.errors import InputError, unknown_name
from vasot_lib.transport import Alignment, Distinct, Near, Segmentation, cosine_cost, temporal_prior
from vasot_lib.transport.problem import make_problem
from vasot_lib.transport.recipes import AlignmentTargets
from vasot_lib.transport.reference import Mirror


class ShiftedDummy(Alignment):
    """The targets point one frame of Y too early. [VASOT release]

    The release drops the first column of the plan as the dummy's, although the dummy's column is the last.
    """

    def match(
        self, x: Tensor, y: Tensor, mask_x: Tensor, mask_y: Tensor, *, dummy_shares: tuple[float, float] | None = None
    ) -> AlignmentTargets:
        """As :meth:`Alignment.match`, but ``x_to_y`` has frame j + 1's column at j, and the dummy's at the end."""
        right = super().match(x, y, mask_x, mask_y, dummy_shares=dummy_shares)
        early = right.x_to_y.roll(-1, dims=2)
        kept = right.x_to_y.sum(2)
        last = mask_y.sum(1) - 1  # (B,) column of the last frame of each Y; padding follows it
        rows = torch.arange(len(early), device=early.device)
        early[rows, :, last] = 1.0 - kept
        return AlignmentTargets(early * mask_y.unsqueeze(1), right.y_to_x, right.plan)


class BatchWideStep(Segmentation):
    """Mirror descent with one step size for the whole batch, set by the largest gradient in it. [release]

    The plan of a video therefore depends on the other videos of its batch.
    """

    def match(self, x: Tensor, actions: Tensor, mask: Tensor, prior: Tensor | None = None) -> tuple[Tensor, Any]:
        """As :meth:`Segmentation.match`; of the :class:`Plan` there are ``matrix`` and ``converged`` only."""
        n = mask.sum(1)
        if prior is None:
            prior = self.rho * temporal_prior(x.shape[1], len(actions), n, torch.full_like(n, len(actions)))
        problem = make_problem(
            cosine_cost(x, actions) + prior, (Near(self.radius), Distinct()), alpha=self.alpha,
            epsilon=self.epsilon, relax_x=None, relax_y=self.relax, mask_x=mask, mask_y=None, mass_x=None, mass_y=None,
        )  # fmt: skip
        descent = Mirror(problem)
        descent.step_size = descent.step_size.amin(0, keepdim=True).expand_as(descent.step_size)
        plan = problem.p.unsqueeze(2) * problem.q.unsqueeze(1)
        for _ in range(self.iterations):
            before, plan = plan, descent.step(plan)
        converged = (plan - before).abs().sum((1, 2)) <= 1e-3  # as solve() has it; steps keep the masses of the frames
        return plan * n[:, None, None], SimpleNamespace(matrix=plan, converged=converged)


@dataclass(frozen=True)
class Defect:
    """One defect.

    Attributes:
        about: what the released code does, in a few words.
        task: ``Alignment`` or ``Segmentation``, the task whose scores it can change.
        overrides: values by dotted name in VASOT's configuration that switch the defect on.
        recipe: the transport recipe that switches it on, where no setting can.
        reference: values by dotted name that the correct run takes too, where its preset would hide the defect.
        protocol: of the alignment scores for which a classifier or regressor is fitted, see ``score_alignment``.
    """

    about: str
    task: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    recipe: type | None = None
    reference: Mapping[str, Any] = field(default_factory=dict)
    protocol: str = "split"


DEFECTS: dict[str, Defect] = {
    "one inner sweep": Defect(
        "balanced plans are not balanced: row masses are off by as much as their own size",
        "Alignment",
        {f"hyper.alignment.transport.{name}": value for name, value in (("scheme", "mirror"), ("finish", False))},
    ),
    "w = 0": Defect(
        "20 frames and r = .02: the neighbourhood has no frame, the structural prior is silently off",
        "Alignment",
        # Without the structure term the objective is .7 C - .07 H, which has the plans of alpha = 0 and epsilon = .1.
        {"hyper.alignment.transport.alpha": 0.0, "hyper.alignment.transport.epsilon": 0.1},
        reference={
            "training.frames": 20,
            "hyper.alignment.transport.alpha": 0.3,
            "hyper.alignment.transport.epsilon": 0.07,
            "hyper.alignment.transport.radius": 0.06,  # one frame to either side
            "hyper.segmentation.transport.radius": 0.06,
        },
    ),
    "shifted dummy column": Defect(
        "pseudo-labels of the alignment are one frame of Y early", "Alignment", recipe=ShiftedDummy
    ),
    "random action embeddings": Defect(
        "actions start as random directions instead of K-means centres",
        "Segmentation",
        {"hyper.segmentation.actions": "random"},
    ),
    "batch-wide step": Defect(
        "the step of mirror descent comes from the largest gradient in the batch", "Segmentation", recipe=BatchWideStep
    ),
    "SVM fitted on the test videos": Defect(
        "phase classification is fitted and scored on the same videos", "Alignment", protocol="release"
    ),
}


def with_defect(config: Config, name: str) -> tuple[Config, str]:
    """Switch a defect on.

    Args:
        config: of VASOT, the only method that all defects concern.
        name: a key of ``DEFECTS``; an empty name changes nothing.

    Returns:
        The configuration with the defect, and the protocol by which its embeddings are scored.

    Raises:
        InputError: an unknown defect, or a configuration of another method.
    """
    if not name:
        return config, "split"
    if name not in DEFECTS:
        raise unknown_name("defect", name, DEFECTS)
    if config.method != "vasot":
        raise InputError(f"defects are those of VASOT's release, but the method is {config.method!r}; use 'vasot'")
    defect = DEFECTS[name]
    config = with_overrides(config, defect.overrides)
    if defect.recipe is not None:
        part = defect.task.lower()
        term = getattr(config.hyper, part)
        recipe = defect.recipe(**{item.name: getattr(term.transport, item.name) for item in fields(term.transport)})
        config = replace(config, hyper=replace(config.hyper, **{part: replace(term, transport=recipe)}))
    return config, defect.protocol
