"""The pair explorer against its plans: sliders, clicks, several plans, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vasot_kit.explorers import Explorer, explore_pair
from vasot_lib.data import Dataset, correspondence, toy
from vasot_lib.errors import InputError


@pytest.fixture(scope="module")
def recordings() -> Dataset:
    return toy(2, 3, seed=4, render=True)


@pytest.fixture
def plans(recordings: Dataset) -> dict[str, torch.Tensor]:
    x, y = recordings.videos
    rows = torch.rand(len(x), len(y), generator=torch.Generator().manual_seed(0)) ** 8
    return {"soft": 0.8 * rows / rows.sum(1, keepdim=True), "uniform": torch.full((len(x), len(y)), 1 / len(y))}


@pytest.fixture
def explorer(recordings: Dataset, plans: dict[str, torch.Tensor]) -> Explorer:
    return explore_pair(plans, *recordings.videos, recordings.classes, recordings.background)


def test_numbers_are_those_of_the_row(explorer: Explorer, recordings: Dataset, plans: dict[str, torch.Tensor]) -> None:
    x, y = recordings.videos
    explorer.controls["frame"].value = 7
    row, match = plans["soft"][7], int(plans["soft"][7].argmax())
    numbers = explorer.numbers
    assert numbers["best match"] == match
    assert numbers["its share"] == pytest.approx(row[match].item())
    assert numbers["kept"] == pytest.approx(0.8, abs=1e-5)
    entropy = torch.special.entr(row / row.sum()).sum()
    assert numbers["effective matches"] == pytest.approx(entropy.exp().item(), rel=1e-4)
    truth = int(correspondence(x, y)[7])
    assert numbers["true match"] == (truth if truth >= 0 else "none")
    assert numbers["step of X"] == recordings.classes[int(x.labels[7])]
    assert numbers["step of Y"] == recordings.classes[int(y.labels[match])]


def test_another_plan_is_another_row(explorer: Explorer, recordings: Dataset) -> None:
    explorer.controls["plan"].value = "uniform"
    assert explorer.numbers["kept"] == pytest.approx(1, abs=1e-5)
    assert explorer.numbers["effective matches"] == pytest.approx(len(recordings.videos[1]), rel=1e-4)


def test_a_click_on_the_plan_chooses_its_row_and_elsewhere_nothing(explorer: Explorer) -> None:
    figure = explorer.static()
    panels = {axes.get_label(): axes for axes in figure.axes}
    width, height = figure.bbox.width, figure.bbox.height
    for frame in (3, 40):
        across, up = panels["plan"].transData.transform((10, frame))
        explorer.picture.clicked = [across / width, 1 - up / height, float(frame)]
        assert explorer.values["frame"] == frame
    across, up = panels["row"].transData.transform((10, 0.0))
    explorer.picture.clicked = [across / width, 1 - (up + 5) / height, 99.0]
    assert explorer.values["frame"] == 40


def test_recordings_without_pictures_or_labels(plans: dict[str, torch.Tensor]) -> None:
    x, y = (replace(v, frames=None, labels=None, position=None) for v in toy(2, 3, seed=4).videos)
    numbers = explore_pair(plans, x, y).numbers
    assert {"true match", "step of X"}.isdisjoint(numbers)


def test_plans_that_do_not_fit_are_refused(recordings: Dataset) -> None:
    x, y = recordings.videos
    with pytest.raises(InputError, match="got no plans"):
        explore_pair({}, x, y)
    with pytest.raises(InputError, match=r"plan 'small' is \(2, 3\), the recordings have"):
        explore_pair({"small": torch.ones(2, 3)}, x, y)
