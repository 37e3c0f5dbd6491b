"""The explorer of the structural priors: its numbers are the library's, its sliders do what their names say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasot_kit.explorers import Explorer, explore_structure
from vasot_kit.explorers.explorer import Slider
from vasot_lib.data import Video, correspondence, toy
from vasot_lib.errors import InputError
from vasot_lib.evaluation import label_transfer
from vasot_lib.transport import Alignment, Far, Near, cosine_cost, make_problem, solve, temporal_prior


@pytest.fixture(scope="module")
def pair() -> tuple[Video, Video]:
    videos = toy(4, swaps=0.3, repeats=0.2, background=0.0, style=0.3, noise=0.5).videos
    return videos[0], videos[1]


@pytest.fixture
def explorer(pair: tuple[Video, Video]) -> Explorer:
    return explore_structure(*pair)


def test_numbers_are_those_of_the_library(explorer: Explorer, pair: tuple[Video, Video]) -> None:
    x, y = pair
    cost = cosine_cost(x.features[None], y.features[None]) + 0.1 * temporal_prior(len(x), len(y))
    structure = Near(0.06), Far(0.06)
    plan = solve(cost, structure, alpha=0.5, epsilon=0.1)
    terms = make_problem(cost, structure, alpha=0.5, epsilon=0.1).terms(plan.matrix)
    match = plan.matrix[0].argmax(1).numpy()
    numbers = explorer.numbers(alpha=0.5, radius=0.06, rho=0.1, epsilon=0.1)
    assert [numbers[name] for name in ("linear", "structure", "entropy")] == [term.item() for term in terms[:3]]
    assert numbers["J"] == pytest.approx(plan.objective.item(), abs=1e-6) == sum(terms).item()
    assert numbers["marginal error"] == max(plan.marginal_error_x.item(), plan.marginal_error_y.item()) <= 1e-3
    assert numbers["argmax right"] == pytest.approx(label_transfer(match, x.labels.numpy(), y.labels.numpy()))
    assert numbers["mean jump"] == pytest.approx(np.abs(np.diff(match)).mean())


def test_starts_at_the_recipes_values(explorer: Explorer) -> None:
    start = Alignment()
    assert explorer.values == dict(alpha=start.alpha, radius=start.radius, rho=start.rho, epsilon=start.epsilon)


def test_starts_at_the_values_of_a_recipe_and_reaches_them(pair: tuple[Video, Video]) -> None:
    values = {"alpha": 0.6, "radius": 0.25, "rho": 2.5, "epsilon": 0.005}
    explorer = explore_structure(*pair, recipe=Alignment(**values))
    assert explorer.values == values
    for control in explorer.controls:
        assert isinstance(control, Slider) and control.low <= control.value <= control.high


def test_structure_calms_the_match_and_entropy_spreads_it(explorer: Explorer) -> None:
    alone = explorer.numbers(rho=0.0, alpha=0.0)
    assert alone["structure"] == 0.0
    calm, wide = explorer.numbers(rho=0.0, alpha=0.5), explorer.numbers(rho=0.0, alpha=0.5, epsilon=0.2)
    assert calm["mean jump"] < 0.5 * alone["mean jump"]
    assert wide["effective matches"] > 2 * calm["effective matches"]


def test_what_scripts_are_given_are_the_recordings(explorer: Explorer, pair: tuple[Video, Video]) -> None:
    x, y = pair
    arrays = explorer.arrays
    np.testing.assert_array_equal(arrays["x"], x.features)
    np.testing.assert_array_equal(arrays["labels_y"], y.labels)
    np.testing.assert_array_equal(arrays["truth"], correspondence(x, y))
    assert (explorer.about["n"], explorer.about["m"], explorer.about["dim"]) == (len(x), len(y), 24)


def test_no_radius_can_be_chosen_whose_window_holds_no_frame(explorer: Explorer, pair: tuple[Video, Video]) -> None:
    x, y = pair
    short = [Video(v.name, v.features[:30], v.labels[:30]) for v in pair]
    for built, size in ((explorer, min(len(x), len(y))), (explore_structure(*short), 30)):
        radius = next(control for control in built.controls if control.name == "radius")
        assert radius.low <= radius.value <= radius.high and int(size * radius.low + 1e-9) >= 1
        assert int(size * (radius.low - 0.005) + 1e-9) < 1 and built.numbers(radius=radius.low)
        with pytest.raises(InputError, match="window of 0 frames.*use radius"):
            built.numbers(radius=radius.low - 0.005)


def test_recordings_without_labels_are_refused(pair: tuple[Video, Video]) -> None:
    x, y = pair
    bare = Video(name="bare", features=torch.rand(30, x.features.shape[1]))
    with pytest.raises(InputError, match="'bare' has no labels"):
        explore_structure(bare, y)
