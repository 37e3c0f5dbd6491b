"""Explorer of dummy frames: sliders for the cost and the mass of the dummy, and the frames that go to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from sklearn.metrics import average_precision_score, precision_score, recall_score

from vasot_kit.explorers.explorer import (
    Choice,
    Explorer,
    Numbers,
    Slider,
    about_actions,
    colour_map,
    picture_sheet,
    step_names,
)
from vasot_kit.figures import plot_plan
from vasot_lib.data import Video
from vasot_lib.errors import InputError
from vasot_lib.transport import Alignment, AlignmentTargets

START = 0.15  # first value of the slider where the recipe gives the dummy the mass of one frame
LEAST = 0.005  # share of the mass that the dummy has at least
SCHEDULE = ("alpha", "radius", "epsilon", "iterations", "sweeps", "finish")


def explore_dummy(x: Video, y: Video, recipe: Alignment | None = None, *, background: int | None = None) -> Explorer:
    """Move zeta, the cost of the dummy, and its mass, and see which frames of X go to the dummy.

    In truth a frame of X has no partner if it is background or if Y does not show its step. It counts as dropped if
    less than half of its mass stays on real frames. Average precision ranks the frames by that share.

    Args:
        x: N frames with labels; its features are matched as they are, so embeddings are explored with
            ``dataclasses.replace(x, features=...)``. If it has pictures, those of dropped frames are shown, otherwise
            the share of dropped frames in each step.
        y: M frames with labels.
        recipe: all settings but those of the dummy, and the first values of the sliders; ``Alignment()`` where None.
        background: number of the background class.

    Raises:
        InputError: a recording without labels, or too short for the recipe's radius; a recipe that the scripts do not
            solve, with the scheme mirror or a relaxed marginal.
    """
    if x.labels is None or y.labels is None:
        name = x.name if x.labels is None else y.name
        raise InputError(f"video {name!r} has no labels; explore_dummy() needs them to tell what the dummy should take")
    base = recipe or Alignment()
    if base.relax is not None or base.scheme != "sinkhorn":
        raise InputError(
            f"explore_dummy() got relax={base.relax} and scheme={base.scheme!r}; its scripts solve balanced "
            "problems by the scheme 'sinkhorn' only; give relax=None and scheme='sinkhorn'"
        )
    lost = ((x.labels == background) | ~torch.isin(x.labels, y.labels)).numpy()
    masks = [torch.ones(1, len(video), dtype=torch.bool) for video in (x, y)]

    def match(zeta: float, dummy_mass: float, handling: Literal["soft", "threshold"]) -> AlignmentTargets:
        setting = replace(base, zeta=zeta, dummy_mass=dummy_mass, dummy=handling)
        return setting.match(x.features[None], y.features[None], *masks)

    mass = START if base.dummy_mass is None else base.dummy_mass
    controls: list[Slider | Choice] = [
        Slider("zeta", "zeta", base.zeta, 0, 1.5, 0.01),
        Slider("dummy_mass", "dummy mass", max(mass, LEAST), LEAST, 0.6, 0.005),
        Choice("handling", "handling", "soft", ("soft", "threshold")),
    ]
    labels = [x.labels.numpy().astype(np.int32), y.labels.numpy().astype(np.int32)]
    arrays = {
        "x": x.features.numpy(), "y": y.features.numpy(), "labels_x": labels[0], "labels_y": labels[1],
        "lost": lost.astype(np.uint8), "plans": colour_map("bone_r"),
    }  # fmt: skip
    settings = {name: getattr(base, name) for name in SCHEDULE} | {"free": 0 if base.structured_dummy else 1}
    about = {
        "n": len(x), "m": len(y), "dim": x.features.shape[1], "rho": base.rho, "recipe": settings,
        "x": {"pictures": picture_sheet(x)},
        "actions": about_actions(step_names(labels, background), background),
    }  # fmt: skip
    first = match(base.zeta, max(mass, LEAST), "soft")
    still = plot_plan(
        first.x_to_y[0].numpy(), labels_x=labels[0], labels_y=labels[1], background=background,
        title=f"what is left for the loss   (X: {x.name}, Y: {y.name})",
    )  # fmt: skip
    title = "A transport plan with a dummy, what each frame keeps, and the frames that went to the dummy"
    return Explorer(
        "dummy", title, controls, about, arrays, lambda **values: _numbers(match(**values), lost), still
    )  # fmt: skip


def _numbers(matches: AlignmentTargets, lost: np.ndarray) -> Numbers:
    plan = matches.plan.matrix[0].double()
    kept = matches.x_to_y[0].sum(1).numpy()
    dropped = kept < 0.5
    scores = {
        "precision": precision_score(lost, dropped, zero_division=np.nan),
        "recall": recall_score(lost, dropped, zero_division=np.nan),
        "average precision": average_precision_score(lost, -kept) if lost.any() else np.nan,
    }
    return {
        "dummy column": float(plan[1:, 0].sum()),  # what X gives to the dummy; the corner is not a part of it
        "corner": float(plan[0, 0]),
        "cap of one frame": 1 / plan.shape[1],
        "frames dropped": int(dropped.sum()),
        "without partner": int(lost.sum()),
    } | {name: float(score) if np.isfinite(score) else "undefined" for name, score in scores.items()}
