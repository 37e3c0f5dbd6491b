"""Figures of own films: the alignment of two films, the actions of several, and how much moves in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vasot_kit.figures.plans import draw_plan
from vasot_kit.figures.style import (
    ACCENT,
    BACKGROUND,
    COLOURS,
    SOFT,
    actions_per_frame,
    despine,
    draw_label_bar,
    draw_legend,
    fitted,
    legible,
    per_frame,
    something,
)
from vasot_lib.checks import Positive, check_value
from vasot_lib.errors import InputError

SURE = "#117733"  # confidence, as in the pages
SHOWN = 7  # pairs of pictures beside a plan


class Pictures(Protocol):
    """An array of pictures, or what gives the picture of a frame like one."""

    def __getitem__(self, frame: int, /) -> np.ndarray:
        """(H, W, 3) uint8."""


def plot_timelines(
    rows: Mapping[str, tuple[ArrayLike, ArrayLike]],
    actions: Sequence[str],
    unit: str = "seconds",
    background: int | None = None,
    found_again: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """One bar of actions per film, on one time axis.

    Args:
        rows: name of the film -> (N + 1,) times, of which i and i + 1 are the start and the end of frame i, and (N,)
            actions from 0.
        actions: names of the actions.
        unit: of the times.
        background: the action that stands for none.
        found_again: name of the film -> (N,) shares of the other films in which an action is found again; where it is
            small, the colour is pale.

    Raises:
        InputError: no films, seconds, actions or shares whose lengths do not fit, or actions without a name.
    """
    something("plot_timelines()", rows, "films")
    figure = Figure(figsize=(9, 1.4 + 0.38 * len(rows)), layout="constrained")
    # Before the axes, whose font is that of their making.
    names = [fitted(legible(name), figure, 0.3) for name in rows]
    axes = figure.subplots()
    edges = {name: np.asarray(seconds, dtype=float) for name, (seconds, _) in rows.items()}
    labels = {
        name: actions_per_frame(f"actions of {name!r}", found, len(edges[name]) - 1, actions)
        for name, (_, found) in rows.items()
    }
    pale = "" if found_again is None else ". Pale: seldom found again in the others"
    longest = max(float(times[-1]) for times in edges.values())
    axes.set(xlim=(0, longest), ylim=(len(rows) - 0.5, -0.5), xlabel=unit + pale)
    for place, (name, row) in enumerate(labels.items()):
        share = None if found_again is None else per_frame(f"shares of {name!r}", found_again[name], len(row))
        draw_label_bar(axes, row, place, background, numbered=True, edges=edges[name], share=share)
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    draw_legend(figure, np.unique(np.concatenate(list(labels.values()))), actions, background)
    return figure


def plot_alignment(
    matrix: ArrayLike,
    matches: ArrayLike,
    x_frames: Pictures,
    y_frames: Pictures,
    *,
    truth: ArrayLike | None = None,
    names: tuple[str, str] = ("X", "Y"),
    confidence: ArrayLike | None = None,
) -> Figure:
    """A transport plan with the path that was read from it, and corresponding pictures of both films.

    Args:
        matrix: (N, M) transport plan, or targets made of it.
        matches: (N,) frame of Y for each frame of X, which may be fractional; NaN where it has none.
        x_frames: (N, H, W, 3) uint8.
        y_frames: (M, H, W, 3) uint8.
        truth: (N,) true frames of Y; None where they are not known.
        names: names of the two films.
        confidence: (N,) how sure it is that a frame of X has a partner, 0 to 1, drawn beside the plan.

    Raises:
        InputError: matches, truth or confidence of another length than the plan.
    """
    plan = np.asarray(matrix, dtype=float)
    n, m = plan.shape
    path = per_frame("matches", matches, n)
    figure = Figure(figsize=(11.5, 4.2))
    down, across = (fitted(legible(name), figure, 0.2) for name in names)  # along the sides of the plan
    above = [fitted(legible(name), figure, 0.5, 9) for name in names]
    left = figure.add_gridspec(1, 1, left=0.075, right=0.4 if confidence is None else 0.365, top=0.93, bottom=0.14)
    axes = figure.add_subplot(left[0], label="plan")
    draw_plan(axes, plan, None, None, None)
    axes.tick_params(length=3, pad=4)
    axes.plot([0, m - 1], [0, n - 1], color=SOFT, lw=1, ls=":", label="straight line")
    if truth is not None:
        axes.plot(per_frame("truth", truth, n), np.arange(n), color="#D55E00", lw=1.2, ls="--", label="truth")
    if np.isnan(path).all():
        axes.plot([], [], ls="", label="no path: nothing matches")
    else:
        axes.plot(path, np.arange(n), color=ACCENT, lw=0.9, label="matches")  # thin, so that the plan shows
    axes.set(xlabel=f"frames of {across}", ylabel=f"frames of {down}")
    axes.legend(loc="upper right", frameon=True, fontsize=8)
    if confidence is not None:
        beside = figure.add_gridspec(1, 1, left=0.372, right=0.402, top=0.93, bottom=0.14)
        _draw_confidence(figure.add_subplot(beside[0], label="confidence"), per_frame("confidence", confidence, n))
    grid = figure.add_gridspec(2, SHOWN, left=0.425, right=0.99, top=0.93, bottom=0.07, wspace=0.06, hspace=0.3)
    for column, i in enumerate(np.linspace(0, n - 1, SHOWN).round().astype(int).tolist()):
        j = None if np.isnan(path[i]) else round(float(path[i]))
        for row, (frames, now, name) in enumerate(((x_frames, i, above[0]), (y_frames, j, above[1]))):
            panel = figure.add_subplot(grid[row, column], label=f"moment_{row}_{column}")
            if now is None:
                panel.set_facecolor(BACKGROUND)
                panel.set_box_aspect(x_frames[0].shape[0] / x_frames[0].shape[1])
            else:
                panel.imshow(frames[now])
            panel.set(xticks=[], yticks=[])
            panel.set_xlabel("none" if now is None else now, fontsize=8, labelpad=2)
            panel.spines[:].set_visible(False)
            panel.set_anchor("N" if row else "S")
            if column == 0:
                panel.set_title(name, fontsize=9, loc="left", pad=4)
    return figure


def _draw_confidence(axes: Axes, confidence: np.ndarray) -> None:
    """A band along the frames of X, filled as far as they are sure to have a partner."""
    edges = np.arange(len(confidence) + 1) - 0.5
    axes.set_facecolor(BACKGROUND)
    axes.stairs(confidence, edges, orientation="horizontal", fill=True, color=SURE, alpha=0.75)
    axes.set(xlim=(0, 1), ylim=(edges[-1], edges[0]), yticks=[], xlabel="confidence")
    axes.set_xticks([0, 1], ["0", "1"], fontsize=8)
    axes.xaxis.label.set_fontsize(8)
    axes.xaxis.labelpad = 7  # below the last frame's number on the plan's axis
    axes.tick_params(length=2, pad=2)
    axes.spines[:].set_visible(False)


def plot_clock(motion: Mapping[str, ArrayLike], fps: float) -> Figure:
    """How much moves in each frame of films, and the share of the motion so far, at even steps of which films
    are compared.

    Args:
        motion: name of the film -> (N,) how much moves in each frame.
        fps: frames per second.

    Raises:
        InputError: no films, or a film in which nothing moves.
    """
    check_value("fps", fps, Positive)
    something("plot_clock()", motion, "films")
    figure = Figure(figsize=(9, 3), layout="constrained")
    mass, clock = figure.subplots(1, 2)
    for number, (name, values) in enumerate(motion.items()):
        moved = np.asarray(values, dtype=float)
        if not 0 < moved.sum() < np.inf or moved.min() < 0:
            raise InputError(
                f"the motion of {name!r} has the sum {moved.sum():g}; give values from 0, and one above it"
            )
        seconds, colour = np.arange(len(moved)) / fps, COLOURS[number % len(COLOURS)]
        mass.plot(seconds, moved / moved.sum(), color=colour, lw=1.3)
        clock.plot(
            seconds / seconds[-1],
            moved.cumsum() / moved.sum(),
            color=colour,
            lw=1.6,
            label=fitted(legible(name), figure, 0.25, 9),
        )
    clock.plot([0, 1], [0, 1], ":", color=SOFT, lw=1)
    mass.set(xlabel="seconds", ylabel="mass $p_i$", ylim=(0, None), title="how much moves")
    clock.set(xlabel="share of the frames", ylabel="share of the motion", xlim=(0, 1), ylim=(0, 1), title="the clock")
    clock.legend(frameon=False, fontsize=9)
    for axes in (mass, clock):
        despine(axes)
    return figure
