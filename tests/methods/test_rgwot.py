"""RGWOT against loops written from the formula, and what the contrastive term is for."""

from __future__ import annotations

import math

import pytest
import torch

from tests.methods.helpers import WIDTH, strided, unit
from vasot_kit.methods.rgwot import RGWOT, RegularisedAlignment
from vasot_lib.encoders import MLPEncoder
from vasot_lib.methods import AlignmentTerm
from vasot_lib.transport import Alignment

PLAN = Alignment(radius=0.2, dummy_mass=0.3)


def method(**values: object) -> RGWOT:
    return RGWOT(MLPEncoder(4), 1, RegularisedAlignment(AlignmentTerm(PLAN), **values))


def cross_entropy(x: list[list[float]], y: list[list[float]]) -> float:
    """L_xy of one pair without padding, with the targets of the transport problem."""
    frames = [torch.tensor([rows], dtype=torch.float64) for rows in (x, y)]
    everything = [torch.ones(1, len(rows), dtype=torch.bool) for rows in (x, y)]
    targets = PLAN.match(*frames, *everything).x_to_y[0].tolist()
    total = 0.0
    for i, frame in enumerate(x):
        scores = [sum(a * b for a, b in zip(frame, other, strict=True)) / 0.1 for other in y]
        log_sum = math.log(sum(math.exp(score) for score in scores))
        total -= sum(target * (score - log_sum) for target, score in zip(targets[i], scores, strict=True)) / len(x)
    return total


def idm(x: list[list[float]], frames: list[int], window: float, margin: float) -> float:
    """The term of one video, by a loop over its pairs of frames."""
    total, length = 0.0, max(frames) + 1
    for i, one in enumerate(x):
        for j, other in enumerate(x):
            distance = sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
            gap = abs(frames[i] - frames[j])
            total += (1 + (gap / length) ** 2) * max(0.0, margin - distance) if gap > window else distance
    return total


def test_the_loss_equals_loops_with_padding() -> None:
    lengths, strides = (9, 6, 5, 8), (3, 2, 1, 4)
    given, x = strided(lengths, strides), unit(4, WIDTH, 3)
    rows = [x[b, :n].tolist() for b, n in enumerate(lengths)]
    frames = [given.index[b, :n].tolist() for b, n in enumerate(lengths)]
    alignment = [cross_entropy(rows[k], rows[k + 1]) for k in (0, 2)]
    contrast = [0.2 * sum(idm(rows[v], frames[v], 4.0, 1.5) for v in (k, k + 1)) for k in (0, 2)]
    terms = method(weight=0.2, window=4.0, margin=1.5).loss_terms(x, given)
    assert terms["alignment"].item() == pytest.approx(sum(alignment) / 2, rel=1e-9)
    assert terms["contrast"].item() == pytest.approx(sum(contrast) / 2, rel=1e-9)
    torch.testing.assert_close(terms["loss"], terms["alignment"] + terms["contrast"])


def test_padding_changes_nothing_and_learns_nothing() -> None:
    given, x = strided((9, 6), (1, 1)), unit(2, WIDTH, 3).requires_grad_()
    loss = method().loss_terms(x, given)["loss"]
    loss.backward()
    assert x.grad is not None and x.grad[1, :6].abs().sum() > 0 and x.grad[1, 6:].abs().sum() == 0
    other = x.detach().clone()
    other[1, 6:] = unit(3, 3, seed=5)
    torch.testing.assert_close(method().loss_terms(other, given)["loss"], loss.detach())


def test_a_collapse_costs_more_than_embeddings_that_follow_time_unlike_without_the_term() -> None:
    """All frames at one point is a minimum of nothing but the alignment; the contrastive term sees it."""
    given = strided((WIDTH, WIDTH), (1, 1))
    angle = torch.linspace(0, math.pi, WIDTH, dtype=torch.float64)
    spread = torch.stack([angle.cos(), angle.sin()], dim=-1).expand(2, -1, -1)
    collapsed = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(2, WIDTH, 2)
    terms = [method(window=1.0).loss_terms(x, given) for x in (spread, collapsed)]
    assert terms[0]["contrast"] < 0.5 * terms[1]["contrast"]
    without = [method(weight=0.0).loss_terms(x, given)["contrast"].item() for x in (spread, collapsed)]
    assert without == [0.0, 0.0]
