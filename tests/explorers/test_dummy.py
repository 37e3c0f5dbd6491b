"""Explorer of the dummy: its numbers are those of the library, and the sliders move them the right way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_score, recall_score

from vasot_kit.explorers import explore_dummy
from vasot_lib.data import toy
from vasot_lib.errors import InputError
from vasot_lib.transport import Alignment

RECIPE = Alignment(alpha=0.4, dummy_mass=0.3, zeta=0.7)
DATA = toy(4, style=0.0, render=True)
X, Y = DATA.videos[2], DATA.videos[3]
IDLE = (X.labels == DATA.background).numpy()


@pytest.fixture
def explorer():
    return explore_dummy(X, Y, RECIPE, background=DATA.background)


def matches(**changes):
    masks = [torch.ones(1, len(video), dtype=torch.bool) for video in (X, Y)]
    return replace(RECIPE, **changes).match(X.features[None], Y.features[None], *masks)


def test_numbers_are_those_of_the_library(explorer) -> None:
    found = matches(zeta=0.4, dummy_mass=0.2)
    plan, kept = found.plan.matrix[0].double(), found.x_to_y[0].sum(1).numpy()
    dropped, shown = kept < 0.5, explorer.numbers(zeta=0.4, dummy_mass=0.2)
    assert shown["dummy column"] == pytest.approx(float(plan[1:, 0].sum()))
    assert shown["corner"] == pytest.approx(float(plan[0, 0]))
    assert shown["dummy column"] + shown["corner"] == pytest.approx(0.2, rel=1e-3)
    assert shown["cap of one frame"] == 1 / (len(Y) + 1)
    assert (shown["frames dropped"], shown["without partner"]) == (dropped.sum(), IDLE.sum())
    assert shown["precision"] == precision_score(IDLE, dropped)
    assert shown["recall"] == recall_score(IDLE, dropped)
    assert shown["average precision"] == average_precision_score(IDLE, -kept)
    np.testing.assert_array_equal(explorer.arrays["lost"], IDLE)


def test_sliders_start_where_the_recipe_is(explorer) -> None:
    assert explorer.values == {"zeta": 0.7, "dummy_mass": 0.3, "handling": "soft"}
    published = explore_dummy(X, Y, background=DATA.background)
    assert published.values == {"zeta": 0.5, "dummy_mass": 0.15, "handling": "soft"}
    assert explorer.about["recipe"] == {
        "alpha": 0.4, "radius": 0.04, "epsilon": 0.07, "iterations": 25, "sweeps": 1, "finish": True, "free": 1,
    }  # fmt: skip


def test_a_dearer_dummy_moves_mass_into_the_corner_and_drops_fewer(explorer) -> None:
    before, after = explorer.numbers(), explorer.numbers(zeta=1.2)
    assert after["corner"] > before["corner"] + 0.05
    assert after["frames dropped"] < before["frames dropped"]
    assert after["precision"] > before["precision"]


def test_zeta_has_no_say_where_the_dummy_is_full(explorer) -> None:
    before, after = explorer.numbers(dummy_mass=0.01), explorer.numbers(dummy_mass=0.01, zeta=0.2)
    assert (after["frames dropped"], after["precision"]) == (0, "undefined")
    assert after["corner"] == pytest.approx(0, abs=1e-4)
    assert after["dummy column"] == pytest.approx(before["dummy column"], abs=1e-4)


def test_threshold_drops_every_row_without_a_large_entry(explorer) -> None:
    assert explorer.numbers(handling="threshold")["frames dropped"] == len(X)
    kept = matches(zeta=0.05, dummy="threshold").x_to_y[0].sum(1)
    cheap = explorer.numbers(handling="threshold", zeta=0.05)
    assert cheap["frames dropped"] == int((kept < 0.5).sum()) < len(X)


def test_steps_that_y_does_not_show_count_as_background() -> None:
    x, y = (replace(video, labels=video.labels.clone(), frames=None) for video in (X, Y))
    y.labels[y.labels == 2] = 1
    explorer = explore_dummy(x, y, RECIPE, background=DATA.background)
    assert explorer.numbers()["without partner"] == int((IDLE | (x.labels == 2).numpy()).sum())


def test_nothing_to_find_leaves_the_scores_undefined() -> None:
    numbers = explore_dummy(X, Y, RECIPE).numbers()  # without a background class every label of X is in Y
    assert numbers["without partner"] == 0
    assert numbers["recall"] == numbers["average precision"] == "undefined"


def test_what_cannot_be_explored_is_refused(explorer) -> None:
    with pytest.raises(InputError, match="video 'toy_03' has no labels"):
        explore_dummy(X, replace(Y, labels=None))
    for change in (dict(relax=0.1), dict(scheme="mirror")):
        with pytest.raises(InputError, match="explore_dummy.. got relax=.* give relax=None and scheme='sinkhorn'"):
            explore_dummy(X, Y, replace(RECIPE, **change))
    with pytest.raises(InputError, match="zeta is -0.5"):
        explorer.numbers(zeta=-0.5)
