"""Every plot of the kit as a pure function that returns a matplotlib Figure.

One family: action k has the same look in every figure, the background class is grey, and methods stand apart from
baselines. The colours are Paul Tol's ``muted`` scheme, which is safe for colour-blind readers, in an order that
alternates dark and light so that neighbouring steps differ in grey as well; from the tenth action on they come again
with hatching (bars) or another marker (points). Long segments also carry the number of their action.

In every signature ``background`` is the number of the background class, or None. pyplot's global state is left
alone; save a figure with ``vasot_lib.experiments.records.save_figure``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from vasot_lib.errors import InputError
from vasot_lib.evaluation import segments

COLOURS = ("#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#AA4499", "#999933")
HATCHES = ("", "////", "....", "xxxx")
MARKERS = ("o", "s", "^", "D")
BACKGROUND = "#DDDDDD"
INK, SOFT, ACCENT, PUBLISHED = "#222222", "#777777", "#0072B2", "#882255"
MATCHES = (("o", "#D55E00"), ("x", "#0072B2"))  # up to two sets of matches on a plan, which is grey
PANELS = 4  # scores per row
METER = {"mean_cosine": "mean cosine (1: collapsed)", "effective_rank": "effective rank (1: collapsed)"}
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
        frames = _fitting(f"matches {name!r}", partners, len(plan))
        (rows,) = np.nonzero(frames >= 0)
        axes.plot(frames[rows], rows, marker, ms=4, mew=0.9, mfc="none", color=colour, label=name)
    if matches:
        axes.legend(loc="upper right", handletextpad=0.2)
    if labels_x is not None:
        strip = axes.inset_axes((-0.055, 0, 0.04, 1))
        _draw_bar(strip, _fitting("labels_x", labels_x, len(plan)), 0, background, vertical=True)
        strip.set(xlim=(-0.5, 0.5), ylim=axes.get_ylim())
        strip.set_axis_off()
    if labels_y is not None:
        strip = axes.inset_axes((0, -0.06, 1, 0.04))
        _draw_bar(strip, _fitting("labels_y", labels_y, plan.shape[1]), 0, background)
        strip.set(xlim=axes.get_xlim(), ylim=(-0.5, 0.5))
        strip.set_axis_off()
    axes.tick_params(length=0, pad=20)
    axes.set(xlabel="time in Y (frames)", ylabel="time in X (frames)", title=title)
    return figure


def plot_segmentations(
    rows: Mapping[str, ArrayLike], classes: Sequence[str], *, background: int | None = None, title: str = ""
) -> Figure:
    """Label bars of one video, one under another: the truth, methods, baselines.

    Args:
        rows: (N,) class per frame by name; clusters are mapped to classes by the caller (``evaluation.hungarian``),
            those without a class are -1.
        classes: class names; the legend shows the ones that occur.

    Raises:
        InputError: no rows, or rows of different lengths.
    """
    if not rows:
        raise InputError("plot_segmentations() got no rows; give at least one, e.g. {'truth': labels}")
    length = len(np.asarray(next(iter(rows.values()))))
    labels = {name: _fitting(f"row {name!r}", row, length) for name, row in rows.items()}
    figure = Figure(figsize=(6.4, 1.3 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(labels.values()):
        _draw_bar(axes, row, place, background, numbered=True)
    axes.set(xlim=(-0.5, length - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel="time (frames)", title=title)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    _legend(figure, np.unique(np.concatenate(list(labels.values()))), classes, background)
    return figure


def plot_history(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss terms, and whether the embeddings collapse, per epoch.

    Args:
        history: as :func:`vasot_lib.training.fit` returns it.

    Raises:
        InputError: no epochs.
    """
    if not history:
        raise InputError("the history is empty; train for at least one epoch")
    table = pd.DataFrame(history).set_index("epoch")
    figure = Figure(figsize=(7.6, 2.6), layout="constrained")
    loss, *meters = figure.subplots(1, 3, sharex=True)
    styles = zip((INK, ACCENT, "#CC6677", "#117733"), ("-", "--", "-.", ":"), strict=True)
    for name, (colour, style) in zip(table.columns.drop(list(METER)), styles, strict=False):
        loss.plot(table.index, table[name], style, color=colour, label="all terms" if name == "loss" else name)
    loss.legend(fontsize=9, frameon=False)
    loss.set_title("loss (nats)", fontsize=11)
    for axes, (name, title) in zip(meters, METER.items(), strict=True):
        axes.plot(table.index, table[name], color=INK)
        axes.set_title(title, fontsize=11)
    for axes in (loss, *meters):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _open(axes)
    loss.set_ylim(0, 1.5 * table["loss"].max())  # room for the legend
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
    """Scores of methods beside baselines: a dot per seed, the mean and the standard deviation over seeds.

    Args:
        table: one row per method and seed, columns ``method``, ``seed`` and the scores; empty cells are left out.
        metrics: score column -> title of its panel, e.g. ``report.SCORES["Segmentation"]``.
        baselines: methods that learn nothing: hollow grey squares, below the others.
        published: method -> score -> value, drawn as a diamond; never in the place of a measured one.

    Raises:
        InputError: no row carries any of the metrics.
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
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0] if scored[metric].min() < 0 else 0.0))
        axes.grid(axis="x", color=BACKGROUND, lw=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _open(axes)
    panels[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    looks = [("o", ACCENT, ACCENT, "method, mean ± sd over seeds"), ("s", "white", SOFT, "learns nothing")]
    looks += [("D", "none", PUBLISHED, "published")] if published else []
    keys = [Line2D([], [], ls="none", ms=7, marker=m, mfc=fc, mec=ec, label=name) for m, fc, ec, name in looks]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], x_label: str, y_label: str, title: str = ""
) -> Figure:
    """Measured values over sizes, both axes logarithmic, so that a power of the size is a straight line.

    Args:
        curves: name -> sizes and values, all positive; a name that starts with ``~`` is a guide, dashed and grey.

    Raises:
        InputError: a curve whose sizes and values differ in number.
    """
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    looks = zip((ACCENT, "#CC6677", "#117733", "#332288"), MARKERS, strict=True)
    for name, (sizes, values) in curves.items():
        x, y = np.asarray(sizes, float), np.asarray(values, float)
        if x.shape != y.shape:
            raise InputError(f"curve {name!r} has {len(x)} sizes and {len(y)} values; give one value per size")
        if name.startswith("~"):
            axes.plot(x, y, "--", color=SOFT, lw=1.2, label=name[1:])
        else:
            colour, marker = next(looks)
            axes.plot(x, y, marker, ls="-", color=colour, ms=6, mfc="white", mew=1.4, label=name)
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label, title=title)
    measured = sorted({float(size) for sizes, _ in curves.values() for size in np.asarray(sizes)})
    axes.set_xticks(measured, [f"{size:,.0f}" for size in measured])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color=BACKGROUND, lw=0.6)
    axes.legend(fontsize=9, frameon=False)
    _open(axes)
    return figure


def plot_ratios(ratios: Mapping[str, float], goals: Mapping[str, float], x_label: str) -> Figure:
    """How many times faster than each peer: bars on a logarithmic axis that starts at 1, a tick where the goal is.

    Args:
        ratios: peer -> times faster; below 1 the bar points to the left: slower.
        goals: peer -> goal; may lack some.
    """
    figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(ratios)), layout="constrained")
    axes = figure.subplots()
    for place, (name, ratio) in enumerate(ratios.items()):
        axes.barh(place, ratio - 1, left=1, height=0.6, color=ACCENT)
        axes.annotate(f"{ratio:.3g}x", (max(ratio, 1), place), xytext=(5, 0), textcoords="offset points", va="center")
        if name in goals:
            axes.plot([goals[name]] * 2, [place - 0.42, place + 0.42], color=PUBLISHED, lw=2.5)
    axes.set(xscale="log", xlabel=x_label, ylim=(len(ratios) - 0.4, -0.6))
    axes.set_xlim(min(1.0, *ratios.values()) / 1.1, 2.2 * max(*ratios.values(), *goals.values(), 1.0))
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.legend(handles=[Line2D([], [], color=PUBLISHED, lw=2.5, label="goal")], frameon=False, loc="lower right")
    _open(axes)
    return figure


def plot_embedding_path(
    embeddings: Sequence[ArrayLike], labels: Sequence[ArrayLike], classes: Sequence[str], background: int | None = None
) -> Figure:
    """Frame embeddings of several videos in the plane of their two principal components, joined in order of time.

    Args:
        embeddings: (N_v, D) per video.
        labels: (N_v,) classes per video.
        classes: class names; the legend shows the ones that occur.

    Raises:
        InputError: labels of another length than the embeddings.
    """
    rows = [np.asarray(video, dtype=float) for video in embeddings]
    names = [_fitting(f"labels of video {v}", row, len(rows[v])) for v, row in enumerate(labels)]
    pca = PCA(2, svd_solver="full").fit(np.concatenate(rows))
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    paths = [pca.transform(row) for row in rows]
    for path in paths:
        axes.plot(*path.T, color=SOFT, lw=0.5, alpha=0.5, zorder=1)
    points, action = np.concatenate(paths), np.concatenate(names)
    for k in sorted(np.unique(action).tolist(), key=lambda k: k != background):  # background below
        look, (x, y) = action_look(k, background), points[action == k].T
        axes.plot(x, y, look.marker, ms=4.5, mfc=look.colour, mec="white", mew=0.4)
        if k != background:
            box = dict(boxstyle="circle,pad=0.2", fc="white", ec=look.colour, lw=1.5)
            axes.text(np.median(x), np.median(y), str(k + 1), ha="center", va="center", bbox=box, zorder=3)
    xlabel, ylabel = (
        f"component {c} ({r:.0%} of the variance)" for c, r in enumerate(pca.explained_variance_ratio_, 1)
    )
    axes.set(xticks=[], yticks=[], xlabel=xlabel, ylabel=ylabel)
    _open(axes)
    _legend(figure, np.unique(action), classes, background)
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
        chosen = _fitting(f"matches {name!r}", partners, len(x_frames))[np.asarray(indices)]
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


def _fitting(name: str, values: ArrayLike, length: int) -> np.ndarray:
    array = np.asarray(values)
    if array.shape != (length,):
        raise InputError(f"{name} have shape {array.shape}; expected ({length},), one per frame")
    return array


def _draw_bar(
    axes: Axes, labels: np.ndarray, place: int, background: int | None, vertical: bool = False, numbered: bool = False
) -> None:
    """One bar of coloured segments, 0.8 wide around ``place``; frame i covers i - 0.5 to i + 0.5."""
    for action, start, end in zip(*(part.tolist() for part in segments(labels)), strict=True):
        look, along, across = action_look(action, background), (start - 0.5, end - start), (place - 0.4, 0.8)
        (x, width), (y, height) = (across, along) if vertical else (along, across)
        axes.add_patch(Rectangle((x, y), width, height, **_fill(action, look)))
        if numbered and 0 <= action != background and end - start > LABELLED * len(labels):
            dark = np.dot(to_rgb(look.colour), (0.3, 0.59, 0.11)) < 0.55
            box = dict(boxstyle="round,pad=0.1", fc=look.colour, lw=0)  # keeps hatching off the number
            ink, middle = "white" if dark else INK, (start + end - 1) / 2
            axes.text(middle, place, str(action + 1), ha="center", va="center", bbox=box, color=ink)


def _fill(action: int, look: Look) -> dict[str, Any]:
    return dict(fc=look.colour, hatch=look.hatch, ec="white" if action >= 0 else SOFT, lw=0)


def _legend(figure: Figure, actions: np.ndarray, classes: Sequence[str], background: int | None) -> None:
    handles = []
    for action in sorted(actions.tolist(), key=lambda k: (k in (-1, background), k)):
        look = action_look(action, background)
        name = classes[action].replace("_", " ") if action >= 0 else "no class"
        number = "" if action < 0 or action == background or name.endswith(str(action + 1)) else f"{action + 1} "
        handles.append(Patch(label=number + name, **_fill(action, look)))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, handlelength=1)


def _draw_scores(axes: Axes, values: np.ndarray, place: int, baseline: bool) -> None:
    colour, marker = (SOFT, "s") if baseline else (ACCENT, "o")
    if len(values) > 1:
        axes.plot(values, np.full(len(values), place), "|", ms=9, color=colour, alpha=0.5)
        axes.errorbar(values.mean(), place, xerr=values.std(ddof=1), color=colour, capsize=3, lw=1.4)
    axes.plot(values.mean(), place, marker, ms=7, mec=colour, mfc="white" if baseline else colour, mew=1.4)


def _open(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
