"""Figures of the results of runs: segmentations, loss curves, scores, timings, embeddings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from vasot_kit.figures.style import (
    ACCENT,
    BACKGROUND,
    INK,
    MARKERS,
    PUBLISHED,
    SOFT,
    action_style,
    actions_per_frame,
    despine,
    draw_label_bar,
    draw_legend,
    fitted,
    legible,
    per_frame,
    something,
)
from vasot_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

PANELS = 4  # panels in a row
CONVERGED = "converged_"  # with the name of the plan behind it, in a history
METER = {"mean_cosine": "mean cosine (1: collapsed)", "effective_rank": "effective rank (1: collapsed)"}


def plot_segmentations(
    rows: Mapping[str, ArrayLike], classes: Sequence[str], *, background: int | None = None, title: str = ""
) -> Figure:
    """Label bars of one video, one under another: the truth, methods, baselines.

    Args:
        rows: name -> (N,) class per frame; the caller maps clusters to classes (``evaluation.hungarian``), and those
            without a class are -1.
        classes: class names; the legend shows those that occur.
        background: number of the background class.
        title: written above the bars.

    Raises:
        InputError: no rows, rows of no frames or of different lengths, or actions that are no whole numbers or have no
            name.
    """
    something("plot_segmentations()", rows, "rows")
    length = len(np.asarray(next(iter(rows.values()))))
    labels = {name: actions_per_frame(f"row {name!r}", row, length, classes) for name, row in rows.items()}
    figure = Figure(figsize=(6.4, 1.3 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.5, length - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel="time (frames)")
    axes.set_title(fitted(legible(title), figure, 0.6, 12))
    for place, row in enumerate(labels.values()):
        draw_label_bar(axes, row, place, background, numbered=True)
    axes.set_yticks(range(len(rows)), [fitted(legible(name), figure, 0.3) for name in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    draw_legend(figure, np.unique(np.concatenate(list(labels.values()))), classes, background)
    return figure


def plot_key_steps(
    recordings: Mapping[str, Mapping[str, ArrayLike]], classes: Sequence[str], background: int | None = None
) -> Figure:
    """The key steps of several recordings: for each a panel with a bar for the truth and one for every way.

    Args:
        recordings: name of the recording -> name of the bar -> (N,) class per frame; -1 for a step without a class.
        classes: class names; the legend shows those that occur.
        background: number of the background class.

    Raises:
        InputError: no recordings, recordings with different bars, or bars that :func:`plot_segmentations` refuses.
    """
    names = [tuple(bars) for bars in recordings.values()]
    if not names or len(set(names)) > 1 or not names[0]:
        raise InputError(f"the bars of the recordings are {names}; give at least one recording, and all the same bars")
    columns = min(2, len(recordings))
    lines = -(-len(recordings) // columns)
    figure = Figure(figsize=(1.2 + 4.6 * columns, 0.9 + lines * (0.75 + 0.3 * len(names[0]))), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    seen = set()
    for panel, (name, bars) in zip(panels.ravel(), recordings.items(), strict=False):
        length = len(np.asarray(next(iter(bars.values()))))
        panel.set(xlim=(-0.5, length - 0.5), ylim=(len(bars) - 0.5, -0.5))
        for place, (way, bar) in enumerate(bars.items()):
            labels = actions_per_frame(f"{way!r} of {name!r}", bar, length, classes)
            draw_label_bar(panel, labels, place, background, numbered=True)
            seen |= set(labels.tolist())
        panel.set_title(fitted(legible(name), figure, 0.8 / columns), fontsize=10)
        panel.set_yticks(range(len(bars)), [fitted(legible(way), figure, 0.3 / columns, 9) for way in bars], fontsize=9)
        panel.tick_params(axis="y", length=0)
        panel.spines[:].set_visible(False)
    for column, axes in enumerate(panels.T):
        for panel in axes:
            panel.tick_params(axis="y", labelleft=column == 0)
        axes[-1].set_xlabel("time (frames)")
    for panel in panels.ravel()[len(recordings) :]:
        panel.set_visible(False)
    draw_legend(figure, np.array(sorted(seen)), classes, background)
    return figure


def plot_history(history: Sequence[Mapping[str, float]]) -> Figure:
    """The terms of the loss, two measures of a collapse and the shares of converged plans, over the epochs.

    A low share is no reason for more iterations: results did not improve with them (docs/results.md, Convergence).

    Args:
        history: as :func:`vasot_lib.training.fit` returns it.

    Raises:
        InputError: no epochs.
    """
    import pandas as pd

    if not history:
        raise InputError("the history is empty; train for at least one epoch")
    table = pd.DataFrame(history).set_index("epoch")
    converged = [name for name in table.columns if name.startswith(CONVERGED)]
    panels = 4 if converged else 3
    figure = Figure(figsize=(2.53 * panels, 2.6), layout="constrained")
    loss, *meters = figure.subplots(1, panels, sharex=True)
    styles = list(zip((INK, ACCENT, "#CC6677", "#117733"), ("-", "--", "-.", ":"), strict=True))
    for name, (colour, style) in zip(table.columns.drop([*METER, *converged]), cycle(styles), strict=False):
        loss.plot(table.index, table[name], style, color=colour, label="all terms" if name == "loss" else name)
    loss.legend(fontsize=9, frameon=False)
    loss.set_title("loss (nats)", fontsize=11)
    for name, (colour, style) in zip(converged, cycle(styles[1:]), strict=False):
        meters[2].plot(table.index, table[name], style, color=colour, label=name.removeprefix(CONVERGED))
        meters[2].set_title("converged plans (share)", fontsize=11)
        meters[2].set_ylim(-0.03, 1.03)
        meters[2].legend(fontsize=9, frameon=False)
    for axes, (name, title) in zip(meters, METER.items(), strict=False):
        axes.plot(table.index, table[name], color=INK)
        axes.set_title(title, fontsize=11)
    for axes in (loss, *meters):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        despine(axes)
    shown = table["loss"][np.isfinite(table["loss"])]
    low, high = min(0.0, shown.min()), max(0.0, shown.max())  # learned weights can make it negative
    if low < high:
        loss.set_ylim(1.05 * low, high + 0.5 * (high - low))  # room for the legend
    meters[0].set_ylim(min(0.0, 1.1 * table["mean_cosine"].min()), 1)
    meters[1].set_ylim(bottom=1)
    return figure


def plot_scores(
    table: pd.DataFrame,
    metrics: Mapping[str, str],
    *,
    baselines: Collection[str] = (),
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Scores of methods and baselines: a mark per seed, the mean and the standard deviation over seeds.

    Args:
        table: one row per method and seed, columns ``method``, ``seed`` and the scores; empty cells are left out.
        metrics: score column -> title of its panel, e.g. ``SCORES["Segmentation"]`` of :mod:`vasot_kit.tables.scores`.
        baselines: methods without learning; drawn below the others as hollow grey squares.
        published: method -> score -> value from a paper; drawn as a diamond beside the measured ones.

    Raises:
        InputError: no row has any of the metrics.
    """
    shown = [metric for metric in metrics if metric in table and table[metric].notna().any()]
    if not shown:
        raise InputError(f"the table has none of the scores {', '.join(metrics)}; its columns: {', '.join(table)}")
    scored = table[table[shown].notna().any(axis=1)]
    names = sorted(dict.fromkeys(scored["method"]), key=lambda name: name in baselines)
    columns, rows = min(len(shown), PANELS), -(-len(shown) // PANELS)
    figure = Figure(figsize=(1.6 + 1.8 * columns, 0.5 + rows * (0.6 + 0.3 * len(names))), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, metric in zip(panels, shown, strict=False):
        for place, name in enumerate(names):
            values = scored.loc[scored["method"] == name, metric].dropna().to_numpy(dtype=float)
            if len(values):
                _draw_scores(axes, values, place, name in baselines)
            reported = (published or {}).get(name, {}).get(metric)
            if reported is not None:
                axes.plot(reported, place, "D", ms=6, mfc="none", mec=PUBLISHED)
        axes.set_title(metrics[metric])
        low, high = axes.get_xlim()
        left = min(0.0, low if scored[metric].min() < 0 else 0.0)
        axes.set_xlim(left, high + 0.04 * (high - left))  # room for half of a mark
        axes.grid(axis="x", color=BACKGROUND, lw=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        despine(axes)
    panels[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    method = "method, mean ± sd over seeds" if scored["method"].duplicated().any() else "method, one seed"
    styles = [("o", ACCENT, ACCENT, method), ("s", "white", SOFT, "learns nothing")]
    styles += [("D", "none", PUBLISHED, "published")] if published else []
    keys = [Line2D([], [], ls="none", ms=7, marker=m, mfc=fc, mec=ec, label=name) for m, fc, ec, name in styles]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], x_label: str, y_label: str, title: str = ""
) -> Figure:
    """Measured values over sizes, both axes logarithmic, so that a power of the size is a straight line.

    Args:
        curves: name -> sizes and values, all positive; one whose name starts with ``~`` is a guide, dashed and grey.
        x_label, y_label: what the sizes and the values are.
        title: written above the curves.

    Raises:
        InputError: a curve whose sizes and values differ in number.
    """
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    styles = cycle(zip((ACCENT, "#CC6677", "#117733", "#332288"), MARKERS, strict=True))
    for name, (sizes, values) in curves.items():
        x, y = np.asarray(sizes, float), np.asarray(values, float)
        if x.shape != y.shape:
            raise InputError(f"curve {name!r} has {len(x)} sizes and {len(y)} values; give one value per size")
        if name.startswith("~"):
            axes.plot(x, y, "--", color=SOFT, lw=1.2, label=name[1:])
        else:
            colour, marker = next(styles)
            axes.plot(x, y, marker, ls="-", color=colour, ms=6, mfc="white", mew=1.4, label=name)
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label, title=title)
    measured = sorted({float(size) for sizes, _ in curves.values() for size in np.asarray(sizes)})
    axes.set_xticks(measured, [f"{size:,.0f}" for size in measured])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color=BACKGROUND, lw=0.6)
    axes.legend(fontsize=9, frameon=False)
    despine(axes)
    return figure


