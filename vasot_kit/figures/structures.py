"""Figures of the structural prior: its matrices, its gradient, and its effect on plans, matches and scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LinearLocator, MaxNLocator
from numpy.typing import ArrayLike

from vasot_kit.figures.style import (
    ACCENT,
    BACKGROUND,
    INK,
    MARKERS,
    SOFT,
    action_style,
    despine,
    patch_style,
    per_frame,
    something,
)
from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments

MARK = "#D55E00"  # colour of wrong matches on a path
PALE = "#BBD9EC"  # colour of the true path behind a path
PLANS, COSTS = "bone_r", "cividis"  # a plan is dark where mass is; a cost is dark where it is small


def plot_matrices(
    matrices: Mapping[str, ArrayLike],
    *,
    plans: Collection[str] = (),
    x_label: str = "frame",
    y_label: str = "frame",
) -> Figure:
    """Matrices side by side, each with its own colour scale from 0; dark means small, except for plans.

    Args:
        matrices: title -> non-negative matrix, e.g. ``Near(r).dense(n)`` or a plan and its products.
        plans: titles of the transport plans among them, which are dark where mass is, as in every figure.
        x_label, y_label: what the columns and the rows are.

    Raises:
        InputError: nothing to draw, or something that is not a matrix.
    """
    arrays = {name: np.asarray(matrix, dtype=float) for name, matrix in matrices.items()}
    something("plot_matrices()", arrays, "matrices")
    for name, array in arrays.items():
        if array.ndim != 2:
            raise InputError(f"matrix {name!r} has shape {array.shape}; expected (rows, columns)")
    width = 0.6 + 2.9 * len(arrays)
    figure = Figure(figsize=(width, 3.5))
    grid = figure.add_gridspec(
        1, len(arrays), left=0.62 / width, right=1 - 0.15 / width, top=0.91, bottom=0.27, wspace=0.22
    )
    for place, (name, array) in enumerate(arrays.items()):
        axes = figure.add_subplot(grid[place])
        norm = Normalize(0, max(float(array.max()), np.finfo(float).tiny))
        colours = PLANS if name in plans else COSTS
        axes.imshow(array, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
        axes.set_title(name, fontsize=11)
        axes.set(xlabel=x_label, ylabel="" if place else y_label)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        scale = axes.inset_axes((0.1, -0.32, 0.8, 0.045))
        bar = figure.colorbar(ScalarMappable(norm, colours), cax=scale, orientation="horizontal", format="{x:.3g}")
        bar.locator = LinearLocator(3)
        bar.update_ticks()
    return figure


def plot_match_paths(
    paths: Mapping[str, ArrayLike],
    *,
    labels_x: ArrayLike,
    labels_y: ArrayLike,
    truth: ArrayLike | None = None,
    background: int | None = None,
) -> Figure:
    """The matched frame of Y over the frame of X, one panel per set of matches.

    Matches within the right step are filled circles, others are hollow; lines connect the matches of successive frames.

    Args:
        paths: title -> (N,) frame of Y for each frame of X.
        labels_x: (N,) classes, drawn below.
        labels_y: (M,) classes, drawn at the left.
        truth: (N,) true frames of Y, -1 for none; drawn as a pale band.
        background: number of the background class.

    Raises:
        InputError: no paths, or one that is not of X's length.
    """
    something("plot_match_paths()", paths, "paths")
    x, y = np.asarray(labels_x), np.asarray(labels_y)
    width = 0.75 + 3.2 * len(paths)
    figure = Figure(figsize=(width, 3.6))
    grid = figure.add_gridspec(
        1, len(paths), left=0.75 / width, right=1 - 0.1 / width, top=0.9, bottom=0.25, wspace=0.12
    )
    for place, (name, path) in enumerate(paths.items()):
        axes, match = figure.add_subplot(grid[place]), per_frame(f"path {name!r}", path, len(x))
        frames, right = np.arange(len(x)), y[match] == x
        if truth is not None:
            true = per_frame("true matches", truth, len(x)).astype(float)
            axes.plot(frames, np.where(true < 0, np.nan, true), ".", color=PALE, ms=9, mew=0, zorder=0)
        axes.plot(frames, match, color=SOFT, lw=0.5, alpha=0.7, zorder=1)
        axes.plot(frames[right], match[right], "o", ms=2.6, color=INK, mew=0)
        axes.plot(frames[~right], match[~right], "o", ms=3, mfc="white", mec=MARK, mew=0.8)
        axes.set_title(name, fontsize=11)
        axes.set(xlim=(-0.5, len(x) - 0.5), ylim=(-0.5, len(y) - 0.5))
        _draw_step_strips(axes, y, x, background)
        axes.set(xlabel="time in X (frames)", ylabel="" if place else "time in Y (frames)")
        if place:
            axes.tick_params(labelleft=False)
        despine(axes)
    handles = [
        Line2D([], [], marker="o", ls="", ms=4, color=INK, mew=0, label="right step"),
        Line2D([], [], marker="o", ls="", ms=4, mfc="white", mec=MARK, label="wrong step"),
    ]
    if truth is not None:
        handles.append(Line2D([], [], marker="o", ls="", ms=7, color=PALE, mew=0, label="true match"))
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, handletextpad=0.1)
    return figure


def plot_weights(
    weights: ArrayLike,
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    x_label: str,
    guides: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Scores over the weight of a prior: one panel per score, one curve per data set.

    Args:
        weights: (W,) values of the weight.
        panels: score -> data set -> (W,) values; the data sets are the same in every panel.
        x_label: name of the weight.
        guides: score -> data set -> the score of a straight line in the place of a plan; drawn dashed in the colour of
            the data set.

    Raises:
        InputError: no panels, or a curve of another length than the weights.
    """
    something("plot_weights()", panels, "panels")
    values = np.asarray(weights, dtype=float)
    figure = Figure(figsize=(0.4 + 3.6 * len(panels), 3.3))
    grid = figure.add_gridspec(1, len(panels), left=0.09, right=0.985, top=0.9, bottom=0.3, wspace=0.25)
    handles: dict[str, Line2D] = {}
    for place, (score, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[place])
        styles = zip((ACCENT, "#882255", "#117733", "#332288"), MARKERS, strict=True)
        for (name, curve), (colour, marker) in zip(curves.items(), styles, strict=False):
            heights = np.asarray(curve, dtype=float)
            if heights.shape != values.shape:
                raise InputError(f"curve {name!r} has {heights.size} values for {values.size} weights; give one each")
            style: dict[str, Any] = dict(color=colour, marker=marker, mfc="white", mew=1.4, ms=5.5)
            (handles[name],) = axes.plot(values, heights, label=name, **style)
            if guides and name in guides.get(score, {}):
                axes.axhline(guides[score][name], color=colour, lw=1, ls=(0, (4, 3)))
        axes.set_title(score, fontsize=11)
        axes.set(xlabel=x_label, ylim=(0, None))
        axes.grid(axis="y", color=BACKGROUND, lw=0.6)
        despine(axes)
    entries = list(handles.values())
    if guides:
        entries.append(Line2D([], [], color=SOFT, lw=1, ls=(0, (4, 3)), label="straight line"))
    figure.legend(handles=entries, loc="lower center", ncols=len(entries), frameon=False)
    return figure


def _draw_step_strips(axes: Axes, left: np.ndarray | None, below: np.ndarray | None, background: int | None) -> None:
    """Draw the steps of the recordings along the vertical and the horizontal axis, between the axis and its numbers.

    They are patches outside the axes, which takes less time to draw than axes of their own.
    """
    for labels, vertical in ((left, True), (below, False)):
        if labels is not None:
            across = axes.get_yaxis_transform() if vertical else axes.get_xaxis_transform()
            for action, start, end in zip(*(part.tolist() for part in segments(labels)), strict=True):
                corner, size = (-0.06, start - 0.5), (0.04, end - start)
                if not vertical:
                    corner, size = corner[::-1], size[::-1]
                style = patch_style(action, action_style(action, background))
                axes.add_artist(Rectangle(corner, *size, transform=across, clip_on=False, **style))
    points = 72 / axes.figure.dpi  # per pixel; pads are given in points
    axes.tick_params(axis="x", length=0, pad=0.06 * axes.bbox.height * points + 3)
    axes.tick_params(axis="y", length=0, pad=0.06 * axes.bbox.width * points + 3)
