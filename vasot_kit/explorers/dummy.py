"""Explorer of dummy frames: sliders for the cost and the mass of the dummy, and the frames that go to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import ipywidgets as widgets
import numpy as np
import torch
from sklearn.metrics import average_precision_score, precision_score, recall_score
from torch import Tensor

from vasot_kit.explorers.explorer import Explorer, View
from vasot_kit.figures import plot_dummy
from vasot_lib.data import Video
from vasot_lib.errors import InputError
from vasot_lib.transport import Alignment, AlignmentTargets

START = 0.15  # first value of the slider where the recipe gives the dummy the mass of one frame


def explore_dummy(x: Video, y: Video, recipe: Alignment | None = None, *, background: int | None = None) -> Explorer:
    """Move zeta, the cost of the dummy, and its mass, and see which frames of X go to the dummy.

    In truth a frame of X has no partner if it is background or if Y does not show its step. It counts as dropped if
    less than half of its mass stays on real frames. Average precision ranks the frames by that share.

    Args:
        x: N frames with labels; its features are matched as they are, so embeddings are explored with
            ``dataclasses.replace(x, features=...)``. If it has pictures, those of dropped frames are shown.
        y: M frames with labels.
        recipe: all settings but those of the dummy, and the first values of the sliders; ``Alignment()`` where None.
        background: number of the background class.

    Raises:
        InputError: a recording without labels, or too short for the recipe's radius.
    """
    if x.labels is None or y.labels is None:
        name = x.name if x.labels is None else y.name
        raise InputError(f"video {name!r} has no labels; explore_dummy() needs them to tell what the dummy should take")
    base = recipe or Alignment()
    lost = ((x.labels == background) | ~torch.isin(x.labels, y.labels)).numpy()
    masks = [torch.ones(1, len(video), dtype=torch.bool) for video in (x, y)]

    def draw(zeta: float, dummy_mass: float, handling: Literal["soft", "threshold"]) -> View:
        setting = replace(base, zeta=zeta, dummy_mass=dummy_mass, dummy=handling)
        matches = setting.match(x.features[None], y.features[None], *masks)
        figure = plot_dummy(
            matches.plan.matrix[0], matches.x_to_y[0], lost, x, y, background=background,
            title=f"what is left for the loss   (X: {x.name}, Y: {y.name})",
        )  # fmt: skip
        return View(figure, _numbers(matches, lost))

    layout, wide = {"width": "45%"}, {"description_width": "7em"}
    zeta = widgets.FloatSlider(
        value=base.zeta, min=0.0, max=1.5, step=0.05, description="zeta", layout=layout, style=wide
    )
    mass = widgets.FloatSlider(
        value=START if base.dummy_mass is None else base.dummy_mass, min=0.0, max=0.6, step=0.01,
        description="dummy mass", layout=layout, style=wide,
    )  # fmt: skip
    handling = widgets.ToggleButtons(options=["soft", "threshold"], description="handling", style=wide)
    return Explorer(
        draw, {"zeta": zeta, "dummy_mass": mass, "handling": handling},
        rows=[["zeta", "dummy_mass"], ["handling"]],
        title="A transport plan with a dummy, what each frame keeps, and the frames that went to the dummy",
    )  # fmt: skip


def _numbers(matches: AlignmentTargets, lost: np.ndarray) -> dict[str, float | int | str]:
    plan: Tensor = matches.plan.matrix[0].double()
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