def plot_ratios(ratios: Mapping[str, float], goals: Mapping[str, float], x_label: str) -> Figure:
    """How many times faster the kit is than others: bars on a logarithmic axis that start at 1, and marks at the goals.

    Args:
        ratios: what is compared -> how many times faster; below 1, slower, the bar points to the left.
        goals: what is compared -> the ratio to reach, for those that have a goal.
        x_label: what the ratio is.

    Raises:
        InputError: no ratios.
    """
    something("plot_ratios()", ratios, "ratios")
    figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(ratios)), layout="constrained")
    axes = figure.subplots()
    for place, (name, ratio) in enumerate(ratios.items()):
        axes.barh(place, ratio - 1, left=1, height=0.6, color=ACCENT)
        end, goal = max(ratio, 1), goals.get(name, 0)
        beside = goal if end < goal < 2 * end else end  # a goal that lies where the number would be
        axes.annotate(f"{ratio:.3g}x", (beside, place), xytext=(5, 0), textcoords="offset points", va="center")
        if name in goals:
            axes.plot([goals[name]] * 2, [place - 0.42, place + 0.42], color=PUBLISHED, lw=2.5)
    axes.set(xscale="log", xlabel=x_label, ylim=(len(ratios) - 0.4, -0.6))
    axes.set_xlim(min(1.0, *ratios.values()) / 1.1, 2.2 * max(*ratios.values(), *goals.values(), 1.0))
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.legend(handles=[Line2D([], [], color=PUBLISHED, lw=2.5, label="goal")], frameon=False, loc="lower right")
    despine(axes)
    return figure


