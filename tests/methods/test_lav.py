"""LAV against loops written from the formula, and what it does on toy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.methods.helpers import WIDTH, strided, unit
from vasot_kit.methods.lav import LAV, TimeWarping
from vasot_lib.data import Dataset, collate, toy
from vasot_lib.encoders import MLPEncoder
from vasot_lib.errors import InputError


def by_loops(x: np.ndarray, y: np.ndarray, frames: tuple[np.ndarray, np.ndarray], hyper: TimeWarping) -> float:
    n, m = len(x), len(y)
    value = np.full((n + 1, m + 1), np.inf)
    value[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            before = np.array([value[i - 1, j - 1], value[i - 1, j], value[i, j - 1]])
            soft = -hyper.gamma * math.log(np.exp(-(before - before.min()) / hyper.gamma).sum()) + before.min()
            value[i, j] = ((x[i - 1] - y[j - 1]) ** 2).sum() + soft
    total = value[n, m]
    for e, frame in zip((x, y), frames, strict=True):
        length = frame[-1] + 1
        time = frame / length
        for i in range(len(e)):
            for j in range(len(e)):
                distance = ((e[i] - e[j]) ** 2).sum()
                gap = abs(time[i] - time[j])
                far = (1 + gap**2) * max(0.0, hyper.margin - distance)
                total += hyper.alpha * (far if gap > (hyper.window + 1e-9) / length else distance)
    return total / ((n + m) / 2)


def method(hyper: TimeWarping) -> LAV:
    return LAV(MLPEncoder(4), 1, hyper)


def test_loss_equals_loops_with_padding() -> None:
    lengths, strides, hyper = (9, 6, 5, 8), (3, 2, 1, 4), TimeWarping(gamma=0.3, alpha=0.2, window=4.0, margin=1.5)
    given, x = strided(lengths, strides), unit(4, WIDTH, 3)
    rows = [x[b, :n].numpy() for b, n in enumerate(lengths)]
    frames = [given.index[b, :n].numpy() for b, n in enumerate(lengths)]
    expected = [by_loops(rows[k], rows[k + 1], (frames[k], frames[k + 1]), hyper) for k in (0, 2)]
    terms = method(hyper).loss_terms(x, given)
    assert terms["loss"].item() == pytest.approx(np.mean(expected), rel=1e-9)
    torch.testing.assert_close(terms["loss"], terms["alignment"] + terms["contrast"])


def test_padding_learns_nothing_and_changes_nothing() -> None:
    given, x = strided((9, 6), (1, 1)), unit(2, WIDTH, 3).requires_grad_()
    loss = method(TimeWarping()).loss_terms(x, given)["loss"]
    loss.backward()
    assert x.grad is not None and x.grad[1, :6].abs().sum() > 0 and x.grad[1, 6:].abs().sum() == 0
    other = x.detach().clone()
    other[1, 6:] = unit(3, 3, seed=5)
    torch.testing.assert_close(method(TimeWarping()).loss_terms(other, given)["loss"], loss.detach())


def test_equal_videos_cost_less_than_reversed_ones() -> None:
    given, x = strided((9, 9), (1, 1)), unit(WIDTH, 8)
    same, turned = (
        method(TimeWarping()).loss_terms(torch.stack((x, y)), given)["alignment"].item() for y in (x, x.flip(0))
    )
    assert same < 0.1 < turned


def test_contrast_prefers_spread_to_collapse() -> None:
    given = strided((9, 9), (20, 20))
    angle = torch.linspace(0, math.pi, WIDTH, dtype=torch.float64)
    spread = torch.stack((angle.cos(), angle.sin()), 1).expand(2, -1, -1)
    collapsed = torch.ones_like(spread) / 2**0.5
    terms = [method(TimeWarping()).loss_terms(x, given) for x in (spread, collapsed)]
    assert terms[0]["contrast"] < 0.5 * terms[1]["contrast"]
    assert terms[0]["loss"] < terms[1]["loss"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy()


def test_matches_go_forward_from_the_first_frame_to_the_last(dataset: Dataset) -> None:
    torch.manual_seed(0)
    x, y = dataset.videos[:2]
    matches = LAV(MLPEncoder(dataset.feature_dim), dataset.n_actions, TimeWarping()).align(x, y)
    assert matches.shape == (len(x),) and (matches.diff() >= 0).all()
    assert matches[0] >= 0 and matches[-1] < len(y)


def test_single_precision_at_the_size_of_a_training_step() -> None:
    given = collate(toy(n_videos=2).videos, 256, None)
    given.mask[:], given.index[:] = True, torch.arange(256)
    x = unit(2, 256, 40)
    exact, single = (method(TimeWarping()).loss_terms(e, given)["loss"].item() for e in (x, x.float()))
    assert single == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("values", [dict(gamma=0.0), dict(alpha=-1.0), dict(window=-1.0), dict(margin=math.nan)])
def test_bad_values_are_refused(values: dict) -> None:
    with pytest.raises(InputError, match=f"{next(iter(values))} is"):
        TimeWarping(**values)
