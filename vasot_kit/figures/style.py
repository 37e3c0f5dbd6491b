"""The colour, hatching and marker of each action in all figures, and the parts that several figures are drawn with."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Collection, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findfont, fontManager, get_font
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from vasot_lib.checks import whole_numbers
from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments

COLOURS = ("#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#AA4499", "#999933")
HATCHES = ("", "////", "....", "xxxx")
MARKERS = ("o", "s", "^", "D")
BACKGROUND = "#DDDDDD"
INK, SOFT, ACCENT, PUBLISHED = "#222222", "#777777", "#0072B2", "#882255"
PALEST = 0.25  # opacity of a segment that has none of its colour
NUMBERED = 0.045  # segments longer than this share of the axis carry the number of their action
LEGEND_ROW = 0.21  # inches


# What no font can draw is a box; which character it was is of no concern to who runs a command.
warnings.filterwarnings("ignore", message=r"Glyph .* missing from")


def legible(text: str) -> str:
    """The text as figures can draw it. A dollar is drawn as one, and begins no formula.

    Where the usual font lacks a character, such as a Chinese one, the first installed font that has all that are
    lacking draws them in axes and texts that are made from then on. Without one they are replaced by their numbers.
    """
    usual = get_font(findfont("DejaVu Sans"))
    lacking = {mark for mark in text if not usual.get_char_index(ord(mark))}
    text = text.replace("$", r"\$")
    if not lacking:
        return text
    families, found = matplotlib.rcParams["font.family"], _font_with(lacking)
    if found is None:
        return "".join(f"U+{ord(mark):04X} " if mark in lacking else mark for mark in text).strip()
    if found.name not in families:
        matplotlib.rcParams["font.family"] = [*families, found.name]
    return text


def fitted(words: str, figure: Figure, share: float, size: float = 10) -> str:
    """The words in at most this share of a figure's width, without their middle where they are longer.

    Both ends stay, because names of films often differ only there.
    """
    text = figure.text(0, 0, words, fontsize=size)

    def fits(kept: int) -> bool:
        if kept < len(words):
            text.set_text(f"{words[: kept - kept // 2]}\u2026{words[len(words) - kept // 2 :]}")
        return bool(text.get_window_extent().width <= share * figure.bbox.width)

    if not fits(len(words)):
        fits(bisect_left(range(len(words)), True, key=lambda kept: not fits(kept)) - 1)
    text.remove()
    return text.get_text()


def font_with(text: str) -> str | None:
    """The file of a font that can draw all of a text, the usual one if it can; None where there is none."""
    usual = get_font(findfont("DejaVu Sans"))
    if all(usual.get_char_index(ord(mark)) for mark in text):
        return findfont("DejaVu Sans")
    found = _font_with(set(text))
    return None if found is None else str(found.fname)


def _font_with(marks: Collection[str]) -> FontEntry | None:
    """The first installed font that has all of these characters."""
    for font in fontManager.ttflist:
        if (
            "Last Resort" not in font.name
            and Path(font.fname).is_file()
            and all(get_font(font.fname).get_char_index(ord(mark)) for mark in marks)
        ):
            return font
    return None


def is_dark(colour: str) -> bool:
    """Whether white is easier to read on a colour than black."""
    return bool(np.dot(to_rgb(colour), (0.3, 0.59, 0.11)) < 0.53)


class ActionStyle(NamedTuple):
    """How an action is drawn: its colour, its hatching in bars, and its marker as a point."""

    colour: str
    hatch: str
    marker: str


def action_style(action: int, background: int | None = None) -> ActionStyle:
    """How an action is drawn, the same in every figure.

    Args:
        action: number of the class, from 0; a negative one is a cluster without a class, drawn white and hatched.
        background: number of the background class, drawn grey; None where there is none.
    """
    if action == background:
        return ActionStyle(BACKGROUND, "", "o")
    if action < 0:
        return ActionStyle("#FFFFFF", "xxxx", "x")
    turn, place = divmod(int(action), len(COLOURS))
    return ActionStyle(COLOURS[place], HATCHES[turn % len(HATCHES)], MARKERS[turn % len(MARKERS)])


def something(name: str, things: Sized, kind: str) -> None:
    """Refuse to draw nothing: raises an InputError where a figure got no things of a kind."""
    if len(things) == 0:
        raise InputError(f"{name} got no {kind}; give at least one")


def per_frame(name: str, values: ArrayLike, length: int) -> np.ndarray:
    """The values as an array if there is one per frame; raises an InputError that names them otherwise."""
    array = np.asarray(values)
    if array.shape != (length,):
        raise InputError(f"{name} have shape {array.shape}; expected ({length},), one per frame")
    return array


def actions_per_frame(name: str, values: ArrayLike, length: int, classes: Sequence[str] | None = None) -> np.ndarray:
    """The actions as an array of int64 if there is one whole number per frame; those below 0 stand for none.

    Raises:
        InputError: another length, no frames, values that are no whole numbers, or an action without a class.
    """
    labels = per_frame(name, whole_numbers(name, values), length)
    if length == 0:
        raise InputError(f"{name} have no frames; there is nothing to draw")
    if classes is not None and labels.max() >= len(classes):
        raise InputError(f"{name} hold the action {labels.max()}, but there are {len(classes)} classes, from 0")
    return labels


def frame_numbers(name: str, values: ArrayLike, frames: int) -> np.ndarray:
    """Numbers of frames of a video as an array of int64; those below 0 stand for none.

    Raises:
        InputError: values that are no whole numbers, none at all, or a frame that the video does not have.
    """
    numbers = whole_numbers(name, values)
    something(name, numbers, "frames")
    if numbers.max() >= frames:
        raise InputError(f"{name} hold the frame {numbers.max()}, but the video has {frames} frames, from 0")
    return numbers


def draw_label_bar(
    axes: Axes,
    labels: np.ndarray,
    place: int,
    background: int | None,
    vertical: bool = False,
    numbered: bool = False,
    edges: np.ndarray | None = None,
    share: np.ndarray | None = None,
) -> None:
    """Draw the labels of a video as one bar of coloured segments.

    Args:
        axes: where to draw; its limits have to be set where segments are numbered, as they say how wide one is.
        labels: (N,) class per frame.
        place: centre of the bar across its length; it is 0.8 wide.
        background: number of the background class.
        vertical: whether time runs along y.
        numbered: whether long segments carry the number of their action.
        edges: (N + 1,) frame i is drawn from ``edges[i]`` to ``edges[i + 1]``; by default from i - 0.5 to i + 0.5.
        share: (N,) how much of its colour a segment has, the mean over its frames from 0 (pale) to 1; by default all.
    """
    edges = np.arange(len(labels) + 1) - 0.5 if edges is None else edges
    wide = NUMBERED * np.ptp(axes.get_xlim())
    for action, start, end in zip(*(part.tolist() for part in segments(labels)), strict=True):
        style, across = action_style(action, background), (place - 0.4, 0.8)
        along = (edges[start], edges[end] - edges[start])
        (x, width), (y, height) = (across, along) if vertical else (along, across)
        alpha = 1.0 if share is None else PALEST + (1 - PALEST) * float(share[start:end].mean())
        axes.add_patch(Rectangle((x, y), width, height, alpha=alpha, **patch_style(action, style)))
        if numbered and 0 <= action != background and edges[end] - edges[start] > wide:
            # The box keeps the hatching away from the number; its colour is that of the segment on white.
            red, green, blue = (1 - alpha * (1 - part) for part in to_rgb(style.colour))
            colour = to_hex((red, green, blue))
            box, ink = dict(boxstyle="round,pad=0.1", fc=colour, lw=0), "white" if is_dark(colour) else INK
            middle = (edges[start] + edges[end]) / 2
            axes.text(middle, place, str(action + 1), ha="center", va="center", bbox=box, color=ink)


def patch_style(action: int, style: ActionStyle) -> dict[str, Any]:
    """The matplotlib properties of the patch of a segment."""
    return dict(fc=style.colour, hatch=style.hatch, ec="white" if action >= 0 else SOFT, lw=0)


def draw_legend(figure: Figure, actions: np.ndarray, classes: Sequence[str], background: int | None) -> None:
    """Draw a legend of the given actions below the figure, in up to four columns, as many as its width has room for.

    Beyond three rows the figure grows, so that many actions leave room for what it shows.
    """
    handles = []
    for action in sorted(actions.tolist(), key=lambda k: (k in (-1, background), k)):
        style = action_style(action, background)
        name = legible(classes[action].replace("_", " ")) if action >= 0 else "no class"
        number = (
            "" if action < 0 or action == background or name.split()[-1:] == [str(action + 1)] else f"{action + 1} "
        )
        handles.append(Patch(label=fitted(number + name, figure, 0.9), **patch_style(action, style)))
    for columns in (4, 3, 2, 1):
        legend = figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=1
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(0, -(-len(handles) // columns) - 3))


def despine(axes: Axes) -> None:
    """Remove the frame at the top and on the right, as seaborn's function of that name does."""
    axes.spines[["top", "right"]].set_visible(False)
