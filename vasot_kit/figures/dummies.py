"""Figures of dummy frames: who gives mass to the dummy, how much it can take, how well that finds the background."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from vasot_kit.figures.plans import draw_plan
from vasot_kit.figures.style import (
    ACCENT,
    BACKGROUND,
    INK,
    MARKERS,
    SOFT,
    action_style,
    despine,
    draw_label_bar,
    per_frame,
)
from vasot_lib.data import Video
from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments

DROPPED = "#D55E00"  # colour of dropped frames
HALF = 0.5  # a frame that keeps less of its mass on real frames counts as dropped
PICTURES = 13  # pictures of dropped frames below a plan, at most
LINES = (ACCENT, "#CC6677", "#117733", "#332288", "#AA4499", "#999933")


def plot_dummy(
    plan: ArrayLike, targets: ArrayLike, lost: ArrayLike, x: Video, y: Video, *, background: int | None = None,
    title: str = "",
) -> Figure:  # fmt: skip
    """A plan with a dummy: the matches, what each frame of X keeps, the four parts of the mass, and the dropped frames.

    Args:
        plan: (N + 1, M + 1) masses with the dummy's row and column first.
        targets: (N, M) targets of the loss; row i sums to the share of its mass that frame i keeps on real frames.
        lost: (N,) bool, whether a frame of X has no corresponding frame in Y in truth.
        x: N frames with labels; pictures of its dropped frames are shown if it has any, otherwise the share of dropped
            frames in each step.
        y: M frames with labels.
        background: number of the background class.
        title: written above the plan.

    Raises:
        InputError: the plan or ``lost`` does not fit the lengths of the recordings.
    """
    masses, matrix = np.asarray(plan, dtype=float), np.asarray(targets, dtype=float)
    if masses.shape != (len(x) + 1, len(y) + 1) or matrix.shape != (len(x), len(y)):
        raise InputError(
            f"the plan is {masses.shape} and the targets are {matrix.shape}; for recordings of {len(x)} and {len(y)} "
            f"frames they must be {(len(x) + 1, len(y) + 1)} and {(len(x), len(y))}"
        )
    truth, kept = per_frame("lost", lost, len(x)).astype(bool), matrix.sum(1)
    figure = Figure(figsize=(11, 5.6))
    grid = figure.add_gridspec(
        1, 3, left=0.085, right=0.985, top=0.93, bottom=0.42, wspace=0.16, width_ratios=(1.75, 0.85, 0.8)
    )
    axes = figure.add_subplot(grid[0], label="plan")
    draw_plan(axes, matrix, x.labels, y.labels, background)
    axes.set_title(title, fontsize=10)
    beside = figure.add_subplot(grid[1], label="kept")
    _draw_kept(beside, kept, truth, vertical=True)
    beside.set(xlabel="share that stays on frames of Y")
    beside.set_title("frames of X (grey: no partner, orange: dropped)", fontsize=10)
    beside.set_yticklabels([])
    _draw_four_masses(figure.add_subplot(grid[2], label="masses"), masses)
    below = _draw_dropped_shares if x.frames is None else _draw_dropped_pictures
    below(figure.add_axes((0.085, 0.1, 0.9, 0.17), label="dropped"), kept, x, background)
    return figure


def plot_kept(
    shares: Mapping[str, ArrayLike], lost: ArrayLike, labels: ArrayLike, *, background: int | None = None
) -> Figure:
    """The share of its mass that each frame of X keeps on real frames of Y, one panel per plan, above the steps of X.

    Args:
        shares: name of the plan -> (N,) shares.
        lost: (N,) bool, whether a frame has no corresponding frame in truth; these are shaded.
        labels: (N,) classes of X.
        background: number of the background class.

    Raises:
        InputError: no shares, or something of another length than the first.
    """
    if not shares:
        raise InputError("plot_kept() got no shares; give at least one, e.g. {'soft': targets.sum(1)}")
    length = len(np.asarray(next(iter(shares.values()))))
    truth = per_frame("lost", lost, length).astype(bool)
    figure = Figure(figsize=(7.2, 1.1 + 1.05 * len(shares)), layout="constrained")
    *panels, bar = figure.subplots(
        len(shares) + 1, 1, sharex=True, squeeze=False, height_ratios=[1] * len(shares) + [0.22]
    ).ravel()
    for axes, (name, share) in zip(panels, shares.items(), strict=True):
        _draw_kept(axes, per_frame(f"shares {name!r}", share, length), truth)
        axes.set_title(name, fontsize=10, loc="left", pad=3)
    draw_label_bar(bar, per_frame("labels", labels, length), 0, background, numbered=True)
    bar.set(xlim=(-0.5, length - 0.5), ylim=(-0.5, 0.5), yticks=[], xlabel="time in X (frames)")
    bar.spines[:].set_visible(False)
    figure.supylabel("share of its mass that a frame keeps", fontsize=10)
    keys = [Patch(fc=BACKGROUND, label="no partner in truth"), Patch(fc=DROPPED, label="keeps less than half")]
    keys.append(Patch(fc=ACCENT, label="keeps at least half"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, handlelength=1)
    return figure


def plot_room(
    counts: ArrayLike, given: Mapping[str, ArrayLike], cap: ArrayLike, needed: Mapping[str, ArrayLike]
) -> Figure:
    """How much mass X gives to the dummy against the number of its background frames, and how much the dummy can take.

    Args:
        counts: (S,) number of background frames of X.
        given: name of the setting -> (S,) share of all mass that the frames of X give to the dummy.
        cap: (S,) 1 / (M + 1), the mass of a single dummy frame; drawn as a line, on which a point is a full dummy.
        needed: name -> (S,) mass that the background frames carry; drawn as dashed guides.

    Raises:
        InputError: other values than one per count.
    """
    frames = np.asarray(counts)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, values in needed.items():
        axes.plot(frames, per_frame(f"needed {name!r}", values, len(frames)), "--", color=SOFT, lw=1.3, label=name)
    for (name, values), colour, marker in zip(given.items(), LINES, MARKERS, strict=False):
        points = per_frame(f"given {name!r}", values, len(frames))
        axes.plot(frames, points, marker, ls="-", color=colour, ms=6, mfc="white", mew=1.4, lw=1.4, label=name)
    axes.plot(frames, per_frame("cap", cap, len(frames)), "k:", lw=2.2, zorder=3, label="1 / (M + 1)")
    axes.set(xlabel="background frames in X", ylabel="share of all mass, X to dummy", ylim=(0, None))
    axes.grid(color=BACKGROUND, lw=0.6)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    despine(axes)
    return figure


def plot_detection(table: pd.DataFrame, *, background: float | None = None) -> Figure:
    """Precision, recall and average precision of background detection over the dummy's mass, a line per zeta.

    Args:
        table: columns ``zeta``, ``dummy mass``, ``precision``, ``recall``, ``average precision``; NaN is left out.
        background: true share of background among the frames, drawn as an upright line.

    Raises:
        InputError: a column is missing.
    """
    scores = ("precision", "recall", "average precision")
    missing = [name for name in ("zeta", "dummy mass", *scores) if name not in table]
    if missing:
        raise InputError(f"the table lacks {', '.join(missing)}; its columns: {', '.join(map(str, table.columns))}")
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, score in zip(panels, scores, strict=True):
        for place, (zeta, rows) in enumerate(table.groupby("zeta")):
            style = dict(color=LINES[place % len(LINES)], marker=MARKERS[place % len(MARKERS)])
            axes.plot(
                rows["dummy mass"], rows[score], ms=5, mfc="white", mew=1.3, lw=1.4, label=f"ζ = {zeta:g}", **style
            )
        if background is not None:
            axes.axvline(background, color=SOFT, ls=":", lw=1.3, label="true share")
        axes.set_title(score, fontsize=11)
        axes.set(xlabel="dummy mass (share)", ylim=(0, 1.03))
        axes.grid(color=BACKGROUND, lw=0.6)
        despine(axes)
    panels[0].set_ylabel("score")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def _draw_kept(axes: Axes, kept: np.ndarray, lost: np.ndarray, vertical: bool = False) -> None:
    """Draw the kept shares, with the frames shaded that are lost in truth.

    Frame i covers i - 0.5 to i + 0.5; with ``vertical`` time runs downwards.
    """
    span, line = (axes.axhspan, axes.axvline) if vertical else (axes.axvspan, axes.axhline)
    for flag, start, end in zip(*(part.tolist() for part in segments(lost)), strict=True):
        if flag:
            span(start - 0.5, end - 0.5, color=BACKGROUND, lw=0)
    edges = np.repeat(np.arange(len(kept) + 1) - 0.5, 2)[1:-1]
    fill_under = axes.fill_betweenx if vertical else axes.fill_between
    for colour, chosen in ((ACCENT, kept >= HALF), (DROPPED, kept < HALF)):
        fill_under(edges, np.repeat(np.where(chosen, kept, 0.0), 2), color=colour, lw=0)
    line(HALF, color=INK, lw=0.8, ls=":")
    time, share = (-0.5, len(kept) - 0.5), (0, 1.1)
    if vertical:
        axes.set(xlim=share, ylim=time[::-1], xticks=(0, HALF, 1))
    else:
        axes.set(xlim=time, ylim=share, yticks=(0, HALF, 1))
    despine(axes)


def _draw_four_masses(axes: Axes, masses: np.ndarray) -> None:
    """Draw the mass of the plan in four parts: real and dummy rows by real and dummy columns."""
    names = (("X to Y", "X to dummy"), ("dummy to Y", "corner"))
    four = np.array([[masses[1:, 1:].sum(), masses[1:, 0].sum()], [masses[0, 1:].sum(), masses[0, 0]]])
    axes.imshow(four, cmap="bone_r", norm=PowerNorm(0.5, vmin=0, vmax=1), aspect="auto")
    for (row, column), mass in np.ndenumerate(four):
        ink = "white" if mass > 0.2 else INK
        axes.text(column, row, f"{names[row][column]}\n{mass:.3f}", ha="center", va="center", color=ink)
    axes.axhline(0.5, color="white", lw=2)
    axes.axvline(0.5, color="white", lw=2)
    axes.set(xticks=[], yticks=[])
    axes.set_title("where the mass lies", fontsize=10)


def _draw_dropped_pictures(axes: Axes, kept: np.ndarray, x: Video, background: int | None) -> None:
    """Draw pictures of dropped frames, from least to most kept, framed in the colour of their step."""
    order = np.argsort(kept, kind="stable")[: (kept < HALF).sum()]
    shown = (
        order[np.linspace(0, len(order) - 1, min(PICTURES, len(order))).round().astype(int)] if len(order) else order
    )
    for place, frame in enumerate(shown.tolist()):
        box = (place - 0.42, place + 0.42)
        axes.imshow(x.frames[frame], extent=(*box, 0.0, 0.84), interpolation="nearest")  # type: ignore[index]
        axes.text(place, -0.06, f"{frame}: {kept[frame]:.2f}", ha="center", va="top", fontsize=9)
        if x.labels is not None:
            edge = action_style(int(x.labels[frame]), background).colour
            axes.add_patch(Rectangle((box[0], 0), 0.84, 0.84, fc="none", ec=edge, lw=4))
    axes.set(xlim=(-0.5, PICTURES - 0.5), ylim=(-0.25, 0.9), aspect="equal", anchor="W")
    axes.set_axis_off()
    which = f"{len(shown)} of them from least to most kept" if len(order) > len(shown) else "from least to most kept"
    axes.set_title(f"dropped: {len(order)} of {len(kept)} frames of X; {which} (frame: share)", loc="left", fontsize=10)


def _draw_dropped_shares(axes: Axes, kept: np.ndarray, x: Video, background: int | None) -> None:
    """Draw for each step of X, in order of class, the share of its frames that were dropped."""
    labels = np.zeros(len(kept), dtype=int) if x.labels is None else x.labels.numpy()
    for place, action in enumerate(np.unique(labels).tolist()):
        style = action_style(action, background)
        axes.bar(
            place, (kept < HALF)[labels == action].mean(), width=0.7, fc=style.colour, hatch=style.hatch, ec="white"
        )
    axes.set_xticks(range(len(np.unique(labels))), [str(action + 1) for action in np.unique(labels).tolist()])
    axes.set(ylim=(0, 1), xlabel="step of X", ylabel="share")
    axes.set_title("share of the frames of each step that were dropped", loc="left", fontsize=10)
    despine(axes)
