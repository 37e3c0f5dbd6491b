"""The scores of many runs as tables of HTML: mean and spread over seeds."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vasot_kit.runs.records import REQUIRED
from vasot_kit.tables.scores import DIGITS, SCORES, sign_of
from vasot_lib.errors import DataError

LEGEND = {
    "Segmentation": "One matching of found actions to true classes over all videos (activity level). MoF: share of "
    "frames that are right. F1: segments that are hit. mIoU: overlap per class.",
    "Alignment": "Acc@f: phase classification with labels for the share f of the videos. Progress: R² of how far a "
    "phase has come. Kendall's tau: order of the nearest neighbours. AP@k: share of the k nearest frames of other "
    "videos in the same phase.",
}


def results_tables(
    rows: Sequence[Mapping[str, Any]], addresses: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """HTML tables by task and data set: mean and standard deviation over seeds, best first, the best in bold.

    Seeds are averaged over rows that agree in all columns of text, such as method and preset. Equal rows of several
    runs, such as a baseline that each of them scored, count once. Where rows of one seed are not equal, every run has a
    line of its own: their difference is no spread over seeds. Variants of a method, whose ``line`` is not its name, are
    shown only on the page of the notebook that compares them.

    Args:
        rows: as :func:`vasot_kit.runs.records.collect` gives them, with the name of their run in ``run``.
        addresses: of the page of each run, by its name; the name of the notebook then leads to the first run of a line.
    """
    tables: dict[str, dict[str, str]] = {}
    scores = {score for titles in SCORES.values() for score in titles}
    for row in rows:
        for score in scores & row.keys():
            if not isinstance(row[score], int | float | None):
                raise DataError(f"{score} of {row['method']} is {row[score]!r}; remove the run and do it again")
        for name in REQUIRED:
            if isinstance(row[name], list | dict):
                raise DataError(f"{name} of a run is {row[name]!r}; remove the run and do it again")
    rows = [row for row in rows if row.get("line", row["method"]) == row["method"]]
    for task, titles in SCORES.items():
        scored = [row for row in rows if any(row.get(score) is not None for score in titles)]
        for dataset in dict.fromkeys(str(row["dataset"]) for row in scored):
            some = [row for row in scored if str(row["dataset"]) == dataset]
            tables.setdefault(task, {})[dataset] = _table(some, titles, addresses or {})
    return tables


def _table(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], addresses: Mapping[str, str]) -> str:
    frame = pd.DataFrame(rows).drop(columns=["dataset", "line", "metrics"], errors="ignore")
    runs = frame.pop("run") if "run" in frame else frame["notebook"]
    scores = [score for score in titles if score in frame and frame[score].notna().any()]
    texts = [c for c in frame if c not in titles and frame[c].map(lambda v: isinstance(v, str)).any()]
    keys = ["method", *(c for c in texts if c not in ("method", "notebook")), "notebook"]
    frame[keys] = frame[keys].fillna("").map(str)
    frame[scores] = frame[scores].astype(float).round(DIGITS)
    rows_of_seeds = frame[[*keys, "seed", *scores]].drop_duplicates()
    unlike = rows_of_seeds[rows_of_seeds.duplicated([*keys, "seed"])]
    if len(unlike):
        several = pd.MultiIndex.from_frame(frame[keys]).isin(pd.MultiIndex.from_frame(unlike[keys]))
        frame["run"] = runs.where(several, "")
        keys.insert(-1, "run")
    groups = frame[[*keys, "seed", *scores]].drop_duplicates().groupby(keys, sort=False)
    mean, spread, seeds = groups[scores].mean(), groups[scores].std(), groups["seed"].nunique()
    cells = pd.DataFrame(index=mean.index)
    for score in scores:
        signed = sign_of(score) * mean[score]
        best = mean[score][signed == signed.max()]
        cells[titles[score]] = [_cell(m, s, m in best.values) for m, s in zip(mean[score], spread[score], strict=True)]
    cells.insert(0, "seeds", seeds)
    cells["first"] = runs.groupby([frame[key] for key in keys], sort=False).first()
    cells["order"] = -sign_of(scores[0]) * mean[scores[0]]
    table = cells.reset_index().sort_values(["notebook", "order"]).drop(columns="order")
    table[keys] = table[keys].map(lambda value: html.escape(str(value)))
    to = table.pop("first").map(addresses)
    links = [
        f'<a href="{html.escape(str(address))}">{name}</a>' for address, name in zip(to, table["notebook"], strict=True)
    ]
    table["notebook"] = table["notebook"].where(to.isna(), links)
    table.columns = [html.escape(str(name), quote=False) for name in table.columns]
    return table.to_html(index=False, escape=False, border=0, classes="results")


def _cell(mean: float, spread: float, best: bool) -> str:
    if pd.isna(mean):
        return "–"
    text = f"{mean:.3f}" + ("" if pd.isna(spread) else f" <small>± {spread:.3f}</small>")
    return f"<b>{text}</b>" if best else text
