"""Explorer of an alignment: pick a frame of X, see its match distribution and both recordings at that moment."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
from torch import Tensor

from vasot_kit.explorers.explorer import Explorer, View
from vasot_kit.figures import plot_pair
from vasot_lib.data import Video, correspondence
from vasot_lib.errors import InputError

PACE = 200  # milliseconds between two frames while playing


def explore_pair(
    plans: Mapping[str, Tensor], x: Video, y: Video, classes: tuple[str, ...] = (), background: int | None = None
) -> Explorer:
    """Pick a frame of X by slider, by playing, or by clicking the plan.

    Args:
        plans: name -> (N, M) targets, as ``Alignment.match(...).x_to_y[0]`` gives them; buttons choose one of several.
        x: N frames.
        y: M frames.
        classes: class names; where given, the steps of the frame and of its match are shown.
        background: number of the background class.

    Raises:
        InputError: no plan, or one of another shape than the recordings.
    """
    if not plans:
        raise InputError("explore_pair() got no plans; give at least one, e.g. {'plan': x_to_y}")
    for name, plan in plans.items():
        if plan.shape != (len(x), len(y)):
            raise InputError(f"plan {name!r} is {tuple(plan.shape)}, the recordings have {len(x)} and {len(y)} frames")
    matrices = {name: np.asarray(plan, dtype=float) for name, plan in plans.items()}
    truth = None if x.position is None or y.position is None else correspondence(x, y).numpy()

    def draw(frame: int, plan: str) -> View:
        row = matrices[plan][frame]
        figure = plot_pair(matrices[plan], x, y, frame, background=background, title=f"X: {x.name}   Y: {y.name}")
        return View(figure, _numbers(row, frame, x, y, classes, truth))

    slider = widgets.IntSlider(len(x) // 2, 0, len(x) - 1, description="frame of X", layout={"width": "60%"})
    play = widgets.Play(value=slider.value, min=0, max=len(x) - 1, interval=PACE)
    link = widgets.jslink((play, "value"), (slider, "value"))
    choice = widgets.ToggleButtons(options=list(matrices), description="plan")
    choice.layout.display = None if len(matrices) > 1 else "none"

    def click(explorer: Explorer, panel: str, _: float, down: float) -> None:
        if panel == "plan":
            slider.value = int(np.clip(round(down), 0, len(x) - 1))

    explorer = Explorer(
        draw, {"frame": slider, "plan": choice}, extra=[play], click=click,
        title="A transport plan, the match distribution of one frame, and both recordings",
    )  # fmt: skip
    explorer.link = link  # without a reference the link would be collected as garbage
    return explorer


def _numbers(
    row: np.ndarray, frame: int, x: Video, y: Video, classes: tuple[str, ...], truth: np.ndarray | None
) -> dict[str, float | int | str]:
    match, kept = int(row.argmax()), float(row.sum())
    share = row / max(kept, np.finfo(float).tiny)
    spread = float(np.exp(-(share * np.log(np.maximum(share, 1e-30))).sum()))
    numbers: dict[str, float | int | str] = {
        "best match": match, "its share": float(row[match]), "kept": kept, "effective matches": spread,
    }  # fmt: skip
    if truth is not None:
        numbers["true match"] = int(truth[frame]) if truth[frame] >= 0 else "none"
    if classes and x.labels is not None and y.labels is not None:
        numbers["step of X"] = classes[int(x.labels[frame])]
        numbers["step of Y"] = classes[int(y.labels[match])]
    return numbers
