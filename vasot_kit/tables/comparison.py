"""Comparison of methods: tables with links to the runs, intervals and ranks by Holm's procedure, published results.

Differences are paired by seed. A seed decides first weights and sampled frames, but all seeds see the same recordings:
an interval says what another seed would give on these recordings, not what other recordings would give.
:func:`recording_intervals` gives intervals over recordings instead.
"""

from __future__ import annotations

import html
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes a hundred times as long for a single number

from vasot_kit.tables.scores import DIGITS, paired_differences, sign_of
from vasot_lib.errors import InputError, unknown_name
from vasot_lib.evaluation import frame_scores

ERROR = 0.05  # most probability that any of the differences in one score seems clear although there is none

_ALIGNMENT = ("acc_0.1", "acc_0.5", "acc_1.0", "ap_5", "ap_10", "ap_15")
_SEGMENTATION = ("mof", "f1", "miou")
# In percent, from the paper's tables (SPEC section 11). Data and features differ: never mix them with measured values.
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "IKEA ASM": {
        "tcc": dict(zip(_ALIGNMENT, (22.70, 25.04, 25.63, 18.03, 17.53, 17.20), strict=True)),
        "vava": dict(zip(_ALIGNMENT, (29.12, 29.95, 29.10, 26.42, 25.73, 25.80), strict=True)),
        "vaot": dict(zip(_ALIGNMENT, (33.73, 36.42, 38.64, 31.49, 31.92, 32.01), strict=True)),
    },
    "Breakfast": {
        "asot": dict(zip(_SEGMENTATION, (56.1, 38.3, 18.6), strict=True)),
        "vasot": dict(zip(_SEGMENTATION, (57.5, 39.0, 18.8), strict=True)),
    },
    "50 Salads Eval": {
        "asot": dict(zip(_SEGMENTATION, (59.3, 53.6, 30.1), strict=True)),
        "vasot": dict(zip(_SEGMENTATION, (60.6, 57.4, 34.5), strict=True)),
    },
    "Desktop Assembly": {
        "asot": dict(zip(_SEGMENTATION, (70.4, 68.0, 45.9), strict=True)),
        "vasot": dict(zip(_SEGMENTATION, (70.9, 75.1, 49.3), strict=True)),
    },
}


def published_table(titles: Mapping[str, str]) -> pd.DataFrame:
    """The published scores of a task in percent: one line per method, one column per data set and score, – if unknown.

    A data set has as many digits as were published for it.

    Args:
        titles: scores to show, e.g. ``TASKS["Alignment"]``.
    """
    columns = {
        (f"PUBLISHED, {data}", titles[score]): {name: row[score] for name, row in table.items() if score in row}
        for data, table in PUBLISHED.items()
        for score in titles
        if any(score in row for row in table.values())
    }
    digits = {
        data: max(len(str(v).partition(".")[2]) for row in t.values() for v in row.values())
        for data, t in PUBLISHED.items()
    }
    text = {
        column: {name: f"{value:.{digits[column[0].removeprefix('PUBLISHED, ')]}f}" for name, value in values.items()}
        for column, values in columns.items()
    }
    return pd.DataFrame(text).fillna("–")


