"""Explorer of the length of an action: its numbers are those of the preset, and more steps are shorter."""

from __future__ import annotations

import pytest

from vasot_kit.experiments.auto import action_length
from vasot_kit.explorers import explore_length
from vasot_lib.data import toy


def test_numbers_are_those_of_the_preset_and_follow_the_steps() -> None:
    explorer = explore_length(n_videos=4)
    found = explorer.numbers
    assert found["found"] == action_length(toy(4, 8)).share
    assert found["by the labels"] * found["ratio"] == pytest.approx(found["found"])
    assert found["radius"] == pytest.approx(0.3 * found["found"])
    explorer.controls["steps"].value = 16
    assert explorer.numbers["by the labels"] < 0.7 * found["by the labels"]
    assert explorer.numbers["found"] < 0.8 * found["found"]
    labels = [text.get_text() for text in explorer.static().legends[0].get_texts()]
    assert f"length found, {explorer.numbers['found']:.3f}" in labels