def plot_embedding_path(
    embeddings: Sequence[ArrayLike], labels: Sequence[ArrayLike], classes: Sequence[str], background: int | None = None
) -> Figure:
    """Frame embeddings of several videos in the plane of their two principal components, joined in order of time.

    Args:
        embeddings: (N_v, D) for each video.
        labels: (N_v,) classes for each video.
        classes: class names; the legend shows those that occur.
        background: number of the background class.

    Raises:
        InputError: labels of another length than the embeddings, or embeddings without a plane: NaN, one frame or one
            number per frame.
    """
    from sklearn.decomposition import PCA

    if len(embeddings) != len(labels) or not len(labels):
        raise InputError(f"{len(embeddings)} embedded videos for {len(labels)} lists of labels; give one per video")
    rows = [np.asarray(video, dtype=float) for video in embeddings]
    for v, row in enumerate(rows):
        if row.ndim != 2 or row.shape[1] < 2 or not np.isfinite(row).all():
            shown = f"have shape {row.shape}" if np.isfinite(row).all() else "hold NaN or infinite numbers"
            raise InputError(f"the embeddings of video {v} {shown}; expected (frames, 2 or more), all of them finite")
    if sum(map(len, rows)) < 2:
        raise InputError("there is one frame in all videos; at least two span a plane")
    names = [per_frame(f"labels of video {v}", row, len(rows[v])) for v, row in enumerate(labels)]
    pca = PCA(2, svd_solver="full").fit(np.concatenate(rows))
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    paths = [pca.transform(row) for row in rows]
    for path in paths:
        axes.plot(*path.T, color=SOFT, lw=0.5, alpha=0.5, zorder=1)
    points, action = np.concatenate(paths), np.concatenate(names)
    for k in sorted(np.unique(action).tolist(), key=lambda k: k != background):  # background below
        style, (x, y) = action_style(k, background), points[action == k].T
        axes.plot(x, y, style.marker, ms=4.5, mfc=style.colour, mec="white", mew=0.4)
        if k != background:
            box = dict(boxstyle="circle,pad=0.2", fc="white", ec=style.colour, lw=1.5)
            axes.text(np.median(x), np.median(y), str(k + 1), ha="center", va="center", bbox=box, zorder=3)
    xlabel, ylabel = (
        f"component {c} ({r:.0%} of the variance)" for c, r in enumerate(pca.explained_variance_ratio_, 1)
    )
    axes.set(xticks=[], yticks=[], xlabel=xlabel, ylabel=ylabel)
    despine(axes)
    draw_legend(figure, np.unique(action), classes, background)
    return figure


def _draw_scores(axes: Axes, values: np.ndarray, place: int, baseline: bool) -> None:
    colour, marker = (SOFT, "s") if baseline else (ACCENT, "o")
    if len(values) > 1:
        axes.plot(values, np.full(len(values), place), "|", ms=9, color=colour, alpha=0.5)
        axes.errorbar(values.mean(), place, xerr=values.std(ddof=1), color=colour, capsize=3, lw=1.4)
    axes.plot(values.mean(), place, marker, ms=7, mec=colour, mfc="white" if baseline else colour, mew=1.4)
