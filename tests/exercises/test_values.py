"""Every exercise of a chapter has a check and the reverse, and a wrong value is answered in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

from tests.notebooks.wrong_answers import exercises
from vasot_kit.exercises import check
from vasot_kit.exercises.checking import CHECKS
from vasot_lib.transport import Far, Near

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_every_check_is_of_an_exercise_and_the_reverse() -> None:
    check("00.1", None)  # enters all checks
    asked = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = exercises(nbformat.read(path, as_version=4))
        names = [found[1] for cell in cells if (found := re.search(r'check\("([\d.]+)"', cell.source))]
        assert names == [f"{path.name[:2]}.{number}" for number in range(1, len(names) + 1)]
        asked += names
    assert asked == sorted(CHECKS)


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("00.1", "a word", "'a word' is no number"),
        ("00.1", float("nan"), "is no number"),
        ("00.1", True, "is no number"),
        ("00.2", {"sped": 0.0}, "did you mean 'speed'?"),
        ("00.2", 0.5, "0.5 is no dictionary of settings"),
        ("05.1", 24, "12 entries and 7 sums"),
        ("10.2", 0.01, "radius 0.01 of 32 frames"),
        ("05.1", 8.6, "8.6 is no whole number"),
        ("20.2", 1.5, "is no share"),
        ("45.3", [2.9, 4, 5], "2.9 is no whole number"),
        ("45.3", [0, 2, 7], "there is no line 0"),
        ("45.3", [2, 4, 5, 7], "there is no line 7"),
        ("45.3", 2, "2 is not a list of lines"),
        ("50.2", 1 / 128, "one more frame"),
        ("90.1", "001122", "'001122' is not a list of six numbers"),
        ("90.1", [0], "1 numbers for six frames"),
    ],
)
def test_values_of_a_wrong_kind_are_answered_in_one_line(name: str, answer: Any, words: str) -> None:
    said = check(name, answer)
    assert said.startswith("not yet: ") and words in said and "\n" not in said


KINDS: list[Callable[[Any], Any]] = [float, np.float32, np.array, torch.tensor]


class Explorer:
    """Stands for an explorer: gives the same numbers whatever the settings are."""

    def __init__(self, **found: Any) -> None:
        self.found = found

    def numbers(self, **settings: Any) -> dict[str, Any]:
        return self.found


ORDER, DEAR = Explorer(**{"argmax right": 0.7, "mean jump": 2.0}), Explorer(**{"frames dropped": 0, "corner": 0.3})
FULL = Explorer(**{"frames dropped": 0, "corner": 0.0})


@pytest.mark.parametrize(
    ("name", "answer", "things", "words"),
    [
        ("00.1", 10 / 36, (), "a share of all mass"),
        ("00.2", {"imbalance": 0.0, "speed": 0.0, "background": 0.0, "swaps": 0.5}, (), "in one order"),
        ("00.2", {"background": 0.0}, (), "unequal"),
        ("10.1", -1, (), "no factor of a charge is negative"),
        ("10.2", 3, (), "3 is no share of the length"),
        ("10.3", {"rho": 0.5}, (ORDER,), "its steps in order"),
        ("10.3", {"rho": 0.0, "alpha": 0.9}, (ORDER,), "do neighbours count too little, or looks"),
        ("10.3", (0.5, 0.04), (ORDER,), "no dictionary of settings"),
        ("20.1", -0.12, (), "for a mass of 1"),
        ("20.3", (0.7, 0.01), (FULL,), "too little room"),
        ("20.3", (2.0, 0.3), (DEAR,), "make the dummy cheaper"),
        ("20.3", [0.7], (DEAR,), "a pair of zeta and the dummy mass"),
        ("20.3", 0.7, (DEAR,), "a pair of zeta and the dummy mass"),
        ("30.1", 1, (), "fewer columns than rows"),
    ],
)
def test_a_wrong_value_is_told_what_is_wrong_with_it(name: str, answer: Any, things: Any, words: str) -> None:
    """Each of these was answered with something that did not help, or that is not so."""
    assert words in check(name, answer, *things)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_numpy_and_torch_are_numbers(kind: Callable[[Any], Any]) -> None:
    good = Explorer(**{"frames dropped": 30, "corner": 0.1, "recall": 0.9, "precision": 0.7})
    answers: dict[str, list[float]] = {"20.3": [1.0, 0.3], "45.3": [2, 4, 5], "90.1": [0, 0, 1, 1, 2, 2]}
    for name, answer in {"00.1": 0.8333, "05.1": 9, "10.2": 0.1, "20.1": -0.0012, "20.2": 0.2, "30.2": 2}.items():
        assert check(name, kind(answer)) == "right"
    for name, several in answers.items():
        given = [kind(value) for value in several] if kind in (float, np.float32) else kind(several)
        assert check(name, given, *[good] * (name == "20.3")) == "right"


@pytest.mark.parametrize("kind", KINDS)
def test_settings_and_values_of_a_ladder_may_be_of_any_kind(kind: Callable[[Any], Any]) -> None:
    cost = torch.rand(1, 6, 5, generator=torch.Generator().manual_seed(0))
    made = {name: kind(0.0) for name in ("imbalance", "speed", "background")}
    assert check("00.2", made) == "right"
    said = check("30.3", kind(0.01), cost, (Near(0.2), Far(0.2)), {"alpha": 0.3, "epsilon": 0.07})
    assert "the frame with the most mass receives" in said


@pytest.mark.parametrize(
    ("name", "answer"),
    [("45.2", 1.10), ("50.2", 0.0078), ("55.2", 0.51), ("60.1", 0.06), ("00.1", 0.83), ("30.1", 2.0), ("70.2", 12)],
)
def test_an_answer_with_as_many_digits_as_the_solution_has_is_right(name: str, answer: float) -> None:
    assert check(name, answer) == "right"
