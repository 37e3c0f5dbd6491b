"""The losses against loops written from the formulas."""

from __future__ import annotations

import math

import pytest
import torch

from tests.methods.helpers import unit
from vasot_lib.losses import contrastive_idm, matching_loss


def test_matching_loss_by_hand() -> None:
    """Two orthogonal frames, matched to themselves: P_ii = e^(1/tau) / (e^(1/tau) + 1)."""
    x = torch.eye(2)[None]
    mask = torch.ones(1, 2, dtype=torch.bool)
    expected = math.log1p(math.exp(-10.0))
    assert matching_loss(x, x, x, 0.1, mask, mask).item() == pytest.approx(expected, rel=1e-3)
    assert matching_loss(x, x, x.flip(2), 0.1, mask, mask).item() == pytest.approx(10 + expected, rel=1e-5)


def test_matching_loss_equals_loops_with_padding() -> None:
    x, y = unit(2, 5, 3), unit(2, 4, 3, seed=1)
    targets = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    n, m = (5, 3), (3, 4)
    mask_x, mask_y = (torch.arange(size) < torch.tensor(real)[:, None] for size, real in ((5, n), (4, m)))
    targets = targets * mask_x[:, :, None] * mask_y[:, None]
    expected = 0.0
    for b in range(2):
        for i in range(n[b]):
            weights = [math.exp(float(x[b, i] @ y[b, j]) / 0.1) for j in range(m[b])]
            expected -= (
                sum(float(targets[b, i, j]) * math.log(weights[j] / sum(weights)) for j in range(m[b])) / n[b] / 2
            )
    assert matching_loss(x, y, targets, 0.1, mask_x, mask_y).item() == pytest.approx(expected, rel=1e-9)


def test_broken_targets_do_not_pass_for_none() -> None:
    x, mask = unit(1, 5, 3).requires_grad_(), torch.ones(1, 5, dtype=torch.bool)
    targets = torch.eye(5, dtype=torch.float64)[None]
    targets[0, 2, 3] = torch.nan
    loss = matching_loss(x, x, targets, 0.1, mask, mask)
    loss.backward()
    assert loss.isnan() and x.grad is not None and x.grad.isnan().any()


def test_matching_loss_to_actions_has_no_batch_axis_on_the_actions() -> None:
    x, actions = unit(2, 5, 3), unit(4, 3, seed=1)
    targets, mask = torch.full((2, 5, 4), 0.25, dtype=torch.float64), torch.ones(2, 5, dtype=torch.bool)
    each = matching_loss(x, actions.expand(2, 4, 3), targets, 0.1, mask, mask.new_ones(2, 4))
    assert matching_loss(x, actions, targets, 0.1, mask, None).item() == pytest.approx(each.item())


def test_gradient_flows_into_embeddings_and_not_into_targets() -> None:
    x, y = unit(1, 4, 3).requires_grad_(), unit(1, 4, 3, seed=1).requires_grad_()
    targets = torch.full((1, 4, 4), 0.25, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True, False]])
    matching_loss(x, y, targets, 0.1, mask, mask).backward()
    assert targets.grad is None
    for grad in (x.grad, y.grad):
        assert grad is not None and grad.isfinite().all() and grad[0, :3].abs().sum() > 0
        assert grad[0, 3].abs().sum() == 0  # padding learns nothing


def test_contrastive_idm_equals_loops() -> None:
    x, n, window = unit(1, 9, 3), 7, 2.0
    mask = torch.arange(9)[None] < n
    total = 0.0
    for i in range(n):
        for j in range(n):
            distance = float((x[0, i] - x[0, j]) @ (x[0, i] - x[0, j]))
            gap = abs(i - j) / n
            total += (1 + gap**2) * max(0.0, 2.0 - distance) if gap > window / n else distance
    assert contrastive_idm(x, mask, window).item() == pytest.approx(total / n**2, rel=1e-9)


def test_contrastive_idm_prefers_spread_to_collapse() -> None:
    mask = torch.ones(1, 60, dtype=torch.bool)
    angle = torch.linspace(0, math.pi, 60)
    spread = torch.stack((angle.cos(), angle.sin()), 1)[None]
    collapsed = torch.ones(1, 60, 2) / 2**0.5
    assert contrastive_idm(spread, mask) < 0.7 * contrastive_idm(collapsed, mask)
