"""Explorer of the length of an action: its stored numbers are those of the preset, and more steps are shorter."""

from __future__ import annotations

import numpy as np
import pytest

from vasot_kit.explorers import explore_length
from vasot_kit.explorers.length import MEASURED, PLACES, measured
from vasot_lib.errors import InputError


@pytest.mark.parametrize("values", [dict(steps=8, repeats=0.0, noise=0.2), dict(steps=14, repeats=0.75, noise=1.0)])
def test_stored_lengths_are_those_that_are_found(values: dict[str, float]) -> None:
    length, labelled = measured(**values)
    numbers = explore_length().numbers(**values)
    assert numbers["found"] == pytest.approx(length.share, rel=1e-3)
    assert numbers["by the labels"] == pytest.approx(labelled)
    assert numbers["ratio"] == pytest.approx(length.share / labelled, rel=1e-3)
    assert numbers["radius"] == pytest.approx(0.3 * length.share, rel=1e-3)
    with np.load(MEASURED) as stored:
        place = int(np.flatnonzero(stored["found"] == numbers["found"])[0])
        np.testing.assert_allclose(stored["agreement"][place] / 1000, length.agreement, atol=1e-3)
        np.testing.assert_allclose(stored["fitted"][place] / 1000, length.fitted, atol=2e-3)


def test_every_place_of_the_sliders_was_measured_and_no_other() -> None:
    explorer = explore_length()
    many = int(np.prod([len(places) for places in PLACES]))
    assert all(len(explorer.arrays[name]) == many for name in ("found", "labelled", "agreement", "fitted"))
    assert explorer.values == {"steps": 8, "repeats": 0.0, "noise": 0.2}
    with pytest.raises(InputError, match="noise is 0.3; measured are 0.0, 0.2"):
        explorer.numbers(noise=0.3)


def test_more_steps_are_shorter() -> None:
    explorer = explore_length()
    few, many = explorer.numbers(), explorer.numbers(steps=16)
    assert many["by the labels"] < 0.7 * few["by the labels"]
    assert many["found"] < 0.8 * few["found"]
