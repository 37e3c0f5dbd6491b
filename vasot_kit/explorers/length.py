"""Explorer of the length of an action: generated procedures, and how well their segments show without labels."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

from vasot_kit.experiments.auto import RADIUS_PER_LENGTH, action_length
from vasot_kit.explorers.explorer import Explorer, View
from vasot_kit.figures import plot_action_length
from vasot_lib.data import toy
from vasot_lib.evaluation import segments


def explore_length(n_videos: int = 6, seed: int = 0) -> Explorer:
    """Change a generated procedure and see which length of an action its recordings show.

    The figure is that of :func:`vasot_kit.figures.plot_action_length`. The numbers are the length found and that of the
    labels, both as shares of a recording, their ratio, and the radius that the preset ``auto`` takes.

    Args:
        n_videos: number of recordings.
        seed: of the procedure and of K-means.
    """

    def draw(steps: int, repeats: float, noise: float) -> View:
        data = toy(n_videos, steps, repeats=repeats, noise=noise, seed=seed)
        found = action_length(data, seed)
        labels = [video.labels.numpy() for video in data.videos if video.labels is not None]
        true = float(np.mean([1 / len(segments(each)[0]) for each in labels]))
        numbers = {"found": found.share, "by the labels": true, "ratio": found.share / true,
                   "radius": RADIUS_PER_LENGTH * found.share}  # fmt: skip
        return View(plot_action_length(found, true), numbers)

    controls = {
        "steps": widgets.IntSlider(8, 3, 20, description="steps", continuous_update=False),
        "repeats": widgets.FloatSlider(0.0, min=0, max=1, step=0.25, description="repeats", continuous_update=False),
        "noise": widgets.FloatSlider(0.2, min=0, max=1.5, step=0.05, description="noise", continuous_update=False),
    }
    return Explorer(draw, controls, title="The length of an action, and the curve that it is read from")