def linked_table(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], folder: Path | str) -> str:
    """HTML table with one line per method: 100 times the mean ± standard deviation over seeds, steps and seconds.

    A cell shows the value of every seed while the mouse rests on it. The cells link to the metrics files: a mean to
    that of the first seed, and each seed in the last column to its own.

    Args:
        rows: as :func:`vasot_kit.runs.training.run_study` returns them, of one data set.
        titles: score -> title of its column; scores that no row has are left out, as are rows without any score.
        folder: the folder of the study, relative to the page that shows the table.
    """
    frame = _scored(rows, titles)
    scores = [score for score in titles if score in frame]
    best = {score: frame.groupby("line", sort=False)[score].mean().agg(_best(score)) for score in scores}
    head = "".join(
        f"<th>{html.escape(title)}</th>" for title in ["", *(titles[s] for s in scores), "steps", "seconds", "runs"]
    )
    lines = []
    for line, group in frame.groupby("line", sort=False):
        links = {seed: f"{folder}/{file}" for seed, file in zip(group["seed"], group["metrics"], strict=True)}
        cells = [_cell(group.set_index("seed")[score], next(iter(links.values())), best[score]) for score in scores]
        for name, digits in (("steps", 0), ("seconds", 1)):
            taken = group[name].astype(float).mean() if name in group else np.nan
            cells.append("" if pd.isna(taken) else f"{taken:,.{digits}f}")
        cells.append(" ".join(f'<a href="{html.escape(link)}">{seed}</a>' for seed, link in links.items()))
        name = html.escape(str(line).replace("_", " "))
        lines.append(f"<tr><th>{name}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def intervals(differences: pd.DataFrame) -> pd.DataFrame:
    """The mean of the differences of each line, with an interval from Student's t over the seeds.

    Every line is a comparison, and among many of them some exclude 0 by chance. Holm's procedure therefore orders the
    lines of one score by p value and tests the i-th of m at the level .05 / (m - i + 1), until the first that is not
    clear; this and all later ones keep its level. The interval of a line has the level at which the line was tested, so
    it excludes 0 exactly where Holm's procedure finds a difference. If there is no true difference in a score, the
    probability that any of its intervals excludes 0 is at most 5 %. A single line has the usual 95 % interval.

    Args:
        differences: as :func:`vasot_kit.tables.scores.paired_differences` gives them.

    Returns:
        One row per line, columns (score, ``mean`` | ``low`` | ``high``); NaN for the interval of a single seed.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    lines: dict[str, dict[tuple[str, str], float]] = {}
    for score in differences:
        groups = differences[score].groupby(level="line", sort=False)
        names, values = zip(*[(str(line), group.dropna().to_numpy(dtype=float)) for line, group in groups], strict=True)
        for name, few, (low, high) in zip(names, values, _holm_intervals(values), strict=True):
            mean = float(few.mean()) if len(few) else np.nan
            line = lines.setdefault(name, {})
            line |= {(str(score), "mean"): mean, (str(score), "low"): low, (str(score), "high"): high}
    return pd.DataFrame.from_dict(lines, orient="index")


def interval_table(table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """The intervals as text, in 100 times the score, with a star if the interval excludes 0.

    Args:
        table: as :func:`intervals` gives it.
        titles: scores to show.
    """
    scores = [score for score in titles if score in table]

    def text(row: pd.Series, score: str) -> str:
        mean, low, high = (100 * row[score, part] for part in ("mean", "low", "high"))
        if pd.isna(mean):
            return "–"
        span = "" if pd.isna(low) else f" [{low:+.1f}, {high:+.1f}]" + ("*" if low > 0 or high < 0 else "")
        return f"{mean:+.1f}{span}"

    return pd.DataFrame({titles[s]: [text(row, s) for _, row in table.iterrows()] for s in scores}, index=table.index)


def standings(table: pd.DataFrame) -> pd.DataFrame:
    """Where the reference stands towards every line: 1 ahead of it, -1 behind it, 0 where the interval includes 0.

    Args:
        table: as :func:`intervals` gives it, for the differences line minus reference.

    Returns:
        One row per line, one column per score; NaN where a line has no such score.
    """
    found = pd.DataFrame(index=table.index)
    for score in table.columns.get_level_values(0).unique():
        better = sign_of(score) * table[score]  # positive where the line is ahead of the reference
        low, high = better[["low", "high"]].min(axis=1), better[["low", "high"]].max(axis=1)
        found[score] = ((high < 0).astype(float) - (low > 0)).where(table[score, "mean"].notna())
    return found


def ranks(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> pd.DataFrame:
    """Rank of every line by every score: 1 + the number of lines that are ahead of it beyond chance.

    All pairs of lines are compared, and Holm's procedure of :func:`intervals` runs over all pairs of a score: if all
    lines are alike, the probability that any of them has a rank above 1 is at most 5 %. Lines that do not separate can
    share a rank.

    Args:
        rows: those of one data set, which are paired by seed; a line without a score has no rank by it.
        titles: scores to rank by, and the titles of their columns.
    """
    frame = _scored(rows, titles)
    scores = [score for score in titles if score in frame]
    names = list(frame["line"].unique())
    table = pd.DataFrame(index=names, columns=scores)
    wide = frame.pivot_table(index="seed", columns="line", values=scores, aggfunc="first")
    for score in scores:
        values = {name: wide[score, name].to_numpy(dtype=float) for name in names if (score, name) in wide}
        rank = {name: int(name in values) for name in names}
        pairs = list(combinations(values, 2))
        gains = [sign_of(score) * (values[one] - values[other]) for one, other in pairs]
        found = _holm_intervals([gain[~np.isnan(gain)] for gain in gains])
        for (one, other), (low, high) in zip(pairs, found, strict=True):
            rank[other] += int(low > 0)
            rank[one] += int(high < 0)
        table[score] = rank
    return table.replace(0, "–").rename(columns=dict(titles))


def differences_between(
    rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], first: str, second: str
) -> pd.DataFrame:
    """The interval of first minus second, paired by seed, in one row for every data set that has both lines.

    The data sets count as the lines of one table, see :func:`intervals`.

    Raises:
        InputError: no data set has both lines.
    """
    tables = {}
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        some = [row for row in rows if row["dataset"] == dataset and row["line"] in (first, second)]
        if {row["line"] for row in some} == {first, second}:
            tables[dataset] = paired_differences(some, titles, second).droplevel("line")
    if not tables:
        raise InputError(f"no data set has both {first!r} and {second!r}; run both on one")
    return intervals(pd.concat(tables, names=["line"]))


def recording_intervals(
    predictions: Mapping[str, Sequence[Sequence[np.ndarray]]],
    truths: Sequence[np.ndarray],
    reference: str,
    background: int | None = None,
    groups: Sequence[Hashable] | None = None,
    draws: int = 500,
) -> pd.DataFrame:
    """Segmentation scores of each method minus the reference's, with an interval from a bootstrap over recordings.

    As many groups as there are are drawn with replacement, the same for all methods, and scored with a matching of
    actions to classes of their own. The interval of a line goes from the 2.5th to the 97.5th percentile of its
    differences, without a correction for many lines. Nothing is trained again: the interval says what other recordings
    would change in the scores of these trained methods. Below some 20 groups it is too narrow.

    Args:
        predictions: line -> S lists, one per seed, of the (N_v,) actions that a trained method gives to each of the V
            recordings. The score of a line is its mean over its seeds.
        truths: V times the (N_v,) classes of a recording.
        reference: the line that the others are compared with.
        background: class whose frames are left out, or None.
        groups: what each recording belongs to, such as a person, whose recordings are alike and therefore drawn
            together. Every recording is its own group where None.
        draws: number of draws, whose random numbers are always the same.

    Returns:
        As :func:`intervals`, for ``mof``, ``f1`` and ``miou``; ``mean`` is the difference on all recordings.

    Raises:
        InputError: an unknown reference, fewer than two groups, not one group for every recording, or a seed without
            a prediction for every recording.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if reference not in predictions:
        raise unknown_name("line", reference, predictions)
    groups = list(range(len(truths)) if groups is None else groups)
    members = [[v for v, other in enumerate(groups) if other == group] for group in dict.fromkeys(groups)]
    if len(groups) != len(truths) or len(members) < 2:
        raise InputError(
            f"{len(groups)} groups, {len(members)} of them different, for {len(truths)} recordings; "
            "give one per recording, and at least two different ones"
        )
    for line, seeds in predictions.items():
        if not seeds or any(len(seed) != len(truths) for seed in seeds):
            raise InputError(
                f"{line} has predictions of {[len(seed) for seed in seeds]} recordings by seed, not of {len(truths)}; "
                "give one or more seeds, with one prediction per recording"
            )

    def difference(kept: Sequence[int]) -> np.ndarray:
        true = [truths[v] for v in kept]
        found = {
            line: np.mean([list(frame_scores([one[v] for v in kept], true, background).values()) for one in seeds], 0)
            for line, seeds in predictions.items()
        }
        return np.array([found[line] - found[reference] for line in lines]).round(DIGITS)

    lines = [line for line in predictions if line != reference]
    everything, rng = difference(range(len(truths))), np.random.default_rng(0)
    chosen = (rng.integers(len(members), size=len(members)) for _ in range(draws))
    drawn = [difference([v for group in draw for v in members[group]]) for draw in chosen]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    parts = {"mean": everything, "low": low, "high": high}
    columns = {(s, part): values[:, i] for i, s in enumerate(_SEGMENTATION) for part, values in parts.items()}
    return pd.DataFrame(columns, index=lines)


def _scored(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    absent = [score for score in titles if score not in frame or frame[score].isna().all()]
    frame = frame.drop(columns=absent, errors="ignore")
    shown = [score for score in titles if score in frame]
    if not shown:
        raise InputError(f"no row has any of the scores {', '.join(titles)}; choose others")
    return frame[frame[shown].notna().any(axis=1)].astype(dict.fromkeys(shown, float))


def _holm_intervals(differences: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """The interval of each of m sets of paired differences at its level in Holm's procedure; NaN for a single seed."""
    differences = [values.round(DIGITS) for values in differences]
    found = [(np.nan, np.nan)] * len(differences)
    p_values = {index: _p_value(values) for index, values in enumerate(differences) if len(values) > 1}
    level, clear = ERROR, True
    for place, index in enumerate(sorted(p_values, key=p_values.__getitem__)):
        level = ERROR / (len(p_values) - place) if clear else level
        clear = clear and p_values[index] < level
        values = differences[index]
        reach = float(-stdtrit(len(values) - 1, level / 2)) * _standard_error(values)
        found[index] = (float(values.mean()) - reach, float(values.mean()) + reach)
    return found


def _p_value(values: np.ndarray) -> float:
    """Two-sided, of Student's t test that the mean is 0."""
    if np.ptp(values) == 0.0:  # as two lines without randomness: no other seed would change anything
        return float(values[0] == 0.0)
    return float(2 * stdtr(len(values) - 1, -abs(values.mean()) / _standard_error(values)))


def _standard_error(values: np.ndarray) -> float:
    """Of the mean."""
    return float(values.std(ddof=1)) / len(values) ** 0.5


def _cell(values: pd.Series, link: str, best: float) -> str:
    if values.isna().all():
        return "–"
    each = ", ".join(f"seed {seed}: {100 * value:.1f}" for seed, value in values.items())
    mean = f"{100 * values.mean():.1f}"
    mean = f"<b>{mean}</b>" if np.isclose(values.mean(), best) else mean
    spread = f"&nbsp;±&nbsp;{100 * values.std():.1f}" if values.nunique() > 1 else ""
    return f'<a href="{html.escape(link)}" title="{each}">{mean}</a>{spread}'


def _best(score: str) -> str:
    return "max" if sign_of(score) > 0 else "min"
