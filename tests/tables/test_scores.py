"""The notebooks' tables, and the sentences about them: every sign and every mean has a known answer."""

from __future__ import annotations

import pytest

from vasot_kit.tables.scores import (
    TASKS,
    ablation_verdicts,
    mean_and_spread,
    paired_differences,
    score_table,
    verdicts,
)
from vasot_lib.errors import InputError

RUN = [
    {"method": "vasot", "mof": 0.5, "f1": 0.25, "transfer": 0.5, "frame_error": 0.1},
    {"method": "kmeans", "mof": 0.25, "f1": 0.5, "miou": None},
    {"method": "dtw", "transfer": 0.25, "frame_error": 0.2},
]
# The reference is lucky in seed 1: unpaired, the variant would look no worse.
SEEDS = [
    {"line": "all", "seed": 0, "ap_5": 0.25, "tau": 0.5, "acc_0.1": 0.5, "progress": None},
    {"line": "all", "seed": 1, "ap_5": 0.75, "tau": 0.5, "acc_0.1": 0.5, "progress": None},
    {"line": "w/o", "seed": 1, "ap_5": 0.625, "tau": 0.75, "acc_0.1": 0.25, "progress": None},
    {"line": "w/o", "seed": 0, "ap_5": 0.125, "tau": 0.625, "acc_0.1": 0.75, "progress": None},
]


def test_score_table_leaves_out_methods_and_scores_of_other_tasks() -> None:
    table = score_table(RUN, TASKS["Segmentation"])
    assert list(table.index) == ["vasot", "kmeans"]
    assert list(table) == ["mof", "f1"]
    assert table.loc["kmeans", "f1"] == 0.5


def test_verdict_names_wins_and_losses() -> None:
    (sentence,) = verdicts(score_table(RUN, TASKS["Segmentation"]), "vasot")
    assert sentence == "**vasot** is ahead of *kmeans* in MoF but is **not** ahead of *kmeans* in F1."


def test_lower_frame_error_is_ahead_and_a_tie_is_not() -> None:
    table = score_table(RUN, TASKS["Matching"])
    assert verdicts(table, "vasot") == ["**vasot** is ahead of *dtw* in Label transfer, Frame error."]
    tie = score_table([RUN[0], {**RUN[0], "method": "twin"}], TASKS["Matching"])
    assert verdicts(tie, "vasot") == ["**vasot** is **not** ahead of *twin* in Label transfer, Frame error."]


def test_a_verdict_needs_one_line_of_the_method() -> None:
    table = score_table([*RUN, RUN[0]], TASKS["Segmentation"])
    with pytest.raises(InputError, match="the table has 2 lines 'vasot'; give one, such as the mean over seeds"):
        verdicts(table, "vasot")
    with pytest.raises(InputError, match="the method is 'zz' but the table is of vasot, kmeans, vasot; add it"):
        verdicts(table, "zz")
    with pytest.raises(InputError, match="the method is 'vasot' but the table is of nothing; add it"):
        verdicts(table.iloc[:0], "vasot")
    for rows in ([], [{"mof": 0.5}]):
        with pytest.raises(InputError, match=f"none of {len(rows)} rows has a 'method'; give rows as evaluate"):
            score_table(rows, TASKS["Segmentation"])


def test_rounding_is_no_difference() -> None:
    table = score_table([{"method": "a", "mof": 0.1 + 0.2}, {"method": "b", "mof": 0.3}], TASKS["Segmentation"])
    assert verdicts(table, "a") == ["**a** is **not** ahead of *b* in MoF."]
    rows = [{"line": line, "seed": 0, "mof": mof} for line, mof in (("all", 0.3), ("w/o", 0.1 + 0.2))]
    assert ablation_verdicts(paired_differences(rows, TASKS["Segmentation"])) == [
        "*w/o* – the same in the one seed: MoF."
    ]


def test_a_seed_that_the_reference_lacks_is_left_out() -> None:
    more = {**SEEDS[2], "seed": 2}
    differences = paired_differences([*SEEDS, more], TASKS["Alignment"])
    assert ablation_verdicts(differences) == ablation_verdicts(paired_differences(SEEDS, TASKS["Alignment"]))
    alone = paired_differences([*SEEDS[:2], more], TASKS["Alignment"])
    assert ablation_verdicts(alone) == ["*w/o* – no score in a seed of the reference."]


def test_one_seed_is_not_every_seed() -> None:
    differences = paired_differences([SEEDS[0], SEEDS[3]], {"ap_5": "AP@5"})
    assert ablation_verdicts(differences) == ["*w/o* – lower in the one seed: AP@5."]


def test_mean_and_spread_over_seeds() -> None:
    table = mean_and_spread([*SEEDS, {"line": "raw", "ap_5": 0.5}], "line", TASKS["Alignment"])
    # Standard deviation of (.25, .75) with n - 1 is .3536.
    assert table.loc["all", "AP@5"].split() == ["50.0", "±", "35.4"]
    assert table.loc["raw", "AP@5"] == "50.0"
    assert table.loc["raw", "Kendall's tau"] == "–"
    assert "Progress" not in table


def test_a_reference_without_rows_is_named() -> None:
    with pytest.raises(InputError, match="the reference is 'zz' but the rows are of all, w/o; add it"):
        paired_differences(SEEDS, TASKS["Alignment"], "zz")
    with pytest.raises(InputError, match="the rows are of nothing"):
        paired_differences([], TASKS["Alignment"])


def test_differences_are_paired_by_seed() -> None:
    differences = paired_differences(SEEDS, TASKS["Alignment"])
    assert differences["ap_5"].to_dict() == {("w/o", 1): -0.125, ("w/o", 0): -0.125}
    assert ablation_verdicts(differences) == [
        "*w/o* – lower in every seed: AP@5; **higher** in every seed: Kendall's tau; sign depends on the seed: Acc@0.1."
    ]
    differences["ap_5"], differences["tau"] = 0.0, float("nan")
    assert ablation_verdicts(differences[["ap_5", "tau"]]) == ["*w/o* – the same in every seed: AP@5."]
