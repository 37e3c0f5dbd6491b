"""The verdict on two films: near pairs speak for a match, unrelated films are not called one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.own_films import verdicts
from vasot_kit.film_matching.verdict import BY_MOTION, BY_MOTION_AND_POSE, Scale, closeness_of


def test_closeness_is_that_of_the_pairs_between_the_mean_and_the_nearest() -> None:
    distance = np.arange(100.0).reshape(10, 10)
    nearest, mean, far = (np.eye(1, 100, k).reshape(10, 10) for k in (5, 49, 99))
    assert closeness_of([distance], nearest) == pytest.approx(1, abs=0.01)
    assert closeness_of([distance], mean) == pytest.approx(0, abs=0.02)
    assert closeness_of([distance], far) < -0.9
    assert closeness_of([distance, distance[::-1, ::-1]], far) == pytest.approx(0, abs=0.2)  # two that disagree


@pytest.mark.parametrize("scale", [BY_MOTION, BY_MOTION_AND_POSE])
def test_the_kind_follows_from_the_closeness(scale: Scale) -> None:
    assert scale.kind(scale.match, True) == "match" and scale.kind(scale.match, False) == "part"
    assert scale.kind(scale.match - 0.01, True) == "unclear" and scale.kind(scale.none - 0.01, False) == "none"
    assert scale.certainty(scale.even) == 0.5
    assert scale.certainty(scale.none) < 0.05 and scale.certainty(scale.match) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("by_pose", [False, True])
def test_unrelated_films_are_not_called_a_match(by_pose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer pairs than in docs/own_recordings.md; seen there: none of 200, areas under the curve .96 and .998."""
    for name, count in (("GROUPS", 1), ("TAKES", 2), ("UNRELATED", 12)):
        monkeypatch.setattr(verdicts, name, count)
    rows, frames = verdicts.judged(7, by_pose)
    others = rows[rows.pair == "unrelated"]
    assert not others.verdict.isin(["match", "part"]).any() and len(others) == 12
    same = rows[rows.pair != "unrelated"].closeness
    assert (same.to_numpy()[:, None] > others.closeness.to_numpy()).mean() > 0.85
    found = verdicts.reliability(frames)
    assert found.right.iloc[0] < 0.3 and found.right.iloc[-1] > 0.8 and found.frames.sum() == pytest.approx(1)
