"""The leaderboard: what the kit measured, data set by data set, and what was published, in columns of their own."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from vasot_kit.methods import METHODS
from vasot_kit.tables.comparison import PUBLISHED
from vasot_kit.tables.scores import titles_of

PAPER = "Ali et al., arXiv 2503.16832"
CLOT, HVQ = "CLOT, arXiv 2507.03539, second-hand", "HVQ, arXiv 2412.17640, second-hand"
# In percent: figures of other papers than the one that PUBLISHED holds, as they were cited to us (SPEC section 11).
CITED: dict[str, dict[str, tuple[str, dict[str, float]]]] = {
    "Breakfast": {"clot": (CLOT, {"mof": 60.1, "f1": 40.1}), "hvq": (HVQ, {"mof": 54.4, "f1": 39.7})},
    "YouTube Instructions": {"clot": (CLOT, {"mof": 54.4})},
    "50 Salads Eval": {"clot": (CLOT, {"f1": 63.2, "miou": 38.8})},
    "Desktop Assembly": {"clot": (CLOT, {"f1": 72.6})},
}
BOARDS = {
    "Segmentation": titles_of("mof", "f1", "miou"),
    "Alignment": titles_of("acc_0.1", "ap_5", "transfer", "transfer_dtw"),
}
STEPS = {"step_f1": "step F1", "step_iou": "step IoU"}


def measured_boards(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """HTML table by task: 100 times the mean over seeds, a column for each data set and score, lines in order.

    The order is that of the mean over data sets of the first score, methods first and below them what learns nothing.

    Args:
        rows: of ``results/methods.csv``.
    """
    frame = pd.DataFrame(rows)
    learns = frame.groupby("line")["method"].first().isin([name for name, method in METHODS.items() if method.learns])
    boards = {}
    for task, titles in BOARDS.items():
        some = frame[frame[list(titles)].notna().any(axis=1)]
        if len(some):
            boards[task] = _board(some, titles, {str(line) for line in learns.index[learns]})
    return boards


def steps_board(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same for key steps, from ``results/key_steps.csv``: a line for each way to them."""
    frame = pd.DataFrame(rows).fillna({"steps": ""})
    frame["line"] = [f"{name} {how}".strip() for name, how in zip(frame["embeddings"], frame["steps"], strict=True)]
    learns = frame["embeddings"].isin(METHODS)
    return _board(frame, STEPS, set(frame.loc[learns, "line"]))


def published_board(task: str) -> str:
    """HTML table of the published figures of a task, in percent, with the source of every line."""
    figures: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for data, table in PUBLISHED.items():
        for method, scores in table.items():
            figures.setdefault((method, PAPER), {}).update({(data, score): v for score, v in scores.items()})
    for data, cited in CITED.items():
        for method, (source, scores) in cited.items():
            figures.setdefault((method, source), {}).update({(data, score): v for score, v in scores.items()})
    titles = BOARDS[task]
    columns = [key for key in dict.fromkeys(key for row in figures.values() for key in row) if key[1] in titles]
    head = "".join(f"<th>{html.escape(data)}<br>{html.escape(titles[score])}</th>" for data, score in columns)
    lines = [f"<tr><th>published</th><th>source</th>{head}</tr>"]
    for (method, source), row in figures.items():
        cells = "".join(f"<td>{row[column]:.1f}</td>" if column in row else "<td>–</td>" for column in columns)
        if any(column in row for column in columns):
            lines.append(f"<tr><th>{html.escape(method)}</th><td>{html.escape(source)}</td>{cells}</tr>")
    return f'<table class="results">{"".join(lines)}</table>'


def _board(frame: pd.DataFrame, titles: Mapping[str, str], learns: Collection[str]) -> str:
    scores = list(titles)
    groups = frame.groupby(["line", "dataset"], sort=False)[scores]
    mean, spread = (part.unstack("dataset") for part in (groups.mean(), groups.std()))
    datasets = list(dict.fromkeys(frame["dataset"]))
    seeds = frame.groupby("dataset", sort=False)["seed"].nunique()
    columns = [(score, data) for data in datasets for score in scores if mean[score, data].notna().any()]
    head = "".join(f"<th>{html.escape(data)}<br>{html.escape(titles[score])}</th>" for score, data in columns)
    order = mean[scores[0]].mean(axis=1).sort_values(ascending=False, na_position="last").index
    order = sorted(order, key=lambda line: line not in learns)
    best = {column: mean.loc[[line in learns for line in mean.index], column].max() for column in columns}
    lines = [f"<tr><th>measured, {' or '.join(map(str, sorted({*seeds})))} seeds</th>{head}</tr>"]
    for line in order:
        cells = [_cell(mean.loc[line, column], spread.loc[line, column], best[column]) for column in columns]
        name = html.escape(str(line).replace("_", " "))
        name = name if line in learns else f"<i>{name}</i>"
        lines.append(f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f'<table class="results">{"".join(lines)}</table>'


def _cell(mean: float, spread: float, best: float) -> str:
    if pd.isna(mean):
        return "–"
    text = f"{100 * mean:.1f}" + (f" <small>± {100 * spread:.1f}</small>" if spread > 0 else "")
    return f"<b>{text}</b>" if mean == best else text
