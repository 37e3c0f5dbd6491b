"""Figures of transport plans: as heat maps, with their marginals, with matched frames, over the iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from vasot_kit.figures.style import (
    ACCENT,
    BACKGROUND,
    INK,
    action_style,
    despine,
    draw_label_bar,
    fitted,
    frame_numbers,
    legible,
    per_frame,
    something,
)
from vasot_lib.errors import InputError

MATCHES = (("o", "#D55E00"), ("x", "#0072B2"))  # marker and colour of up to two sets of matches on a plan


def plot_plan(
    matrix: ArrayLike,
    *,
    labels_x: ArrayLike | None = None,
    labels_y: ArrayLike | None = None,
    background: int | None = None,
    matches: Mapping[str, ArrayLike] | None = None,
    title: str = "",
    frames: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """A transport plan as a heat map, with the steps of both videos along its sides.

    Args:
        matrix: (N, M) plan, drawn as shares of the fullest row, so that a row whose mass went to a dummy is pale.
        labels_x: (N,) classes, drawn at the left.
        labels_y: (M,) classes, drawn below.
        background: number of the background class.
        matches: name -> (N,) frame of Y for each frame of X, -1 for none; up to two sets.
        title: written above the plan.
        frames: (N,) and (M,) ascending numbers of the frames in their recordings, where the plan is of some of them.

    Raises:
        InputError: not a matrix, or labels or matches of another length.
    """
    plan = np.asarray(matrix, dtype=float)
    if plan.ndim != 2:
        raise InputError(f"the plan has shape {plan.shape}; expected (frames of X, frames of Y)")
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.subplots()
    image = draw_plan(axes, plan, labels_x, labels_y, background)
    figure.colorbar(image, ax=axes, label="share of a frame's mass (square-root scale)", ticks=MaxNLocator(4))
    for (name, partners), (marker, colour) in zip((matches or {}).items(), MATCHES, strict=False):
        found = per_frame(f"matches {name!r}", partners, len(plan))
        (rows,) = np.nonzero(found >= 0)
        axes.plot(found[rows], rows, marker, ms=4, mew=0.9, mfc="none", color=colour, label=name)
    if matches:
        axes.legend(loc="upper right", handletextpad=0.2)
    for axis, numbers in zip((axes.yaxis, axes.xaxis), frames or (), strict=False):
        round_numbers = MaxNLocator(6, integer=True).tick_values(numbers[0], numbers[-1])
        ticks = round_numbers[(round_numbers >= numbers[0]) & (round_numbers <= numbers[-1])]
        axis.set_ticks(np.interp(ticks, numbers, np.arange(len(numbers))), [f"{tick:.0f}" for tick in ticks])
    axes.set_title(fitted(legible(title), figure, 0.75, 12))
    return figure


def draw_plan(
    axes: Axes, plan: np.ndarray, labels_x: ArrayLike | None, labels_y: ArrayLike | None, background: int | None
) -> AxesImage:
    """Draw a plan as shares of its fullest row, with the steps of X and Y along its sides, as in every figure."""
    share = plan / max(plan.sum(1).max(), np.finfo(float).tiny)
    image = axes.imshow(share, cmap="bone_r", norm=PowerNorm(0.5, vmin=0), aspect="auto", interpolation="nearest")
    if labels_x is not None:
        strip = axes.inset_axes((-0.045, 0, 0.032, 1))
        draw_label_bar(strip, per_frame("labels_x", labels_x, len(plan)), 0, background, vertical=True)
        strip.set(xlim=(-0.5, 0.5), ylim=axes.get_ylim())
        strip.set_axis_off()
    if labels_y is not None:
        strip = axes.inset_axes((0, -0.05, 1, 0.036))
        draw_label_bar(strip, per_frame("labels_y", labels_y, plan.shape[1]), 0, background)
        strip.set(xlim=axes.get_xlim(), ylim=(-0.5, 0.5))
        strip.set_axis_off()
    axes.tick_params(length=0, pad=14)
    axes.set(xlabel="time in Y (frames)", ylabel="time in X (frames)")
    return image


def plot_matched_frames(
    x_frames: np.ndarray,
    y_frames: np.ndarray,
    indices: Sequence[int],
    matches: Mapping[str, ArrayLike],
    *,
    labels_x: ArrayLike | None = None,
    labels_y: ArrayLike | None = None,
    background: int | None = None,
) -> Figure:
    """A row of pictures of X, and below it for each set of matches a row of the matched pictures of Y.

    Args:
        x_frames: (N, H, W, 3) uint8.
        y_frames: (M, H, W, 3) uint8.
        indices: the frames of X to show.
        matches: name -> (N,) frame of Y for each frame of X; -1 leaves a place empty.
        labels_x: (N,) classes; pictures with labels get a frame in the colour of their action.
        labels_y: (M,) classes.
        background: number of the background class.

    Raises:
        InputError: matches of another length than X, or frames that X or Y do not have.
    """
    shown = frame_numbers("indices", indices, len(x_frames))
    strips = [("X", x_frames, shown, labels_x)]
    for name, partners in matches.items():
        found = frame_numbers(f"matches {name!r}", partners, len(y_frames))
        found = per_frame(f"matches {name!r}", found, len(x_frames))
        strips.append((f"Y: {name}", y_frames, found[shown], labels_y))
    figure = Figure(figsize=(1.4 + 0.8 * len(shown), 0.3 + 1.05 * len(strips)), layout="constrained")
    panels = figure.subplots(len(strips), len(shown), squeeze=False)
    for row, (name, frames, chosen, labels) in zip(panels, strips, strict=True):
        for axes, index in zip(row, chosen.tolist(), strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(index >= 0 and labels is not None)
            if index >= 0:
                axes.imshow(frames[index], interpolation="nearest")
                axes.set_xlabel(f"frame {index}" if axes is row[0] else index, labelpad=2, fontsize=9)
                if labels is not None:
                    axes.spines[:].set(color=action_style(int(np.asarray(labels)[index]), background).colour, lw=4)
        row[0].set_ylabel(name.replace(": ", ":\n"), rotation=0, ha="right", va="center", labelpad=8)
    return figure


def plot_marginals(plans: Mapping[str, ArrayLike]) -> Figure:
    """Plans with the sums of their rows and columns, as multiples of the uniform marginals.

    Args:
        plans: name -> (N, M) plan of total mass 1.

    Raises:
        InputError: no plan.
    """
    something("plot_marginals()", plans, "plans")
    figure = Figure(figsize=(1.2 + 3.4 * len(plans), 3.9))
    outer = figure.add_gridspec(1, len(plans), left=0.09, right=0.97, top=0.88, bottom=0.13, wspace=0.25)
    for place, (name, plan) in enumerate(plans.items()):
        matrix = np.asarray(plan, dtype=float)
        n, m = matrix.shape
        grid = outer[place].subgridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4), hspace=0.1, wspace=0.1)
        heat = figure.add_subplot(grid[1, 0])
        heat.imshow(matrix, cmap="bone_r", norm=PowerNorm(0.5, vmin=0), aspect="auto", interpolation="nearest")
        heat.set(xlabel="time in Y (frames)", ylabel="time in X (frames)" if place == 0 else "")
        top, side = figure.add_subplot(grid[0, 0], sharex=heat), figure.add_subplot(grid[1, 1], sharey=heat)
        top.axhline(1, color=BACKGROUND, lw=3)
        top.step(np.arange(m), matrix.sum(0) * m, where="mid", color=ACCENT, lw=1.2)
        side.axvline(1, color=BACKGROUND, lw=3)
        side.plot(matrix.sum(1) * n, np.arange(n), color=ACCENT, lw=1.2)
        top.set(ylim=(0, max(2.0, 1.1 * matrix.sum(0).max() * m)), title=name)
        top.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        side.set(xlim=(0, max(2.0, 1.1 * matrix.sum(1).max() * n)), xticks=[1], xlabel="sum x N")
        top.set_ylabel("sum x M" if place == 0 else "")
        top.tick_params(labelbottom=False)
        side.tick_params(labelleft=False)
        for axes in (top, side):
            despine(axes)
    return figure


def plot_convergence(runs: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """How solves converge: one line per run, one panel per quantity, against the number of iterations.

    Args:
        runs: name -> quantity -> (k,) values after 1, 2, ... iterations; quantities whose name begins with ``log`` are
            drawn on a logarithmic axis.

    Raises:
        InputError: no run.
    """
    something("plot_convergence()", runs, "runs")
    quantities = list(next(iter(runs.values())))
    figure = Figure(figsize=(3.4 * len(quantities), 3.1), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        styles = zip((ACCENT, "#CC6677", INK, "#117733"), ("-", "--", "-.", ":"), strict=True)
        for (name, run), (colour, style) in zip(runs.items(), styles, strict=False):
            values = np.asarray(run[quantity], dtype=float)
            axes.plot(np.arange(1, len(values) + 1), values, style, color=colour, lw=1.5, label=name)
        if quantity.startswith("log "):
            axes.set_yscale("log")
        axes.set_title(quantity.removeprefix("log "), fontsize=11)
        axes.set_xlabel("iterations")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(color=BACKGROUND, lw=0.6)
        despine(axes)
    figure.axes[0].legend(fontsize=9, frameon=False)
    return figure
