"""Explorer of the priors: sliders for their weights and the radius; the plan, the costs, the terms of the objective."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vasot_kit.experiments.plan_report import plan_report
from vasot_kit.explorers.explorer import Explorer, Numbers, Slider, about_actions, colour_map, step_names
from vasot_kit.figures import plot_plan
from vasot_lib.data import Video, correspondence
from vasot_lib.errors import InputError
from vasot_lib.transport import Alignment, Far, Near, Plan, cosine_cost, solve, temporal_prior


def explore_structure(x: Video, y: Video, background: int | None = None, recipe: Alignment | None = None) -> Explorer:
    """Move alpha, r, rho and epsilon of a balanced alignment of two labelled recordings.

    The panels show the plan, the cost ``C + rho R``, the structure gradient ``Cx T Cy``, and the terms of the objective
    J with marks at those of the uniform plan. The numbers are J, its terms, the largest relative marginal error, the
    share of frames whose best match shows the same step, the mean jump of the best match from frame to frame (in frames
    of Y), and the effective number of matches of a frame. The radius begins where its window holds a frame.

    Args:
        x: N frames with labels; their features are compared as they are.
        y: M frames with labels.
        background: number of the background class, whose frames of X are not counted in that share.
        recipe: the first values of the sliders, of which nothing else is used; ``Alignment()`` where None.

    Raises:
        InputError: a recording without labels.
    """
    labels = []
    for video in (x, y):
        if video.labels is None:
            raise InputError(f"video {video.name!r} has no labels; the share in the right step needs them")
        labels.append(video.labels.numpy())
    start, prior = recipe or Alignment(), temporal_prior(len(x), len(y))
    appearance = cosine_cost(x.features[None], y.features[None])
    truth = None if x.position is None or y.position is None else correspondence(x, y).numpy()

    def solved(alpha: float, radius: float, rho: float, epsilon: float) -> Plan:
        return solve(appearance + rho * prior, (Near(radius), Far(radius)), alpha=alpha, epsilon=epsilon)

    def compute(**values: float) -> Numbers:
        plan = solved(**values)
        terms = plan.problem.terms(plan.matrix)
        report = plan_report({"plan": plan.matrix[0] * len(x)}, labels[0], labels[1], background).loc["plan"]
        return {
            **{name: float(getattr(terms, name)) for name in ("linear", "structure", "entropy")},
            "J": float(plan.objective),
            "marginal error": max(float(plan.marginal_error_x), float(plan.marginal_error_y)),
            "argmax right": float(report["argmax right"]),
            "mean jump": float(np.abs(np.diff(plan.matrix[0].argmax(1).numpy())).mean()),
            "effective matches": float(report["effective matches"]),
        }

    least = math.ceil(200 / min(len(x), len(y)) - 1e-9) / 200
    controls = [
        Slider("alpha", "alpha", start.alpha, 0, 1, 0.01),
        Slider("radius", "radius r", max(start.radius, least), least, max(0.2, least, start.radius), 0.005),
        Slider("rho", "rho", start.rho, 0, max(2, start.rho), 0.01),
        Slider("epsilon", "epsilon", start.epsilon, min(0.01, start.epsilon), max(0.3, start.epsilon), 0.005),
    ]
    arrays = {
        "x": x.features.numpy(), "y": y.features.numpy(),
        "labels_x": labels[0].astype(np.int32), "labels_y": labels[1].astype(np.int32),
        "plans": colour_map("bone_r"), "costs": colour_map("cividis"),
    }  # fmt: skip
    about: dict[str, Any] = {"n": len(x), "m": len(y), "dim": x.features.shape[1], "background": background}
    about["actions"] = about_actions(step_names(labels, background), background)
    if truth is not None:
        arrays["truth"] = truth.astype(np.int32)
    first = {control.name: control.value for control in controls}
    still = plot_plan(
        solved(**first).matrix[0], labels_x=labels[0], labels_y=labels[1], background=background,
        matches={} if truth is None else {"true match": truth}, title="transport plan",
    )  # fmt: skip
    title = "A transport plan, its cost, the gradient of the structural prior, and the terms of the objective"
    return Explorer("structure", title, controls, about, arrays, compute, still)
