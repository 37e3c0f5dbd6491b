"""The pair explorer against its plans: sliders, clicks, several plans, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
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
    row, match = plans["soft"][7], int(plans["soft"][7].argmax())
    numbers = explorer.numbers(frame=7)
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
    numbers = explorer.numbers(plan="uniform")
    assert numbers["kept"] == pytest.approx(1, abs=1e-5)
    assert numbers["effective matches"] == pytest.approx(len(recordings.videos[1]), rel=1e-4)
    assert (numbers["best match"], numbers["step of Y"]) == ("none (tie)", "none")  # all matches are equally good


def test_a_row_that_is_flat_has_no_best_match(recordings: Dataset) -> None:
    x, y = recordings.videos
    plan = torch.full((len(x), len(y)), 1 / len(y)) * (1 + 1e-7 * torch.randn(len(y)))
    plan[1], plan[2, 5] = 0, 1.001 / len(y)
    found = [explore_pair({"plan": plan}, x, y).numbers(frame=frame)["best match"] for frame in range(3)]
    assert found == ["none (tie)", "none (tie)", 5]


def test_scripts_are_given_the_plans_and_the_numbers_of_every_frame(
    explorer: Explorer, recordings: Dataset, plans: dict[str, torch.Tensor]
) -> None:
    x, y = recordings.videos
    for which, (name, plan) in enumerate(plans.items()):
        assert explorer.about["plans"][which]["name"] == name
        shares = plan.double().numpy() / plan.sum(1).max().item()
        shown = (
            explorer.about["plans"][which]["top"]
            * (explorer.arrays[f"plan_{which}"].reshape(shares.shape) / 255.0) ** 2
        )
        np.testing.assert_allclose(shown, shares, atol=shares.max() / 255)
        for frame in (0, 7, len(x) - 1):
            numbers = explorer.numbers(frame=frame, plan=name)
            numbers["best match"] = -1 if numbers["best match"] == "none (tie)" else numbers["best match"]
            names = {"match": "best match", "share": "its share", "kept": "kept", "effective": "effective matches"}
            assert {
                name: explorer.arrays[f"{key}_{which}"][frame] for key, name in names.items()
            }.items() <= numbers.items()
    np.testing.assert_array_equal(explorer.arrays["truth"], correspondence(x, y))


def test_recordings_without_pictures_or_labels(plans: dict[str, torch.Tensor]) -> None:
    x, y = (replace(v, frames=None, labels=None, position=None) for v in toy(2, 3, seed=4).videos)
    explorer = explore_pair(plans, x, y)
    assert {"true match", "step of X"}.isdisjoint(explorer.numbers())
    assert explorer.about["x"]["pictures"] is None
    traces = explorer.arrays["traces_y"]  # the six channels that vary most, in their order
    loudest = np.sort(np.argsort(y.features.std(0).numpy())[-6:])
    features = y.features.numpy()[:, loudest]
    assert traces.shape == (len(y), 6)
    assert all(np.corrcoef(a, b)[0, 1] == pytest.approx(1) for a, b in zip(traces.T, features.T, strict=True))


def test_plans_that_do_not_fit_are_refused(recordings: Dataset) -> None:
    x, y = recordings.videos
    with pytest.raises(InputError, match="got no plans"):
        explore_pair({}, x, y)
    with pytest.raises(InputError, match=r"plan 'small' is \(2, 3\), the recordings have"):
        explore_pair({"small": torch.ones(2, 3)}, x, y)
    with pytest.raises(InputError, match="plan 'bad' holds NaN"):
        explore_pair({"bad": torch.full((len(x), len(y)), torch.nan)}, x, y)
