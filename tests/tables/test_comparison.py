"""Tables of methods side by side: links, intervals, ranks and sentences, each with a known answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from vasot_kit.tables.comparison import (
    PUBLISHED,
    differences_between,
    interval_table,
    intervals,
    linked_table,
    published_table,
    ranks,
    recording_intervals,
    standings,
)
from vasot_kit.tables.scores import ALL_SCORES, TASKS, paired_differences, score_table, titles_of, verdicts
from vasot_lib.errors import InputError
from vasot_lib.evaluation import score_segmentation

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
    # Standard error .001 / sqrt(2); the clearer of two lines is tested at .025, where Student's t with 4 degrees of
    # freedom is 3.495.
    reach = 3.4954 * 0.001 / 2**0.5
    assert [good["low"], good["mean"], good["high"]] == pytest.approx([0.102 - reach, 0.102, 0.102 + reach], abs=1e-6)
    assert odd["low"] < 0 < odd["high"]
    assert interval_table(table, TITLES).loc["good", "MoF"].endswith("*")
    assert not interval_table(table, TITLES).loc["odd", "MoF"].endswith("*")


def single(values: Sequence[float]) -> pd.Series:
    """The interval of a table with one line, whose differences are given."""
    rows = [
        row(line, seed, value) for seed, value in enumerate(values) for line, value in (("a", value), ("zero", 0.0))
    ]
    return intervals(paired_differences(rows, TITLES, "zero")).loc["a", "mof"]


def test_five_seeds_without_a_difference_rarely_make_a_star() -> None:
    rng = np.random.default_rng(0)
    found = [single(rng.normal(size=len(SEEDS))) for _ in range(200)]
    assert 0.03 < np.mean([one["low"] > 0 or one["high"] < 0 for one in found]) < 0.12  # plain percentiles: .16


def test_an_interval_covers_a_known_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [single(rng.normal(0.1, 0.05, 20)) for _ in range(100)]
    assert 0.85 <= np.mean([one["low"] <= 0.1 <= one["high"] for one in found]) <= 0.99


def drawn(rng: np.random.Generator, gain: float) -> list[dict[str, object]]:
    """Six methods and five seeds with many independent scores.

    The luck of a seed is common to all methods; the first is better by ``gain`` standard deviations of their own luck.
    """
    luck = 2 * rng.normal(size=(1, 5, len(ALL_SCORES)))
    signs = np.array([score.sign for score in ALL_SCORES.values()])
    values = luck + rng.normal(size=(6, 5, len(ALL_SCORES)))
    values[0] += gain * signs
    return [
        {"line": f"line{k}", "seed": seed, **dict(zip(ALL_SCORES, values[k, seed], strict=True))}
        for k in range(6)
        for seed in SEEDS
    ]


def test_methods_that_do_not_differ_nearly_always_share_the_first_rank() -> None:
    rng = np.random.default_rng(0)
    first = [(ranks(drawn(rng, 0.0), titles_of(*ALL_SCORES)) == 1).all() for _ in range(20)]
    assert np.mean(first) >= 0.95


def test_a_table_without_a_difference_nearly_never_has_a_star() -> None:
    """A thousand scores of five lines, all compared with the same sixth."""
    values = np.random.default_rng(0).normal(size=(6, len(SEEDS), 1000))
    index = pd.MultiIndex.from_product([[f"line{k}" for k in range(5)], SEEDS], names=["line", "seed"])
    table = intervals(pd.DataFrame((values[1:] - values[0]).reshape(len(index), -1), index=index))
    low, high = (table.xs(part, axis=1, level=1) for part in ("low", "high"))
    sampling = 3 * np.sqrt(0.05 * 0.95 / 1000)  # three standard errors of a share of 5 %
    assert ((low > 0) | (high < 0)).any().mean() <= 0.05 + sampling


def test_a_clearly_better_method_is_still_first_alone() -> None:
    rng = np.random.default_rng(0)
    tables = [ranks(drawn(rng, 15.0), titles_of(*ALL_SCORES)) for _ in range(4)]
    assert all((table.loc["line0"] == 1).all() for table in tables)
    assert np.mean([(table.drop("line0") > 1).all() for table in tables]) >= 0.8


def test_an_interval_excludes_0_exactly_where_holm_rejects() -> None:
    """p values .01, .02 and .04 of three lines: all are below .05, but .02 is tested at .025 and .04 at .05."""
    spread = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / 2.5**0.5  # standard error 1 / sqrt(5)

    def lines(*p_values: float) -> list[bool]:
        means = [t.isf(p / 2, 4) / 5**0.5 for p in p_values]
        rows = [row(f"p{k}", s, mean + spread[s]) for k, mean in enumerate(means) for s in SEEDS]
        table = intervals(paired_differences([*rows, *(row("zero", s, 0.0) for s in SEEDS)], TITLES, "zero"))["mof"]
        return list(table["low"] > 0)

    assert lines(0.01, 0.02, 0.04) == [True, True, True]
    assert lines(0.02, 0.02, 0.04) == [False, False, False]  # .02 is above .05 / 3, and nothing after it counts
    assert lines(0.001, 0.03, 0.04) == [True, False, False]
    assert lines(0.04) == [True]


def test_equal_differences_have_an_interval_of_no_width_and_one_seed_has_none() -> None:
    table = intervals(
        paired_differences([row("a", s, 0.5) for s in SEEDS] + [row("b", s, 0.25) for s in SEEDS], TITLES, "b")
    )
    assert list(table.loc["a", "mof"]) == [0.25, 0.25, 0.25]
    one = intervals(paired_differences([row("a", 0, 0.5), row("b", 0, 0.25)], TITLES, "b"))
    assert one.loc["a", ("mof", "mean")] == 0.25 and np.isnan(one.loc["a", ("mof", "low")])
    assert interval_table(one, TITLES).loc["a", "MoF"] == "+25.0"


def test_a_rounding_difference_has_no_star_and_no_rank() -> None:
    rows = [*(row("a", s, 0.1 + 0.2) for s in SEEDS), *(row("b", s, 0.3) for s in SEEDS)]
    table = intervals(paired_differences(rows, TITLES, "b"))
    assert interval_table(table, TITLES).loc["a", "MoF"] == "+0.0 [+0.0, +0.0]"
    assert (
        intervals(pd.DataFrame({"mof": [1e-17] * 3}, table.index[:1].repeat(3)).rename_axis("line")).loc[
            "a", ("mof", "low")
        ]
        == 0
    )
    assert dict(ranks(rows, TITLES)["MoF"]) == {"a": 1, "b": 1}


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
    assert standings(intervals(paired_differences(rows, titles, "a"))).loc["b", "frame_error"] == 1
    assert standings(intervals(paired_differences(rows, titles, "b"))).loc["a", "frame_error"] == -1
    assert "<b>12.0</b>" in linked_table(rows, titles, "runs")


@pytest.mark.parametrize("score", ["jsd", "frame_error_p90"])
def test_a_shorter_distance_is_ahead_wherever_a_table_ranks(score: str) -> None:
    rows = [row(line, s, None, **{score: value + 0.01 * s}) for line, value in (("a", 0.1), ("b", 0.3)) for s in SEEDS]
    assert dict(ranks(rows, {score: "S"})["S"]) == {"a": 1, "b": 2}
    assert standings(intervals(paired_differences(rows, {score: "S"}, "a"))).loc["b", score] == 1
    assert "<b>12.0</b>" in linked_table(rows, {score: "S"}, "runs")
    assert verdicts(score_table(rows[::5], {score: "S"}), "a")[0].startswith("**a** is ahead of *b*")


def test_standings_say_ahead_behind_and_not_separated() -> None:
    found = standings(intervals(paired_differences(ROWS, TITLES, "fair")))
    assert dict(found["mof"]) == {"good": -1, "odd": 0} and ("f1" not in found or found["f1"].isna().all())
    assert standings(intervals(paired_differences(ROWS, TITLES, "good"))).loc["fair", "mof"] == 1


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
    assert published_table(TASKS["Alignment"]).loc["vaot", ("PUBLISHED, IKEA ASM", "Acc@0.5")] == "36.42"
    assert all(value > 1 for data in PUBLISHED.values() for scores in data.values() for value in scores.values())


def test_a_table_of_scores_that_nobody_has_is_refused() -> None:
    with pytest.raises(InputError, match="no row has any of the scores edit"):
        linked_table(ROWS, {"edit": "Edit"}, "runs")


def segmented(rng: np.random.Generator, truths: Sequence[np.ndarray], right: float) -> list[np.ndarray]:
    """Two actions, with this share of the frames right, a little more or less in every recording."""
    flipped = [rng.random(len(truth)) > right + rng.normal(0, 0.03) for truth in truths]
    return [np.where(flip, 1 - truth, truth) for flip, truth in zip(flipped, truths, strict=True)]


def test_an_interval_over_recordings_is_as_wide_as_their_differences_scatter() -> None:
    rng = np.random.default_rng(0)
    truths = [np.repeat([0, 1], 50) for _ in range(20)]  # of one length, so that MoF is the mean over recordings
    first, second = (segmented(rng, truths, right) for right in (0.9, 0.7))
    found = recording_intervals({"a": [first], "b": [second]}, truths, "b", draws=100).loc["a", "mof"]
    each = [
        (one == true).mean() - (other == true).mean() for one, other, true in zip(first, second, truths, strict=True)
    ]
    reach = 1.96 * np.std(each, ddof=1) / 20**0.5
    assert found["mean"] == pytest.approx(np.mean(each))
    assert found[["low", "high"]].to_numpy() == pytest.approx([np.mean(each) - reach, np.mean(each) + reach], abs=0.008)


def test_an_interval_over_recordings_lies_around_the_difference_on_all_of_them() -> None:
    rng = np.random.default_rng(1)
    truths = [np.repeat([0, 1], length) for length in (20, 50, 90, 30)]
    seeds = {line: [segmented(rng, truths, right) for _ in range(2)] for line, right in (("a", 0.9), ("b", 0.7))}
    found = recording_intervals(seeds, truths, "b", draws=20).loc["a"]
    on_all = {line: [score_segmentation(one, truths) for one in each] for line, each in seeds.items()}
    for score in ("mof", "f1", "miou"):
        means = {line: np.mean([one[score] for one in each]) for line, each in on_all.items()}
        assert found[score, "mean"] == pytest.approx(means["a"] - means["b"])
        assert found[score, "low"] <= found[score, "mean"] <= found[score, "high"]


def test_an_interval_over_recordings_does_not_take_a_person_twice() -> None:
    rng = np.random.default_rng(0)
    truths = [np.repeat([0, 1], 50) for _ in range(6)]
    first, second = segmented(rng, truths, 0.8), segmented(rng, truths, 0.7)
    alone = recording_intervals({"a": [first], "b": [second]}, truths, "b", draws=10)
    # Every recording a second time: with the person named, nothing is known that was not known before.
    twice = recording_intervals(
        {"a": [first * 2], "b": [second * 2]}, truths * 2, "b", groups=[*"abcdef"] * 2, draws=10
    )
    assert twice.to_numpy() == pytest.approx(alone.to_numpy())


def test_an_interval_over_recordings_is_of_recordings_and_methods_that_fit() -> None:
    truths = [np.array([0, 1])] * 2
    same = {"a": [truths], "b": [truths]}
    with pytest.raises(InputError, match="1 of them different, for 2 recordings; give one per recording"):
        recording_intervals(same, truths, "b", groups=["a", "a"])
    with pytest.raises(InputError, match="3 groups"):
        recording_intervals(same, truths, "b", groups=[*"abc"])
    with pytest.raises(InputError, match="unknown line 'c'"):
        recording_intervals(same, truths, "c")
    for wrong, lengths in (([], r"\[\]"), ([truths, truths[:1]], r"\[2, 1\]"), ([truths * 2], r"\[4\]")):
        with pytest.raises(InputError, match=f"a has predictions of {lengths} recordings by seed, not of 2"):
            recording_intervals({**same, "a": wrong}, truths, "b")
