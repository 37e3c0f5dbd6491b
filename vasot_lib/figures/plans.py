"""Transport plans and what they match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from vasot_lib.errors import InputError
from vasot_lib.figures.looks import action_look, draw_bar, fitting

MATCHES = (("o", "#D55E00"), ("x", "#0072B2"))  # up to two sets of matches on a plan, which is grey


def plot_plan(
    matrix: ArrayLike,
    *,
    labels_x: ArrayLike | None = None,
    labels_y: ArrayLike | None = None,
    background: int | None = None,
    matches: Mapping[str, ArrayLike] | None = None,
    title: str = "",
) -> Figure:
    """A transport plan as a heat map, with the steps of both videos along its sides.

    Args:
        matrix: (N, M) plan, drawn as shares of the fullest row: a row whose mass went to a dummy stays pale.
        labels_x: (N,) classes, drawn at the left.
        labels_y: (M,) classes, drawn below.
        matches: up to two sets of frames of Y for the frames of X, (N,) each, -1 for none, by name.

    Raises:
        InputError: not a matrix, or labels or matches of another length.
    """
    plan = np.asarray(matrix, dtype=float)
    if plan.ndim != 2:
        raise InputError(f"the plan has shape {plan.shape}; expected (frames of X, frames of Y)")
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.subplots()
    share = plan / max(plan.sum(1).max(), np.finfo(float).tiny)
    image = axes.imshow(share, cmap="bone_r", norm=PowerNorm(0.5, vmin=0), aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of a frame's mass", ticks=MaxNLocator(4))
    for (name, partners), (marker, colour) in zip((matches or {}).items(), MATCHES, strict=False):
        frames = fitting(f"matches {name!r}", partners, len(plan))
        (rows,) = np.nonzero(frames >= 0)
        axes.plot(frames[rows], rows, marker, ms=4, mew=0.9, mfc="none", color=colour, label=name)
    if matches:
        axes.legend(loc="upper right", handletextpad=0.2)
    if labels_x is not None:
        strip = axes.inset_axes((-0.055, 0, 0.04, 1))
        draw_bar(strip, fitting("labels_x", labels_x, len(plan)), 0, background, vertical=True)
        strip.set(xlim=(-0.5, 0.5), ylim=axes.get_ylim())
        strip.set_axis_off()
    if labels_y is not None:
        strip = axes.inset_axes((0, -0.06, 1, 0.04))
        draw_bar(strip, fitting("labels_y", labels_y, plan.shape[1]), 0, background)
        strip.set(xlim=axes.get_xlim(), ylim=(-0.5, 0.5))
        strip.set_axis_off()
    axes.tick_params(length=0, pad=20)
    axes.set(xlabel="time in Y (frames)", ylabel="time in X (frames)", title=title)
    return figure


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
    """Pictures: a row of X's frames, and below it for each set of matches the matched frames of Y.

    Args:
        x_frames: (N, H, W, 3) uint8.
        y_frames: (M, H, W, 3) uint8.
        indices: the frames of X to show.
        matches: frames of Y for all frames of X, (N,), by name; -1 leaves a place empty.
        labels_x: (N,) classes; with ``labels_y`` each picture gets a frame in its action's colour.
        labels_y: (M,) classes.

    Raises:
        InputError: matches of another length than X.
    """
    strips = [("X", x_frames, np.asarray(indices), labels_x)]
    for name, partners in matches.items():
        chosen = fitting(f"matches {name!r}", partners, len(x_frames))[np.asarray(indices)]
        strips.append((f"Y: {name}", y_frames, chosen, labels_y))
    figure = Figure(figsize=(1.4 + 0.8 * len(indices), 0.3 + 1.05 * len(strips)), layout="constrained")
    panels = figure.subplots(len(strips), len(indices), squeeze=False)
    for row, (name, frames, chosen, labels) in zip(panels, strips, strict=True):
        for axes, index in zip(row, chosen.tolist(), strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(index >= 0 and labels is not None)
            if index >= 0:
                axes.imshow(frames[index], interpolation="nearest")
                axes.set_xlabel(f"frame {index}" if axes is row[0] else index, labelpad=2, fontsize=9)
                if labels is not None:
                    axes.spines[:].set(color=action_look(int(np.asarray(labels)[index]), background).colour, lw=4)
        row[0].set_ylabel(name.replace(": ", ":\n"), rotation=0, ha="right", va="center", labelpad=8)
    return figure
