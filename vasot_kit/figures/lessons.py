"""Figures of the first lessons: the whole method on one line, deliveries on a map, and a plan that converges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import ArrayLike
from PIL import Image

from vasot_kit.figures.structures import COSTS, MARK, PLANS
from vasot_kit.figures.style import ACCENT, INK, SOFT, action_style
from vasot_lib.errors import InputError
from vasot_lib.transport import Distinct, Near, solve

Part = Literal["frames", "encoder", "cost", "plan", "targets", "loss", "back"]
PARTS: tuple[Part, ...] = ("frames", "encoder", "cost", "plan", "targets", "loss", "back")
# Of every part but the way back: its centre from the left, its width, its title, and the line below it.
PLACES: dict[str, tuple[float, float, str, str]] = {
    "frames": (0.95, 1.7, "frames", "two recordings,\nno labels"),
    "encoder": (2.95, 0.95, "encoder", "one network\nfor both"),
    "cost": (4.75, 1.25, "cost $C$", "which frames\nlook different"),
    "plan": (6.7, 1.25, "plan $T$", "solved for, with\nall the priors"),
    "targets": (8.65, 1.25, "targets $T^{*}$", "its rows, without\nthe dummy"),
    "loss": (10.55, 0.95, "loss", "the encoder\nagainst $T^{*}$"),
}
STEPS = ([0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 1, 1, 1, 1, 2, 2])  # of the two small recordings in the drawing
MIDDLE, FAINT = 1.75, 0.28  # height of the row of parts; opacity of a part that is not lit


def plot_method(lit: Part | Collection[Part] = PARTS) -> Figure:
    """The whole method on one line, with some of its parts lit and the others faint.

    Args:
        lit: the name of a part, or several: frames, encoder, cost, plan, targets, loss, back.

    Raises:
        InputError: a part that there is not.
    """
    bright: set[str] = {lit} if isinstance(lit, str) else set(lit)
    if not bright <= set(PARTS):
        raise InputError(f"the method has no part {', '.join(sorted(bright - set(PARTS)))}; parts: {', '.join(PARTS)}")
    figure = Figure(figsize=(9.6, 2.75))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 11.2), ylim=(-0.35, 2.9))
    axes.axis("off")
    cost, plan = _small_problem()
    matrices = {"cost": (cost, COSTS), "plan": (plan, PLANS), "targets": (plan / plan.sum(1, keepdims=True), PLANS)}
    for name, (centre, width, title, below) in PLACES.items():
        alpha = 1.0 if name in bright else FAINT
        if name == "frames":
            for place, labels in zip((MIDDLE + 0.22, MIDDLE - 0.22), STEPS, strict=True):
                _draw_recording(axes, labels, centre, place, width, alpha)
        elif name in matrices:
            matrix, colours = matrices[name]
            sides = (centre - width / 2, centre + width / 2, MIDDLE - 0.5, MIDDLE + 0.5)
            axes.imshow(matrix, cmap=colours, extent=sides, aspect="auto", alpha=alpha, zorder=2, vmin=0)
            axes.add_patch(Rectangle(sides[::2], width, 1.0, fill=False, ec=INK, lw=0.8, alpha=alpha, zorder=3))
        else:
            corner = (centre - width / 2, MIDDLE - 0.4)
            look: dict[str, Any] = dict(
                boxstyle="round,pad=0.02,rounding_size=0.12", fc="white", ec=INK, lw=1.1, alpha=alpha, zorder=2
            )
            axes.add_patch(FancyBboxPatch(corner, width, 0.8, **look))
            inside = "$x_i = f(\\cdot)$" if name == "encoder" else "$-\\sum T^{*} \\log P$"
            axes.text(centre, MIDDLE, inside, ha="center", va="center", color=INK, alpha=alpha, fontsize=9)
        strong: dict[str, Any] = dict(ha="center", alpha=max(alpha, 0.45))
        colour, weight = (ACCENT, "bold") if name in bright and len(bright) < len(PARTS) else (INK, "normal")
        axes.text(centre, 2.5, title, va="center", color=colour, weight=weight, fontsize=11, **strong)
        axes.text(centre, 1.1, below, va="top", color=SOFT, fontsize=8.5, **strong)
    _draw_arrows(axes, bright)
    return figure


def _small_problem() -> tuple[np.ndarray, np.ndarray]:
    """The (N, M) cost of two small recordings and its plan."""
    steps_x, steps_y = (np.array(steps) for steps in STEPS)
    wobble = 0.2 * np.sin(1.0 + 5.0 * np.arange(len(steps_x))[:, None] + 3.0 * np.arange(len(steps_y)))
    cost = 0.8 * (steps_x[:, None] != steps_y) + 0.2 + wobble
    structure = Near(0.12), Distinct()
    plan = solve(torch.from_numpy(cost)[None], structure, alpha=0.3, epsilon=0.12).matrix[0]
    return cost, plan.numpy()


def _draw_recording(axes: Axes, labels: Sequence[int], centre: float, place: float, width: float, alpha: float) -> None:
    step = width / max(len(labels) for labels in STEPS)
    left = centre - step * len(labels) / 2
    for k, label in enumerate(labels):
        look: dict[str, Any] = dict(fc=action_style(label).colour, ec="white", lw=1.0, alpha=alpha)
        axes.add_patch(Rectangle((left + k * step, place - 0.16), step, 0.32, **look))


def _draw_arrows(axes: Axes, bright: set[str]) -> None:
    look: dict[str, Any] = dict(arrowstyle="-|>", mutation_scale=11, lw=1.2, shrinkA=0, shrinkB=0)
    names = list(PLACES)
    for before, after in zip(names, names[1:], strict=False):
        start = PLACES[before][0] + PLACES[before][1] / 2 + 0.07
        end = PLACES[after][0] - PLACES[after][1] / 2 - 0.07
        axes.add_patch(FancyArrowPatch((start, MIDDLE), (end, MIDDLE), color=SOFT, **look))
    alpha = 1.0 if "back" in bright else FAINT
    loss, encoder = PLACES["loss"][0], PLACES["encoder"][0]
    colour = MARK if "back" in bright else SOFT
    axes.plot([loss, loss, encoder], [0.42, 0.08, 0.08], color=colour, lw=1.5, alpha=alpha)
    axes.add_patch(FancyArrowPatch((encoder, 0.08), (encoder, 0.45), color=colour, alpha=alpha, **look))
    words = "back: the gradient of the loss changes the encoder; the plan is held fixed"
    axes.text(
        (loss + encoder) / 2, -0.06, words, ha="center", va="top", color=colour, fontsize=9, alpha=max(alpha, 0.45)
    )


def plot_deliveries(sources: ArrayLike, targets: ArrayLike, plan: ArrayLike) -> Figure:
    """Bakeries and cafes on a map, and what is carried from one to the other.

    Args:
        sources: (N, 2) places of the bakeries, named A, B, C, ...
        targets: (M, 2) places of the cafes, named 1, 2, 3, ...
        plan: (N, M) what is carried; a line is as wide as its entry is large.

    Raises:
        InputError: a plan that is not (N, M).
    """
    start, end, carried = (np.asarray(values, dtype=float) for values in (sources, targets, plan))
    if carried.shape != (len(start), len(end)):
        raise InputError(f"plan has shape {carried.shape}; expected ({len(start)}, {len(end)}), a row per bakery")
    figure = Figure(figsize=(5.2, 3.7), layout="constrained")
    axes = figure.add_subplot()
    for i, j in np.argwhere(carried > 0.001 * carried.max()):
        axes.plot(*zip(start[i], end[j], strict=True), color=SOFT, lw=16 * carried[i, j] / carried.sum(), zorder=1)
    kinds = (start, carried.sum(1), "s", ACCENT, "ABCDEFGH"), (end, carried.sum(0), "o", MARK, "12345678")
    for places, masses, marker, colour, names in kinds:
        axes.scatter(places[:, 0], places[:, 1], s=1500 * masses / carried.sum(), marker=marker, color=colour, zorder=2)
        for name, place in zip(names, places, strict=False):
            axes.text(place[0], place[1], name, color="white", ha="center", va="center", weight="bold", zorder=3)
    axes.set_aspect("equal")
    axes.margins(0.16)
    axes.axis("off")
    axes.set_title("squares: bakeries, circles: cafes; areas and widths are loaves", fontsize=9, color=SOFT)
    return figure


def animate_plans(plans: Sequence[ArrayLike], titles: Sequence[str], seconds: float = 0.45) -> bytes:
    """Plans one after the other as an animated PNG, with their row and column sums at the sides.

    Show it in a notebook by ``IPython.display.Image(data)``. A viewer that cannot play it shows the first picture. It
    plays four times; the last picture stays for two seconds.

    Args:
        plans: (N, M) matrices of one size, in their order.
        titles: a line above each of them.
        seconds: that a picture stays.

    Raises:
        InputError: no plans, or not one title for each.
    """
    arrays = [np.asarray(plan, dtype=float) for plan in plans]
    if not arrays or len(arrays) != len(titles):
        raise InputError(f"animate_plans() got {len(arrays)} plans and {len(titles)} titles; give one title for each")
    most = {axis: max(array.sum(axis).max() for array in arrays) * 1.05 for axis in (0, 1)}
    pictures = []
    for array, title in zip(arrays, titles, strict=True):
        figure = Figure(figsize=(4.6, 4.0), dpi=80)
        axes = figure.add_axes((0.12, 0.1, 0.6, 0.62))
        axes.imshow(array, cmap=PLANS, vmin=0, vmax=max(a.max() for a in arrays), aspect="auto")
        axes.set(xlabel="frame of Y", ylabel="frame of X")
        figure.text(0.05, 0.955, title, fontsize=11, va="center")
        n, m = array.shape
        right, above = figure.add_axes((0.745, 0.1, 0.2, 0.62)), figure.add_axes((0.12, 0.75, 0.6, 0.15))
        right.barh(range(n), array.sum(1), color=ACCENT, height=1.0)
        above.bar(range(m), array.sum(0), color=ACCENT, width=1.0)
        right.axvline(1 / n, color=MARK, lw=1.2)
        above.axhline(1 / m, color=MARK, lw=1.2)
        right.set(xlim=(0, most[1]), ylim=(n - 0.5, -0.5), xticks=[], yticks=[], xlabel="row sums")
        above.set(xlim=(-0.5, m - 0.5), ylim=(0, most[0]), xticks=[], yticks=[], ylabel="column\nsums")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(32))
    durations = [int(1000 * seconds)] * (len(pictures) - 1) + [2000]
    buffer = BytesIO()
    pictures[0].save(
        buffer, "PNG", save_all=True, append_images=pictures[1:], duration=durations, loop=4, optimize=True
    )
    return buffer.getvalue()
