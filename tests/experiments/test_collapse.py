"""A training whose embeddings are nearly equal is said to have collapsed, and no other."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest

from vasot_kit.experiments.collapse import warn_of_collapse

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*.csv"))


def test_a_collapse_is_named_with_a_remedy() -> None:
    collapsed = {"mean_cosine": 0.9993, "effective_rank": 1.29}
    with pytest.warns(UserWarning, match=r"mean cosine 1.00, effective rank 1.3\), .*; use another --seed$"):
        assert warn_of_collapse([{"mean_cosine": 0.1, "effective_rank": 9.0}, collapsed])


def test_nothing_is_said_of_a_training_that_recovered_or_was_none() -> None:
    collapsed, sound = {"mean_cosine": 0.9993, "effective_rank": 1.29}, {"mean_cosine": 0.97, "effective_rank": 3.4}
    with warnings.catch_warnings(action="error"):
        for history in ([], [{"loss": 1.0}], [collapsed, sound]):
            assert not warn_of_collapse(history)


def test_of_all_stored_trainings_one_collapsed_besides_those_of_hvq_and_smq() -> None:
    tables = [pd.read_csv(file) for file in RESULTS]
    rows = pd.concat([table for table in tables if {"mean_cosine", "effective_rank"} <= set(table)])
    measured = rows.dropna(subset=["mean_cosine", "effective_rank"])
    with warnings.catch_warnings(action="ignore"):
        found = [row for row in measured.to_dict("records") if warn_of_collapse([row])]
    others = [row for row in found if row["method"] not in ("hvq", "smq")]
    assert len(measured) > 50 and [(row["dataset"], row["method"], row["seed"]) for row in others] == [
        ("toy_rendered", "vaot", 1)
    ]
    assert others[0]["ap_5"] < 0.4
    assert sum(row["line"] == "hvq_paper" for row in found) == 33  # of 36, as docs/results.md says
