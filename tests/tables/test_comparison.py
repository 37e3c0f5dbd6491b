"""Tables of methods side by side: links, intervals, ranks and sentences, each with a known answer."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vasot_kit.tables.comparison import (
    PUBLISHED,
    claims,
    differences_between,
    interval_table,
    intervals,
    linked_table,
    published_table,
    ranks,
)
from vasot_kit.tables.scores import TASKS, paired_differences
from vasot_lib.errors import InputError

TITLES = {"mof": "MoF", "jsd": "JSD", "f1": "F1"}
SEEDS = range(5)


def row(line: str, seed: int, mof: float | None, dataset: str = "toy", **others: float) -> dict[str, object]:
    metrics = f"{dataset}-{line}-{seed}/metrics.json"
    return {"dataset": dataset, "line": line, "seed": seed, "mof": mof, "metrics": metrics, "method": line, **others}


# good is .1 above fair in every seed although the seeds differ by more; odd is above fair by luck alone.
ROWS = [
    row(line, seed, 0.5 + 0.05 * seed + shift(seed), seconds=2.0)
    for line, shift in (
        ("good", lambda seed: 0.1 + 0.001 * seed),
        ("fair", lambda seed: 0.0),
        ("odd", lambda seed: 0.2 if seed == 0 else -0.04),
    )
    for seed in SEEDS
]


def test_an_interval_holds_the_mean_and_excludes_0_only_where_the_sign_is_clear() -> None:
    table = intervals(paired_differences(ROWS, TITLES, "fair"))
    good, odd = table.loc["good", "mof"], table.loc["odd", "mof"]
    assert good["mean"] == pytest.approx(0.102) and 0.1 <= good["low"] < good["mean"] < good["high"] <= 0.104
    assert odd["low"] < 0 < odd["high"]
    assert interval_table(table, TITLES).loc["good", "MoF"].endswith("*")
    assert not interval_table(table, TITLES).loc["odd", "MoF"].endswith("*")


def test_five_seeds_without_a_difference_rarely_make_a_star() -> None:
    rng = np.random.default_rng(0)
    rows = [row(f"line{trial}", seed, rng.normal()) for trial in range(200) for seed in SEEDS]
    table = intervals(paired_differences([*rows, *(row("zero", seed, 0.0) for seed in SEEDS)], TITLES, "zero"))["mof"]
    assert 0.03 < ((table["low"] > 0) | (table["high"] < 0)).mean() < 0.12  # plain percentiles: .16


def test_the_bootstrap_interval_covers_a_known_mean_nearly_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for trial in range(100):
        for seed, value in enumerate(rng.normal(0.1, 0.05, 20)):
            rows += [row(f"line{trial}", seed, value)]
    rows += [row("zero", seed, 0.0) for seed in range(20)]
    table = intervals(paired_differences(rows, TITLES, "zero"))
    covered = ((table["mof", "low"] <= 0.1) & (table["mof", "high"] >= 0.1)).mean()
    assert 0.85 <= covered <= 0.99


def test_equal_differences_have_an_interval_of_no_width_and_one_seed_has_none() -> None:
    table = intervals(
        paired_differences([row("a", s, 0.5) for s in SEEDS] + [row("b", s, 0.25) for s in SEEDS], TITLES, "b")
    )
    assert list(table.loc["a", "mof"]) == [0.25, 0.25, 0.25]
    single = intervals(paired_differences([row("a", 0, 0.5), row("b", 0, 0.25)], TITLES, "b"))
    assert single.loc["a", ("mof", "mean")] == 0.25 and np.isnan(single.loc["a", ("mof", "low")])
    assert interval_table(single, TITLES).loc["a", "MoF"] == "+25.0"


def test_ranks_are_shared_by_what_does_not_separate() -> None:
    table = ranks(ROWS, TITLES)
    assert dict(table["MoF"]) == {"good": 1, "fair": 2, "odd": 1}  # odd is not separated from either


def test_where_less_is_better_the_smaller_one_is_ahead() -> None:
    rows = [
        row(line, seed, None, frame_error=value + 0.01 * seed)
        for line, value in (("a", 0.1), ("b", 0.3))
        for seed in SEEDS
    ]
    titles = TASKS["Matching"]
    assert dict(ranks(rows, titles)["Frame error"]) == {"a": 1, "b": 2}
    (sentence,) = claims(intervals(paired_differences(rows, titles, "a")), "a")
    assert sentence == "**a** is ahead of *b* in Frame error."
    assert "<b>12.0</b>" in linked_table(rows, titles, "runs")


def test_claims_say_ahead_behind_and_not_separated() -> None:
    good, odd = claims(intervals(paired_differences(ROWS, TITLES, "fair")), "fair")
    assert good == "**fair** is **behind** *good* in MoF."
    assert odd == "**fair** is not separated from *odd* in MoF."


def test_every_cell_of_the_table_leads_to_metrics_files() -> None:
    page = linked_table([*ROWS, row("time", 0, None)], TITLES, "runs")
    assert "time" not in page and "<th>F1</th>" not in page
    lines = re.findall(r"<tr><th>(\w+)</th>(.*?)</tr>", page)
    assert [name for name, _ in lines] == ["good", "fair", "odd"]
    name, cells = lines[0]
    assert re.findall(r'href="([^"]*)"', cells) == [f"runs/toy-good-{s}/metrics.json" for s in (0, *SEEDS)]
    assert "<b>70.2</b>" in cells and "&nbsp;±&nbsp;8.1" in cells and "seed 0: 60.0" in cells
    assert "<td>2.0</td>" in cells


def test_names_in_a_table_cannot_become_markup() -> None:
    assert "<b>x" not in linked_table([row("<b>x", 0, 0.5)], TITLES, "runs")


def test_a_difference_between_two_methods_on_every_data_set_that_has_both() -> None:
    rows = [*ROWS, *(row("good", seed, 0.5, "hapt") for seed in SEEDS)]
    table = differences_between(rows, TITLES, "good", "fair")
    assert list(table.index) == ["toy"] and table.loc["toy", ("mof", "mean")] == pytest.approx(0.102)
    with pytest.raises(InputError, match="no data set has both 'good' and 'best'"):
        differences_between(rows, TITLES, "good", "best")


def test_published_figures_stay_apart_and_are_labelled() -> None:
    table = published_table(TASKS["Segmentation"])
    assert all(data.startswith("PUBLISHED, ") for data, _ in table.columns)
    assert table.loc["vasot", ("PUBLISHED, Desktop Assembly", "F1")] == "75.1"
    assert published_table(TASKS["Alignment"]).loc["vaot", ("PUBLISHED, IKEA ASM", "Acc@0.5")] == "36.4"
    assert all(value > 1 for data in PUBLISHED.values() for scores in data.values() for value in scores.values())


def test_a_table_of_scores_that_nobody_has_is_refused() -> None:
    with pytest.raises(InputError, match="no row has any of the scores edit"):
        linked_table(ROWS, {"edit": "Edit"}, "runs")
