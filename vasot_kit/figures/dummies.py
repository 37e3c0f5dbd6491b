"""Figures of dummy frames: who gives mass to the dummy, how much it can take, how well that finds the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from vasot_kit.figures.style import (
    ACCENT,
    BACKGROUND,
    INK,
    MARKERS,
    SOFT,
    despine,
    draw_label_bar,
    per_frame,
    something,
)
from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments

if TYPE_CHECKING:
    import pandas as pd

DROPPED = "#D55E00"  # colour of dropped frames
HALF = 0.5  # a frame that keeps less of its mass on real frames counts as dropped
LINES = (ACCENT, "#CC6677", "#117733", "#332288", "#AA4499", "#999933")


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
    something("plot_kept()", shares, "shares")
    length = len(np.asarray(next(iter(shares.values()))))
    truth = per_frame("lost", lost, length).astype(bool)
    figure = Figure(figsize=(7.2, 1.1 + 1.05 * len(shares)), layout="constrained")
    *panels, bar = figure.subplots(
        len(shares) + 1, 1, sharex=True, squeeze=False, height_ratios=[1] * len(shares) + [0.22]
    ).ravel()
    for axes, (name, share) in zip(panels, shares.items(), strict=True):
        _draw_kept(axes, per_frame(f"shares {name!r}", share, length), truth)
        axes.set_title(name, fontsize=10, loc="left", pad=3)
    bar.set(xlim=(-0.5, length - 0.5), ylim=(-0.5, 0.5), yticks=[], xlabel="time in X (frames)")
    draw_label_bar(bar, per_frame("labels", labels, length), 0, background, numbered=True)
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


def _draw_kept(axes: Axes, kept: np.ndarray, lost: np.ndarray) -> None:
    """Draw the kept shares, with the frames shaded that are lost in truth; frame i covers i - 0.5 to i + 0.5."""
    for flag, start, end in zip(*(part.tolist() for part in segments(lost)), strict=True):
        if flag:
            axes.axvspan(start - 0.5, end - 0.5, color=BACKGROUND, lw=0)
    edges = np.repeat(np.arange(len(kept) + 1) - 0.5, 2)[1:-1]
    for colour, chosen in ((ACCENT, kept >= HALF), (DROPPED, kept < HALF)):
        axes.fill_between(edges, np.repeat(np.where(chosen, kept, 0.0), 2), color=colour, lw=0)
    axes.axhline(HALF, color=INK, lw=0.8, ls=":")
    axes.set(xlim=(-0.5, len(kept) - 0.5), ylim=(0, 1.1), yticks=(0, HALF, 1))
    despine(axes)
