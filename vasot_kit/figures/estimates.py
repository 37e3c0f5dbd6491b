"""Figures of what is read from recordings without labels: how long an action lasts, and how many actions there are."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vasot_kit.experiments.auto import RADIUS_PER_LENGTH, ActionLength
from vasot_kit.experiments.n_actions import ActionCount
from vasot_kit.figures.style import ACCENT, BACKGROUND, INK, PUBLISHED, SOFT, despine


def plot_action_length(length: ActionLength, true: float | None = None, title: str = "") -> Figure:
    """How often two frames lie in one cluster by the time between them, with the decay that gives the length.

    Args:
        length: as :func:`vasot_kit.experiments.auto.action_length` gives it.
        true: mean length of a segment by the labels, as a share of a recording, where it is known.
        title: of the figure.
    """
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


def plot_action_count(count: ActionCount, title: str = "") -> Figure:
    """The gain of every number of actions that was compared, the chosen one, and those within one standard error of it.

    Args:
        count: as :func:`vasot_kit.experiments.n_actions.count_actions` gives it.
        title: of the figure.
    """
    figure = Figure(figsize=(6.0, 3.2), layout="constrained")
    axes = figure.subplots()
    low, high = count.plausible
    axes.axvspan(low - 0.5, high + 0.5, color=BACKGROUND, lw=0, label=f"within one standard error: {low} to {high}")
    axes.errorbar(count.candidates, count.gain, count.error, color=SOFT, lw=1.4, elinewidth=0.8)
    best = count.gain[count.candidates == count.n_actions]
    axes.plot([count.n_actions], best, "o", ms=8, color=ACCENT, label=f"chosen: {count.n_actions}")
    axes.set_xlabel("number of actions K")
    axes.set_ylabel("F1 on other recordings\nabove that of guesses")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    despine(axes)
    return figure
