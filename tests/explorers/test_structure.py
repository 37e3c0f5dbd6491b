"""The explorer of the structural priors: its numbers are the library's, its sliders do what their names say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasot_kit.explorers import Explorer, explore_structure
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
    for name, value in {"alpha": 0.5, "radius": 0.06, "rho": 0.1, "epsilon": 0.1}.items():
        explorer.controls[name].value = value
    cost = cosine_cost(x.features[None], y.features[None]) + 0.1 * temporal_prior(len(x), len(y))
    structure = Near(0.06), Far(0.06)
    plan = solve(cost, structure, alpha=0.5, epsilon=0.1)
    terms = make_problem(cost, structure, alpha=0.5, epsilon=0.1).terms(plan.matrix)
    match = plan.matrix[0].argmax(1).numpy()
    numbers = explorer.numbers
    assert [numbers[name] for name in ("linear", "structure", "entropy")] == [term.item() for term in terms[:3]]
    assert numbers["J"] == pytest.approx(plan.objective.item(), abs=1e-6) == sum(terms).item()
    assert numbers["marginal error"] == max(plan.marginal_error_x.item(), plan.marginal_error_y.item()) <= 1e-3
    assert numbers["argmax right"] == pytest.approx(label_transfer(match, x.labels.numpy(), y.labels.numpy()))
    assert numbers["mean jump"] == pytest.approx(np.abs(np.diff(match)).mean())
    assert explorer.draw(**explorer.values).numbers == numbers  # pure


def test_starts_at_the_recipes_values_and_shows_every_number(explorer: Explorer) -> None:
    start = Alignment()
    assert explorer.values == dict(alpha=start.alpha, radius=start.radius, rho=start.rho, epsilon=start.epsilon)
    for name in explorer.numbers:
        assert f'data-name="{name}"' in explorer.readout.value


def test_structure_calms_the_match_and_entropy_spreads_it(explorer: Explorer) -> None:
    explorer.controls["rho"].value = 0.0
    explorer.controls["alpha"].value = 0.0
    alone = explorer.numbers
    assert alone["structure"] == 0.0
    explorer.controls["alpha"].value = 0.5
    assert explorer.numbers["mean jump"] < 0.5 * alone["mean jump"]
    before = explorer.numbers["effective matches"]
    explorer.controls["epsilon"].value = 0.2
    assert explorer.numbers["effective matches"] > 2 * before


def test_picture_shows_plan_cost_and_gradient(explorer: Explorer, pair: tuple[Video, Video]) -> None:
    x, y = pair
    panels = {axes.get_label(): axes for axes in explorer.static().axes}
    cost = cosine_cost(x.features[None], y.features[None]) + 0.35 * temporal_prior(len(x), len(y))
    np.testing.assert_allclose(panels["cost"].images[0].get_array(), cost[0], rtol=1e-5)
    plan = solve(cost, (Near(0.04), Far(0.04)), alpha=0.3, epsilon=0.07).matrix
    product = Near(0.04).dense(len(x)) @ plan[0].double() @ Far(0.04).dense(len(y))
    np.testing.assert_allclose(panels["gradient"].images[0].get_array(), product, atol=1e-4)
    frames = correspondence(x, y).numpy()
    assert {(float(frames[i]), float(i)) for i in range(len(x))} >= set(
        map(tuple, panels["plan"].lines[-1].get_xydata().tolist())
    )


def test_radius_without_a_frame_shows_the_librarys_line_and_keeps_the_picture(explorer: Explorer) -> None:
    shown, picture = explorer.numbers, explorer.picture.png
    explorer.controls["radius"].value = 0.005
    assert "window of 0 frames" in explorer.message.value and "use radius" in explorer.message.value
    assert explorer.numbers == shown and explorer.picture.png == picture
    explorer.controls["radius"].value = 0.05
    assert explorer.message.value == "" and explorer.picture.png != picture


def test_recordings_without_labels_are_refused(pair: tuple[Video, Video]) -> None:
    x, y = pair
    bare = Video(name="bare", features=torch.rand(30, x.features.shape[1]))
    with pytest.raises(InputError, match="'bare' has no labels"):
        explore_structure(bare, y)
