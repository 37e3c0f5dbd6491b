"""Figure of one frame of X and where its mass goes: the plan, its row of the plan, and both recordings."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vasot_kit.figures.plans import draw_plan
from vasot_kit.figures.style import ACCENT, INK, SOFT, despine, draw_label_bar, per_frame
from vasot_lib.data import Video

HERE = "#D55E00"  # colour of the chosen frame of X; that of its match is ACCENT
TRACES = 6  # feature channels that are drawn where there are no pictures


def plot_pair(
    matrix: ArrayLike, x: Video, y: Video, frame: int, *, background: int | None = None, title: str = ""
) -> Figure:
    """A frame of X, its match distribution over Y, and both recordings at that moment.

    Args:
        matrix: (N, M) targets; row i sums to the share of frame i that is matched to real frames of Y.
        x: N frames; its pictures are shown if it has any, otherwise the six channels of its features that vary most.
        y: M frames.
        frame: i, the frame of X.
        background: number of the background class.
        title: written above the plan.

    Raises:
        InputError: the plan or the labels are of another length than the recordings.
    """
    plan = np.asarray(matrix, dtype=float)
    per_frame("columns of the plan", np.zeros(plan.shape[1]), len(y))
    row = plan[frame]
    match = int(row.argmax())
    figure = Figure(figsize=(11, 4.6))
    left = figure.add_gridspec(1, 1, left=0.065, right=0.475, top=0.9, bottom=0.13)
    bars = figure.add_gridspec(3, 1, left=0.56, right=0.985, top=0.9, bottom=0.5, hspace=0.15, height_ratios=(5, 1, 1))
    moments = figure.add_gridspec(1, 2, left=0.56, right=0.985, top=0.42, bottom=0.11, wspace=0.15)
    axes = figure.add_subplot(left[0], label="plan")
    draw_plan(axes, plan, x.labels, y.labels, background)
    axes.axhline(frame, color=HERE, lw=1.2)
    axes.plot(match, frame, "o", ms=9, mfc="none", mec=ACCENT, mew=2)
    _distribution(figure.add_subplot(bars[0], label="row"), row, match, frame)
    sides = ((1, 1, y, match, "Y", ACCENT), (2, 0, x, frame, "X", HERE))  # Y's bar lies under its distribution
    for place, column, video, now, name, colour in sides:
        _bar(figure.add_subplot(bars[place], label=f"bar_{name}"), video, now, name, colour, background)
        _moment(figure.add_subplot(moments[column], label=f"moment_{name}"), video, now, name, colour)
    figure.suptitle(title, x=0.065, y=0.97, ha="left", fontsize=11)
    return figure


def _distribution(axes: Axes, row: np.ndarray, match: int, frame: int) -> None:
    frames = np.arange(len(row))
    axes.fill_between(frames, row, step="mid", color=SOFT, alpha=0.35, lw=0)
    axes.plot(frames, row, drawstyle="steps-mid", color=INK, lw=1)
    axes.plot(match, row[match], "o", color=ACCENT, ms=6)
    axes.set(xlim=(-0.5, len(row) - 0.5), ylim=(0, 1.15 * max(row.max(), 1e-3)), ylabel="share")
    axes.tick_params(labelbottom=False)
    axes.set_title(f"where frame {frame} of X goes: its row of the plan", fontsize=10, color=HERE)
    despine(axes)


def _bar(axes: Axes, video: Video, now: int, name: str, colour: str, background: int | None) -> None:
    if video.labels is not None:
        draw_label_bar(axes, video.labels.numpy(), 0, background, numbered=True)
    axes.axvline(now, color="white", lw=5, zorder=4)
    axes.axvline(now, color=colour, lw=2.5, zorder=5)
    axes.set(xlim=(-0.5, len(video) - 0.5), ylim=(-0.5, 0.5), yticks=[0], yticklabels=[name])
    axes.tick_params(length=0, labelbottom=False)
    axes.spines[:].set_visible(False)


def _moment(axes: Axes, video: Video, now: int, name: str, colour: str) -> None:
    """Draw the picture of a frame, or its features over the time around it."""
    if video.frames is not None:
        axes.imshow(video.frames[now], interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=colour, lw=3)
    else:
        features = video.features.numpy()
        loud = np.sort(np.argsort(features.std(0))[-TRACES:])
        traces = features[:, loud] - features[:, loud].mean(0)
        step = 2.5 * traces.std()
        for place, trace in enumerate(traces.T):
            axes.plot(trace + place * step, color=INK, lw=0.7)
        axes.axvline(now, color=colour, lw=2)
        reach = max(20, len(video) // 8)
        axes.set(xlim=(now - reach, now + reach), yticks=[], xlabel="time (frames)")
        axes.set_ylabel(f"{len(loud)} of {features.shape[1]} features", fontsize=9)
        despine(axes)
    axes.set_title(f"{name}: frame {now}", fontsize=10, color=colour)
