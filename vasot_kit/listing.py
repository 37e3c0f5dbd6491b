"""The tables that ``vasot data`` and ``vasot methods`` print, as text for a terminal or as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from vasot_kit.datasets.registry import DATASETS, Entry, data_root, find_entry, load_dataset
from vasot_kit.methods import METHODS

WIDTH = 120  # columns of a terminal that every line fits into
JSON_FACTS = ("name", "title", "videos", "frames", "n_actions", "activities", "dim", "licence", "command")
SCRIPTS = "python -m data_scripts."  # every command begins so; the table says it once, in its header


def list_datasets(as_json: bool) -> str:
    """All registered data sets, whether each is on this machine, and the command that brings it."""
    here = {name: entry.present(data_root()) for name, entry in DATASETS.items()}
    if as_json:
        rows = [{fact: getattr(entry, fact) for fact in JSON_FACTS} for entry in DATASETS.values()]
        return json.dumps([{**row, "here": here[row["name"]]} for row in rows], indent=1)
    table = _table([_dataset_row(entry, here[name]) for name, entry in DATASETS.items()])
    return "\n".join(
        [
            table,
            "",
            "Where every activity is a data set of its own, and its K (NAME/all: one training on all):",
            *_activities(),
        ]
    )


def describe_dataset(name: str, as_json: bool) -> str:
    """Load one data set, which checks it, and say what it holds.

    Raises:
        InputError: an unknown data set or activity.
        DataError: the data set is absent or damaged.
    """
    dataset = load_dataset(name)
    lengths = [len(video) for video in dataset.videos]
    facts = {
        "title": find_entry(name)[0].title,
        "name": dataset.name,
        "videos": len(lengths),
        "frames": dataset.n_frames,
        "lengths": f"{min(lengths)} to {max(lengths)}",
        "features": dataset.feature_dim,
        "n_actions": dataset.n_actions,
        "classes": ", ".join(dataset.classes),
        "checksum": dataset.checksum(),
    }
    return json.dumps(facts, indent=1) if as_json else "\n".join(f"{key:9} {value}" for key, value in facts.items())


def list_methods(as_json: bool) -> str:
    """All methods, what each is made for, whether it is trained on pairs of videos, and a line about it."""
    rows = [
        {
            "name": name,
            "tasks": list(method.tasks),
            "paired": method.paired,
            "about": (method.__doc__ or "").strip().splitlines()[0],
        }
        for name, method in METHODS.items()
    ]
    return json.dumps(rows, indent=1) if as_json else _table(rows)


def _dataset_row(entry: Entry, here: bool) -> dict[str, Any]:
    k = sorted(entry.activities.values())
    return {
        "name": entry.name + ("/..." if k else ""),
        "here": here,
        "videos": entry.videos,
        "frames": entry.frames,
        "K": f"{k[0]} to {k[-1]}" if k and k[0] < k[-1] else k[0] if k else entry.n_actions,
        "of": "pixels" if entry.dim is None else f"{entry.dim}-d",
        "licence": entry.licence,
        SCRIPTS: entry.command.removeprefix(SCRIPTS) or "built in",
    }


def _activities() -> list[str]:
    lines = []
    for name, entry in DATASETS.items():
        if entry.activities:
            listed = ", ".join(f"{activity} {k}" for activity, k in entry.activities.items())
            lines.append(textwrap.fill(f"{name}/: {listed}", WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    return lines


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of the same keys as aligned columns below a header."""
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str("" if value is None else value)
