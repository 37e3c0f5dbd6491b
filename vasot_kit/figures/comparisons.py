"""Figures of comparisons: differences with intervals, sensitivity to a setting, two weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT, CARETRIGHT
from matplotlib.ticker import MaxNLocator

from vasot_kit.figures.style import ACCENT, BACKGROUND, INK, MARKERS, PUBLISHED, SOFT, despine
from vasot_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

WIDE, ARROWS = 2, (CARETLEFT, CARETRIGHT)  # width of an interval in points; its ends where a panel cuts it
LINE_STYLES = ((ACCENT, "-"), ("#CC6677", "--"), ("#117733", "-."), (INK, ":"))


def plot_intervals(table: pd.DataFrame, titles: Mapping[str, str], *, reference: str) -> Figure:
    """Mean difference of every line of a table from a reference, with its interval; filled if the interval excludes 0.

    A panel shows three times the largest difference at most. An interval that is wider is cut off at its edge and ends
    there in an arrow head.

    Args:
        table: as :func:`vasot_kit.tables.comparison.intervals` gives it.
        titles: score -> title of its panel; more than 4 do not fit well.
        reference: the line that was subtracted; it is drawn at 0.

    Raises:
        InputError: the table has none of the scores.
    """
    shown = [score for score in titles if score in table and table[score, "mean"].notna().any()]
    if not shown:
        raise InputError(f"the table has none of the scores {', '.join(titles)}")
    figure = Figure(figsize=(1.9 + 2.1 * len(shown), 1.0 + 0.3 * len(table)), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, score in zip(panels, shown, strict=True):
        axes.axvline(0.0, color=SOFT, lw=1)
        for place, (_, row) in enumerate(table.iterrows()):
            mean, low, high = (100 * row[score, part] for part in ("mean", "low", "high"))
            if np.isnan(mean):
                continue
            clear = low > 0 or high < 0
            colour = ACCENT if clear else SOFT
            if not np.isnan(low):
                axes.plot([low, high], [place, place], color=colour, lw=WIDE)
            axes.plot(mean, place, "o", ms=6, color=colour, mfc=colour if clear else "white", mew=1.4)
        low, high = axes.get_xlim()
        most = 300 * max(table[score, "mean"].abs().max(), 0.01)
        edges = axes.set_xlim(max(low, -most), min(high, most))
        for line in [line for line in axes.lines if line.get_linewidth() == WIDE]:
            for side, (end, edge) in enumerate(zip(line.get_xdata(), edges, strict=True)):
                if end < edge if side == 0 else end > edge:
                    axes.plot(edge, line.get_ydata()[0], marker=ARROWS[side], color=line.get_color(), ms=8)
        axes.set_title(titles[score], fontsize=11)
        axes.grid(axis="x", color=BACKGROUND, lw=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        despine(axes)
    panels[0].set_yticks(range(len(table)), [str(line).replace("_", " ") for line in table.index])
    panels[0].set_ylim(len(table) - 0.5, -0.5)
    figure.supxlabel(
        f"points more (right) or fewer (left) than {reference}; intervals by Holm's procedure", fontsize=10
    )
    return figure


def plot_standings(standings: Mapping[str, pd.DataFrame], titles: Mapping[str, str], *, reference: str) -> Figure:
    """On which data sets and by which scores the reference is ahead of every line, behind it, or neither.

    Args:
        standings: data set -> table as :func:`vasot_kit.tables.comparison.standings` gives it.
        titles: score -> title of its column.
        reference: the line that the others are compared with.

    Raises:
        InputError: no table has any of the scores.
    """
    columns = [(name, score) for name, table in standings.items() for score in titles if score in table]
    if not columns:
        raise InputError(f"the tables have none of the scores {', '.join(titles)}")
    lines = list(dict.fromkeys(line for table in standings.values() for line in table.index))
    figure = Figure(figsize=(2.0 + 0.62 * len(columns), 1.6 + 0.27 * len(lines)), layout="constrained")
    axes = figure.subplots()
    kinds = {1: ("ahead of it", ACCENT, ACCENT, "^"), 0: ("not separated", BACKGROUND, SOFT, "o"),
             -1: ("behind it", PUBLISHED, PUBLISHED, "v")}  # fmt: skip
    for place, (name, score) in enumerate(columns):
        for line, stands in standings[name][score].dropna().items():
            _, fill, edge, marker = kinds[int(stands)]
            axes.plot(place, lines.index(line), marker, ms=9 if stands else 6, color=edge, mfc=fill)
        if place and columns[place - 1][0] != name:
            axes.axvline(place - 0.5, color=SOFT, lw=0.8)
    for name in standings:
        places = [place for place, (other, _) in enumerate(columns) if other == name]
        if places:
            axes.text(float(np.mean(places)), -1.0, name.replace("_", " "), ha="center", va="bottom", fontsize=10)
    axes.set_xticks(range(len(columns)), [titles[score] for _, score in columns], rotation=50, ha="right", fontsize=9)
    axes.set_yticks(range(len(lines)), [str(line).replace("_", " ") for line in lines])
    axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(len(lines) - 0.4, -0.8))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    handles = [
        Line2D([], [], ls="", marker=marker, color=edge, mfc=fill, ms=8, label=f"{reference} is {words}")
        for words, fill, edge, marker in kinds.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_sensitivity(
    rows: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    chosen: Mapping[str, float],
    published: Mapping[str, float] | None = None,
) -> Figure:
    """Scores over the values of each setting, one panel per setting: mean and standard deviation over seeds.

    Args:
        rows: one per run, with ``setting``, ``value``, ``seed`` and scores.
        titles: score -> its name in the legend, at most 4.
        chosen: setting -> the value that it has in the other panels, drawn as a dotted line.
        published: setting -> the value in the papers, where it differs.

    Raises:
        InputError: no row has any of the scores.
    """
    import pandas as pd

    frame = pd.DataFrame(rows)
    shown = [score for score in titles if score in frame and frame[score].notna().any()]
    if not shown:
        raise InputError(f"the rows have none of the scores {', '.join(titles)}")
    settings = list(dict.fromkeys(frame["setting"]))
    columns = min(4, len(settings))
    count = -(-len(settings) // columns)
    figure = Figure(figsize=(0.8 + 2.2 * columns, 0.7 + 2.1 * count), layout="constrained")
    panels = figure.subplots(count, columns, sharey=True, squeeze=False).ravel()
    for axes in panels[len(settings) :]:
        axes.set_visible(False)
    for axes, setting in zip(panels, settings, strict=False):
        some = frame[frame["setting"] == setting]
        for score, (colour, style), marker in zip(shown, LINE_STYLES, MARKERS, strict=False):
            groups = some.groupby("value")[score]
            mean, spread = 100 * groups.mean(), 100 * groups.std().fillna(0.0)
            axes.fill_between(mean.index, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
            axes.plot(mean.index, mean, style, color=colour, marker=marker, ms=4, mfc="white")
        for values, colour, style in ((chosen, SOFT, ":"), (published or {}, PUBLISHED, "--")):
            if setting in values:
                axes.axvline(values[setting], color=colour, lw=1, ls=style)
        axes.set_title(setting, fontsize=11)
        ticks = sorted(some["value"].unique())
        axes.set_xticks(ticks, [f"{value:.2g}" for value in ticks])
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="y", color=BACKGROUND, lw=0.6)
        despine(axes)
    keys = [
        Line2D([], [], color=colour, ls=style, marker=marker, ms=4, mfc="white", label=titles[score])
        for score, (colour, style), marker in zip(shown, LINE_STYLES, MARKERS, strict=False)
    ]
    keys.append(Line2D([], [], color=SOFT, lw=1, ls=":", label="kept in the other panels"))
    if published:
        keys.append(Line2D([], [], color=PUBLISHED, lw=1, ls="--", label="published"))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9)
    figure.supylabel("score x 100", fontsize=10)
    return figure


def plot_grid(
    rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], first: str = "w_align", second: str = "w_seg"
) -> Figure:
    """Mean score over seeds for every pair of two settings, one map per score; the best cell in bold.

    Args:
        rows: one per run, with both settings, ``seed`` and scores; pairs without a run stay empty.
        titles: score -> title of its map.
        first: the setting that varies along the rows of a map.
        second: the setting that varies along its columns.

    Raises:
        InputError: no scores to show, or none of a score in any row.
    """
    import pandas as pd

    frame = pd.DataFrame(rows)
    known = [name for name in frame if frame[name].notna().any()]
    lacking = [name for name in (first, second, *titles) if name not in known]
    if lacking or not titles:
        raise InputError(f"no row has {', '.join(lacking) or 'a score'}; the rows have {', '.join(known) or 'nothing'}")
    figure = Figure(figsize=(2.6 * len(titles) + 0.4, 2.7), layout="constrained")
    panels = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
    for axes, (score, title) in zip(panels, titles.items(), strict=True):
        cells = 100 * frame.pivot_table(index=first, columns=second, values=score, aggfunc="mean")
        values = cells.to_numpy()
        axes.imshow(values, cmap="Blues", origin="lower", aspect="auto")
        middle = np.nanmin(values) + 0.6 * (np.nanmax(values) - np.nanmin(values))
        for i, j in np.ndindex(values.shape):
            if not np.isnan(values[i, j]):
                ink = "white" if values[i, j] > middle else INK
                best = values[i, j] == np.nanmax(values)
                axes.text(
                    j, i, f"{values[i, j]:.1f}", ha="center", va="center", color=ink, weight="bold" if best else None
                )
        axes.set_xticks(range(len(cells.columns)), [f"{value:g}" for value in cells.columns])
        axes.set_yticks(range(len(cells.index)), [f"{value:g}" for value in cells.index])
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(second)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0].set_ylabel(first)
    return figure
