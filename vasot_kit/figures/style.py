"""How an action looks in every figure, and the parts that figures are drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments

COLOURS = ("#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#AA4499", "#999933")
HATCHES = ("", "////", "....", "xxxx")
MARKERS = ("o", "s", "^", "D")
BACKGROUND = "#DDDDDD"
INK, SOFT, ACCENT, PUBLISHED = "#222222", "#777777", "#0072B2", "#882255"
LABELLED = 0.045  # segments longer than this share of their video carry a number


class Look(NamedTuple):
    """How an action is drawn: its colour, its hatching in bars, its marker among points."""

    colour: str
    hatch: str
    marker: str


def action_look(action: int, background: int | None = None) -> Look:
    """The look of an action, the same in every figure.

    Args:
        action: class number from 0; a negative one is a cluster without a class, white and hatched.
    """
    if action == background:
        return Look(BACKGROUND, "", "o")
    if action < 0:
        return Look("#FFFFFF", "xxxx", "x")
    turn, place = divmod(int(action), len(COLOURS))
    return Look(COLOURS[place], HATCHES[turn % len(HATCHES)], MARKERS[turn % len(MARKERS)])


def fitting(name: str, values: ArrayLike, length: int) -> np.ndarray:
    """One value per frame, or an error that says which array is of another length."""
    array = np.asarray(values)
    if array.shape != (length,):
        raise InputError(f"{name} have shape {array.shape}; expected ({length},), one per frame")
    return array


def draw_bar(
    axes: Axes,
    labels: np.ndarray,
    place: int,
    background: int | None,
    vertical: bool = False,
    numbered: bool = False,
    edges: np.ndarray | None = None,
) -> None:
    """One bar of coloured segments, 0.8 wide around ``place``.

    Frame i covers ``edges[i]`` to ``edges[i + 1]``, by default i - 0.5 to i + 0.5.
    """
    edges = np.arange(len(labels) + 1) - 0.5 if edges is None else edges
    for action, start, end in zip(*(part.tolist() for part in segments(labels)), strict=True):
        look, across = action_look(action, background), (place - 0.4, 0.8)
        along = (edges[start], edges[end] - edges[start])
        (x, width), (y, height) = (across, along) if vertical else (along, across)
        axes.add_patch(Rectangle((x, y), width, height, **fill(action, look)))
        if numbered and 0 <= action != background and end - start > LABELLED * len(labels):
            dark = np.dot(to_rgb(look.colour), (0.3, 0.59, 0.11)) < 0.55
            box = dict(boxstyle="round,pad=0.1", fc=look.colour, lw=0)  # keeps hatching off the number
            ink, middle = "white" if dark else INK, (edges[start] + edges[end]) / 2
            axes.text(middle, place, str(action + 1), ha="center", va="center", bbox=box, color=ink)


def fill(action: int, look: Look) -> dict[str, Any]:
    """The patch properties of an action's segment."""
    return dict(fc=look.colour, hatch=look.hatch, ec="white" if action >= 0 else SOFT, lw=0)


def draw_legend(figure: Figure, actions: np.ndarray, classes: Sequence[str], background: int | None) -> None:
    """A legend below the figure, of the actions that occur."""
    handles = []
    for action in sorted(actions.tolist(), key=lambda k: (k in (-1, background), k)):
        look = action_look(action, background)
        name = classes[action].replace("_", " ") if action >= 0 else "no class"
        number = "" if action < 0 or action == background or name.endswith(str(action + 1)) else f"{action + 1} "
        handles.append(Patch(label=number + name, **fill(action, look)))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, handlelength=1)


def open_axes(axes: Axes) -> None:
    """No frame at the top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
