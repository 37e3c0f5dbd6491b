"""Plan reports on plans with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from vasot_kit.experiments.plan_report import plan_report
from vasot_lib.errors import InputError

LABELS = np.array([0, 0, 1, 2])


def test_hard_uniform_and_empty_rows() -> None:
    half = np.eye(4)
    half[3] = 0.0  # given to the dummy: neither right nor wrong
    report = plan_report({"hard": np.eye(4), "uniform": np.full((4, 4), 0.25), "half": half}, LABELS, LABELS)
    assert report.loc["hard"].tolist() == pytest.approx([1, 1, 1, 1, 0.75])
    # Half of the frames share their label with half of Y, the others with a quarter; argmax finds frame 0.
    assert report.loc["uniform"].tolist() == pytest.approx([1, 4, 0.375, 0.5, 0])
    assert report.loc["half", ["kept", "effective matches", "right step"]].tolist() == pytest.approx([0.75, 1, 1])


def test_background_is_not_asked_and_absent_steps_are_wrong() -> None:
    report = plan_report({"hard": np.eye(4)}, LABELS, [0, 0, 3, 2], background=2)
    assert report.loc["hard", "right step"] == pytest.approx(2 / 3)
    assert list(plan_report({"hard": np.eye(4)})) == ["kept", "effective matches", "from uniform"]


def test_the_scale_of_a_row_does_not_count() -> None:
    rows = np.random.default_rng(0).random((5, 6))
    scale = np.array([1, 0.5, 0.1, 0.9, 0.3])[:, None]
    full, part = plan_report({"full": rows, "part": rows * scale}).drop(columns="kept").to_numpy()
    assert full == pytest.approx(part)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (({},), "at least one"),
        (({"a": np.eye(3), "b": np.eye(4)},), "'a': \\(3, 3\\)"),
        (({"a": np.eye(3)}, [0, 1, 2]), "one side only"),
        (({"a": np.eye(3)}, [0, 1], [0, 1, 2]), "labels_x have shape \\(2,\\)"),
    ],
)
def test_reports_that_cannot_be(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_report(*arguments)
