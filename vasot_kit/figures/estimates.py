"""Figures of what is read from recordings without labels: how long an action lasts, and how many actions there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

from vasot_kit.figures.comparisons import LINE_STYLES
from vasot_kit.figures.style import ACCENT, BACKGROUND, COLOURS, INK, MARKERS, PUBLISHED, SOFT, despine, something

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vasot_kit.experiments.auto import ActionLength
    from vasot_kit.experiments.n_actions import ActionCount


def plot_action_length(length: ActionLength, true: float | None = None, title: str = "") -> Figure:
    """How often two frames lie in one cluster by the time between them, with the decay that gives the length.

    Args:
        length: as :func:`vasot_kit.experiments.auto.action_length` gives it.
        true: mean length of a segment by the labels, as a share of a recording, where it is known.
        title: of the figure.
    """
    from vasot_kit.experiments.auto import RADIUS_PER_LENGTH  # all methods, which figures of films do without

    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    axes = figure.subplots()
    radius = RADIUS_PER_LENGTH * length.share
    axes.axvspan(length.lags[0], radius, color=BACKGROUND, lw=0, label=f"the radius, {radius:.3f}")
    axes.axhline(0, color=SOFT, lw=0.8)
    axes.plot(length.lags, length.agreement, "o", ms=4, color=SOFT, label="measured")
    axes.plot(length.lags, length.fitted, color=INK, lw=1.6, label="fitted")
    axes.axvline(length.share, color=ACCENT, lw=1.8, label=f"length found, {length.share:.3f}")
    if true is not None:
        axes.axvline(true, color=PUBLISHED, lw=1.8, ls="--", label=f"length by the labels, {true:.3f}")
    axes.set_xscale("log")
    axes.set_xlim(length.lags[0], length.lags[-1])
    axes.set_xlabel("time between two frames, as a share of the recording")
    axes.set_ylabel("pairs in one cluster\nbeyond chance")
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    despine(axes)
    return figure


def plot_radii(rows: pd.DataFrame, scores: Mapping[str, str], found: Mapping[str, float]) -> Figure:
    """Scores over the radius of the structural priors, one panel per data set: mean and standard deviation over seeds.

    Args:
        rows: one per training, with ``dataset``, ``radius`` and the scores.
        scores: score -> its name in the legend, at most 4.
        found: data set -> the radius that the preset ``auto`` takes.
    """
    names = list(dict.fromkeys(rows["dataset"]))
    figure = Figure(figsize=(1.2 + 3.4 * len(names), 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        by_radius = rows[rows["dataset"] == name].groupby("radius")
        for (score, title), (colour, style), marker in zip(scores.items(), LINE_STYLES, MARKERS, strict=False):
            mean, spread = 100 * by_radius[score].mean(), 100 * by_radius[score].std()
            axes.fill_between(mean.index, mean - spread, mean + spread, color=colour, alpha=0.13, lw=0)
            axes.plot(mean.index, mean, style, color=colour, marker=marker, mfc="white", label=title)
        axes.axvline(found[name], color=INK, lw=1, ls=":", label="radius of auto")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted(rows["radius"].unique())))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_title(name, fontsize=11)
        despine(axes)
    panels[0].set_ylabel("score × 100")
    figure.supxlabel("radius, as a share of the recording", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def plot_time_priors(priors: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """How probable each action is at each relative time by several temporal priors, one row of panels per data set.

    Args:
        priors: data set -> name of the prior -> (N, K) density, 1 where nothing is known.

    Raises:
        InputError: no priors.
    """
    something("plot_time_priors()", priors, "priors")
    names = list(dict.fromkeys(name for row in priors.values() for name in row))
    figure = Figure(figsize=(1.4 + 3.6 * len(names), 0.6 + 2.3 * len(priors)), layout="constrained")
    panels = figure.subplots(len(priors), len(names), sharex=True, squeeze=False)
    for (dataset, row), line in zip(priors.items(), panels, strict=True):
        for name, axes in zip(names, line, strict=True):
            k = row[name].shape[1]
            image = axes.imshow(
                row[name].T, aspect="auto", origin="lower", extent=(0, 1, 0.5, k + 0.5), cmap="viridis",
                norm=LogNorm(0.4, 4, clip=True),
            )  # fmt: skip
            axes.set_title(f"{dataset}: {name}", fontsize=11)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        line[0].set_ylabel("action")
    bar = figure.colorbar(image, ax=panels, ticks=[0.5, 1, 2, 4], format=ScalarFormatter(), shrink=0.8)
    bar.ax.minorticks_off()
    bar.set_label("density; 1: no idea")
    figure.supxlabel("relative time", fontsize=10)
    return figure


def plot_shared_segments(rows: pd.DataFrame, least: float) -> Figure:
    """What the segments that recordings share give in the place of the vote, over what can be seen without labels.

    Args:
        rows: one per training, with ``dataset``, ``found_again_vote`` and ``found_again_shared``, the agreement of
            frames with their nearest frames in other recordings, and ``mof_vote`` and ``mof_shared``.
        least: the difference of the first two above which the shared segments are taken.
    """
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=SOFT, lw=0.8)
    axes.axvline(least, color=INK, lw=1, ls=":")
    for number, (name, found) in enumerate(rows.groupby("dataset", sort=False)):
        axes.plot(
            found["found_again_shared"] - found["found_again_vote"], 100 * (found["mof_shared"] - found["mof_vote"]),
            MARKERS[number % len(MARKERS)], color=COLOURS[number % len(COLOURS)], mec="white", ms=8,
            label=str(name).replace("_", " "),
        )  # fmt: skip
    axes.set_xlabel("how much better shared segments are found again in other recordings than the vote")
    axes.set_ylabel("what they change in MoF × 100")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    despine(axes)
    return figure


def plot_number_of_recordings(rows: pd.DataFrame) -> Figure:
    """The MoF over the number of recordings that were trained on: a dot per training, a line through the means.

    Args:
        rows: one per training, with ``dataset``, ``recordings`` and ``mof``.
    """
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, found) in enumerate(rows.groupby("dataset", sort=False)):
        marker, colour = MARKERS[number % len(MARKERS)], COLOURS[number % len(COLOURS)]
        means = 100 * found.groupby("recordings")["mof"].mean()
        axes.plot(found["recordings"], 100 * found["mof"], marker, color=colour, alpha=0.35, mec="none", ms=5)
        axes.plot(means, color=colour, lw=1.6, marker=marker, mec="white", ms=8, label=str(name).replace("_", " "))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(rows["recordings"]))))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("number of recordings")
    axes.set_ylabel("MoF × 100")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    despine(axes)
    return figure


def plot_action_count(count: ActionCount, title: str = "") -> Figure:
    """The gain of every number of classes that was compared, the best of them, and the number of actions it leads to.

    Args:
        count: as :func:`vasot_kit.experiments.n_actions.count_actions` gives it.
        title: of the figure.
    """
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    low, high = count.plausible
    axes.axvspan(low - 0.5, high + 0.5, color=BACKGROUND, lw=0, label=f"plausible K: {low} to {high}")
    axes.errorbar(count.candidates, count.gain, count.error, color=SOFT, lw=1.4, elinewidth=0.8)
    parts = count.classes - count.n_actions
    joined = f",\n{parts} of them parts of others" if parts else ""
    best = f"best: {count.classes} classes{joined}"
    axes.plot([count.classes], [count.gain.max()], "o", ms=7, color=INK, label=best)
    axes.axvline(count.n_actions, color=ACCENT, lw=1.8, label=f"K = {count.n_actions}")
    axes.set_xlabel("number of classes")
    axes.set_ylabel("F1 on other recordings\nabove that of guesses")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    despine(axes)
    return figure
