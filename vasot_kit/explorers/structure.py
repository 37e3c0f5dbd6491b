"""Explorer of the priors: sliders for their weights and the radius; the plan, the costs, the terms of the objective."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np
import torch

from vasot_kit.experiments.plan_report import plan_report
from vasot_kit.explorers.explorer import Explorer, View
from vasot_kit.figures import plot_structure
from vasot_lib.data import Video, correspondence
from vasot_lib.errors import InputError
from vasot_lib.transport import Alignment, Far, Near, Problem, cosine_cost, make_problem, solve, temporal_prior


def explore_structure(x: Video, y: Video, background: int | None = None) -> Explorer:
    """Move alpha, r, rho and epsilon of a balanced alignment of two labelled recordings.

    The figure shows the plan, the cost ``C + rho R``, the structure gradient ``Cx T Cy``, and the terms of the
    objective J with marks at those of the uniform plan. The numbers are J, its terms, the largest relative marginal
    error, the share of frames whose best match shows the same step, the mean jump of the best match from frame to frame
    (in frames of Y), and the effective number of matches of a frame. A radius whose window holds no frame is refused
    unless alpha is 0, as in :func:`vasot_lib.transport.solve`.

    Args:
        x: N frames with labels; their features are compared as they are.
        y: M frames with labels.
        background: number of the background class, whose frames of X are not counted in that share.

    Raises:
        InputError: a recording without labels.
    """
    for video in (x, y):
        if video.labels is None:
            raise InputError(f"video {video.name!r} has no labels; the share in the right step needs them")
    appearance = cosine_cost(x.features[None], y.features[None])
    prior = temporal_prior(len(x), len(y))
    truth = None if x.position is None or y.position is None else correspondence(x, y).numpy()
    uniform = torch.full_like(appearance, 1 / appearance[0].numel())

    def draw(alpha: float, radius: float, rho: float, epsilon: float) -> View:
        cost = appearance + rho * prior
        structure = Near(radius), Far(radius)
        problem = make_problem(cost, structure, alpha=alpha, epsilon=epsilon)
        plan = solve(cost, structure, alpha=alpha, epsilon=epsilon)
        terms = _terms(problem, plan.matrix)
        try:
            gradient = structure[0].bind([len(x)], 1)(structure[1].bind([len(y)], 2)(plan.matrix))
        except InputError:  # a window without a frame
            if alpha:
                raise
            gradient = torch.zeros_like(plan.matrix)
        figure = plot_structure(
            plan.matrix[0], cost[0], gradient[0], terms, reference=_terms(problem, uniform),
            labels_x=x.labels, labels_y=y.labels, truth=truth, background=background,
        )  # fmt: skip
        report = plan_report({"plan": plan.matrix[0] * len(x)}, x.labels, y.labels, background).loc["plan"]
        numbers = {
            **terms,
            "marginal error": float(torch.maximum(plan.marginal_error_x, plan.marginal_error_y)),
            "argmax right": float(report["argmax right"]),
            "mean jump": float(np.abs(np.diff(plan.matrix[0].argmax(1).numpy())).mean()),
            "effective matches": float(report["effective matches"]),
        }
        return View(figure, numbers)

    start, wide = Alignment(), {"width": "45%"}
    controls = {
        "alpha": widgets.FloatSlider(start.alpha, min=0, max=1, step=0.05, description="alpha", layout=wide),
        "radius": widgets.FloatSlider(
            start.radius, min=0.005, max=0.2, step=0.005, description="radius r", readout_format=".3f", layout=wide
        ),
        "rho": widgets.FloatSlider(start.rho, min=0, max=2, step=0.05, description="rho", layout=wide),
        "epsilon": widgets.FloatSlider(start.epsilon, min=0.01, max=0.3, step=0.01, description="epsilon", layout=wide),
    }
    return Explorer(
        draw, controls, rows=[("alpha", "radius"), ("rho", "epsilon")],
        title="A transport plan, its cost, the gradient of the structural prior, and the terms of the objective",
    )  # fmt: skip


def _terms(problem: Problem, plan: torch.Tensor) -> dict[str, float]:
    terms = problem.terms(plan)
    named = {name: float(getattr(terms, name)) for name in ("linear", "structure", "entropy")}
    return {**named, "J": float(problem.objective(plan))}
