"""Tables of scores: numbers only from the rows."""

from __future__ import annotations

import re

import pandas as pd

from vasot_kit.tables.results import results_tables

ROWS = [
    {"dataset": "toy", "method": "equal_split", "seed": 0, "mof": 0.25, "f1": None, "miou": 0.1, "run": "r1"},
    {"dataset": "toy", "method": "equal_split", "seed": 0, "mof": 0.25, "f1": None, "miou": 0.1, "run": "r2"},
    {"dataset": "toy", "method": "asot", "seed": 0, "mof": 0.5, "f1": 0.25, "miou": 0.25, "run": "r1"},
    {"dataset": "toy", "method": "asot", "seed": 1, "mof": 0.75, "f1": 0.25, "miou": 0.25, "run": "r2"},
    {"dataset": "mocap6", "method": "vaot", "seed": 0, "acc_0.1": 0.5, "tau": 0.125, "run": "r1"},
]  # fmt: skip
for row in ROWS:
    row["notebook"] = "40_train"


def table(html: str) -> pd.DataFrame:
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S) for line in re.findall(r"<tr.*?</tr>", html, re.S)]
    return pd.DataFrame(cells[1:], columns=cells[0])


def test_table_is_mean_and_spread_over_seeds_best_first() -> None:
    shown = table(results_tables(ROWS)["Segmentation"]["toy"])
    assert list(shown["method"]) == ["asot", "equal_split"]
    assert list(shown["seeds"]) == ["2", "1"]  # the baseline that two runs scored alike counts once
    # Mean .625; standard deviation of (.5, .75) with n - 1 is .1768.
    assert list(shown["MoF"]) == ["<b>0.625 <small>± 0.177</small></b>", "0.250"]
    assert list(shown["F1"]) == ["<b>0.250 <small>± 0.000</small></b>", "–"]


def test_tasks_and_data_sets_are_kept_apart() -> None:
    tables = results_tables(ROWS)
    assert {task: list(found) for task, found in tables.items()} == {"Segmentation": ["toy"], "Alignment": ["mocap6"]}
    assert list(table(tables["Alignment"]["mocap6"])) == ["method", "notebook", "seeds", "Acc@0.1", "Kendall's tau"]


def test_variants_are_not_averaged_together() -> None:
    rows = [{**ROWS[2], "variant": variant, "mof": mof} for variant, mof in (("all", 0.5), ("w/o <prior>", 0.25))]
    shown = table(results_tables(rows)["Segmentation"]["toy"])
    assert list(shown["variant"]) == ["all", "w/o &lt;prior&gt;"]
    assert list(shown["seeds"]) == ["1", "1"]


def test_two_scores_with_one_seed_are_no_spread_over_seeds() -> None:
    """Stored rows of a baseline that depends on the preset do not name it; the other lines stay as they are."""
    rows = [
        *ROWS[:4],
        *({**ROWS[0], "method": "asot_raw", "mof": mof, "run": run} for mof, run in ((0.4, "r1"), (0.3, "r2"))),
    ]
    shown = table(results_tables(rows)["Segmentation"]["toy"])
    assert list(zip(shown["method"], shown["run"], shown["seeds"], strict=True)) == [
        ("asot", "", "2"), ("asot_raw", "r1", "1"), ("asot_raw", "r2", "1"), ("equal_split", "", "1")
    ]  # fmt: skip
    assert list(shown["MoF"])[1:3] == ["0.400", "0.300"]


def test_variants_of_a_method_are_left_to_their_own_page() -> None:
    lines = [{**ROWS[2], "line": line, "metrics": f"{line}/metrics.json"} for line in ("asot", "r = 0.02")]
    shown = table(results_tables(lines)["Segmentation"]["toy"])
    assert list(shown["method"]) == ["asot"] and "metrics" not in shown and "line" not in shown


def test_a_line_leads_to_the_page_of_its_first_run() -> None:
    shown = table(results_tables(ROWS, {"r1": "runs/1.html"})["Segmentation"]["toy"])
    assert list(shown["notebook"]) == ['<a href="runs/1.html">40_train</a>', '<a href="runs/1.html">40_train</a>']
    assert list(table(results_tables(ROWS)["Segmentation"]["toy"])["notebook"]) == ["40_train", "40_train"]
