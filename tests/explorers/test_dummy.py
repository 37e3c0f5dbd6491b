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
    explorer.controls["zeta"].value = 0.4
    explorer.controls["dummy_mass"].value = 0.2
    found = matches(zeta=0.4, dummy_mass=0.2)
    plan, kept = found.plan.matrix[0].double(), found.x_to_y[0].sum(1).numpy()
    dropped, shown = kept < 0.5, explorer.numbers
    assert shown["dummy column"] == pytest.approx(float(plan[1:, 0].sum()))
    assert shown["corner"] == pytest.approx(float(plan[0, 0]))
    assert shown["dummy column"] + shown["corner"] == pytest.approx(0.2, rel=1e-3)
    assert shown["cap of one frame"] == 1 / (len(Y) + 1)
    assert (shown["frames dropped"], shown["without partner"]) == (dropped.sum(), IDLE.sum())
    assert shown["precision"] == precision_score(IDLE, dropped)
    assert shown["recall"] == recall_score(IDLE, dropped)
    assert shown["average precision"] == average_precision_score(IDLE, -kept)
    np.testing.assert_allclose(
        next(axes for axes in explorer.static().axes if axes.get_label() == "plan").images[0].get_array(),
        found.x_to_y[0] / kept.max(), rtol=1e-5,
    )  # fmt: skip


def test_sliders_start_where_the_recipe_is(explorer) -> None:
    assert explorer.values == {"zeta": 0.7, "dummy_mass": 0.3, "handling": "soft"}
    published = explore_dummy(X, Y, background=DATA.background)
    assert published.values == {"zeta": 0.5, "dummy_mass": 0.15, "handling": "soft"}


def test_a_dearer_dummy_moves_mass_into_the_corner_and_drops_fewer(explorer) -> None:
    before = explorer.numbers
    explorer.controls["zeta"].value = 1.2
    after = explorer.numbers
    assert after["corner"] > before["corner"] + 0.05
    assert after["frames dropped"] < before["frames dropped"]
    assert after["precision"] > before["precision"]


def test_zeta_has_no_say_where_the_dummy_is_full(explorer) -> None:
    explorer.controls["dummy_mass"].value = 0.01
    before = explorer.numbers
    explorer.controls["zeta"].value = 0.2
    after = explorer.numbers
    assert (after["frames dropped"], after["precision"]) == (0, "undefined")
    assert after["corner"] == pytest.approx(0, abs=1e-4)
    assert after["dummy column"] == pytest.approx(before["dummy column"], abs=1e-4)


def test_threshold_drops_every_row_without_a_large_entry(explorer) -> None:
    explorer.controls["handling"].value = "threshold"
    assert explorer.numbers["frames dropped"] == len(X)
    explorer.controls["zeta"].value = 0.05
    kept = matches(zeta=0.05, dummy="threshold").x_to_y[0].sum(1)
    assert explorer.numbers["frames dropped"] == int((kept < 0.5).sum()) < len(X)


def test_steps_that_y_does_not_show_count_as_background() -> None:
    x, y = (replace(video, labels=video.labels.clone(), frames=None) for video in (X, Y))
    y.labels[y.labels == 2] = 1
    explorer = explore_dummy(x, y, RECIPE, background=DATA.background)
    assert explorer.numbers["without partner"] == int((IDLE | (x.labels == 2).numpy()).sum())


def test_nothing_to_find_leaves_the_scores_undefined() -> None:
    explorer = explore_dummy(X, Y, RECIPE)  # without a background class every label of X is in Y
    assert explorer.numbers["without partner"] == 0
    assert explorer.numbers["recall"] == explorer.numbers["average precision"] == "undefined"


def test_an_error_becomes_a_line_and_leaves_the_last_picture(explorer) -> None:
    picture, shown = explorer.picture.png, explorer.numbers
    explorer.controls["zeta"].min = -1
    explorer.controls["zeta"].value = -0.5
    assert "zeta is -0.5" in explorer.message.value
    assert explorer.picture.png == picture and explorer.numbers == shown
    explorer.controls["zeta"].value = 0.7
    assert explorer.message.value == ""


def test_recordings_without_labels_are_refused() -> None:
    with pytest.raises(InputError, match="video 'toy_03' has no labels"):
        explore_dummy(X, replace(Y, labels=None))
