"""The leaderboard: means over seeds in the order of the first score, published figures apart from measured ones."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from vasot_kit.tables.leaderboard import CITED, measured_boards, published_board, steps_board

RESULTS = Path(__file__).parents[2] / "results"


def lines(table: str) -> dict[str, list[str]]:
    """First cell -> the others, as text without the spread."""
    cut = re.sub(r" <small>.*?</small>|</?[bi]>", "", table)
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", cut)]
    return {row[0]: row[1:] for row in rows}


def row(dataset: str, method: str, seed: int, **scores: float) -> dict[str, object]:
    empty = dict.fromkeys(("mof", "f1", "miou", "acc_0.1", "ap_5", "transfer", "transfer_dtw"))
    return {"dataset": dataset, "method": method, "line": method, "seed": seed, **empty, **scores}


def test_lines_are_ordered_by_the_mean_of_the_first_score_and_what_learns_nothing_stands_below() -> None:
    rows = [row("toy", "asot", 0, mof=0.5, f1=0.7), row("toy", "asot", 1, mof=0.7, f1=0.5)]
    rows += [row("toy", "vasot", 0, mof=0.8, f1=0.4), row("toy", "kmeans", 0, mof=0.9, f1=0.9)]
    rows += [row("hapt", "vasot", 0, mof=0.2), row("toy", "vaot", 0, ap_5=0.5)]
    boards = measured_boards(rows)
    found = lines(boards["Segmentation"])
    assert list(found)[1:] == ["asot", "vasot", "kmeans"]  # .6, then the mean of .8 and .2
    assert found["asot"] == ["60.0", "60.0", "–"] and found["vasot"] == ["80.0", "40.0", "20.0"]
    assert "<b>80.0</b>" in boards["Segmentation"] and "<b>90.0</b>" not in boards["Segmentation"]
    assert "60.0 <small>± 14.1</small>" in boards["Segmentation"] and "<i>kmeans</i>" in boards["Segmentation"]
    assert lines(boards["Alignment"])["vaot"] == ["50.0"]


def test_the_board_of_the_stored_results_has_their_means() -> None:
    stored = pd.read_csv(RESULTS / "methods.csv")
    found = lines(measured_boards(stored.to_dict("records"))["Segmentation"])
    for method in ("vasot", "asot", "clot", "peot", "equal_split"):
        mean = stored[(stored["line"] == method) & (stored["dataset"] == "toy")]["mof"].mean()
        assert found[method.replace("_", " ")][0] == f"{100 * mean:.1f}"
    steps = lines(steps_board(pd.read_csv(RESULTS / "key_steps.csv").to_dict("records")))
    assert {"vasot segmentation", "rgwot clustering", "raw cut", "equal split"} <= steps.keys()


def test_published_figures_have_sources_and_stand_in_a_table_of_their_own() -> None:
    table = published_board("Segmentation")
    found = lines(table)
    assert found["vasot"][0] == "Ali et al., arXiv 2503.16832" and "57.5" in found["vasot"]
    assert found["clot"][0].endswith("second-hand") and "63.2" in found["clot"]
    assert "measured" not in table and "IKEA" not in table and "IKEA ASM" in published_board("Alignment")
    assert all(1 < value < 100 for cited in CITED.values() for _, scores in cited.values() for value in scores.values())
